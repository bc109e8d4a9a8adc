//! Steps 6 and 7: the control link, C3P over HTTP between Focus, Conferencing Server Factory and
//! conferencing servers (c3p §14). In one process the bytes go over [`InprocNetwork`], between
//! processes over mutual TLS ([`Trust`]); they are the same bytes.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
pub use confab_schema::{
    cccp::CONTENT_TYPE as CCCP, conference_info::CONTENT_TYPE as CONFERENCE_INFO,
    mcu_control::CONTENT_TYPE as HEALTH,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::SendRequest,
    header::{CONTENT_TYPE, HOST},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    sync::{Semaphore, mpsc},
};
use tracing::debug;

use crate::{
    inproc::InprocNetwork,
    private_ca::{Peer, PeerRole},
    trust::{Accepted, Trust},
};

/// Where the Conferencing Server Factory answers.
pub const FACTORY_PATH: &str = "/LiveServer/MCUFactory/";
/// Where the Focuses answer, each at a token behind it.
pub const FOCUS_PATH: &str = "/LiveServer/Focus/";
/// The largest body in either direction, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// How long an answer may take. A command that needs longer is answered `pending`.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Idle connections kept per host.
const IDLE_LIMIT: usize = 16;
/// How long another process may take from one request's end to the end of the next one's head: a
/// connection on which nothing is posted for so long is closed.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// How long a body may take to come.
const BODY_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Connections that other processes may have open to one listener.
const CONNECTION_LIMIT: usize = 4096;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The URL is not one the control link can reach.
    #[error("{0} is not a URL that the control link can reach")]
    BadUrl(String),
    /// No connection came about.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// Where to.
        url: String,
        /// What the connector says.
        cause: std::io::Error,
    },
    /// The connection broke or what came was no HTTP.
    #[error("{url} gave no answer: {cause}")]
    Broken {
        /// Where to.
        url: String,
        /// What hyper says.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{0} did not answer in time")]
    Late(String),
    /// An HTTP error status.
    #[error("{url} answered with HTTP status {status}")]
    Refused {
        /// Where to.
        url: String,
        /// The status.
        status: StatusCode,
    },
}

/// A document that came over the link.
#[derive(Debug)]
pub struct Posted {
    /// The path it was posted to.
    pub path: String,
    /// Its content type.
    pub content_type: String,
    /// The document.
    pub body: Bytes,
}

/// What a posted document is answered with.
#[derive(Debug)]
pub enum Answer {
    /// 200 with a C3P document.
    Document(Bytes),
    /// 204.
    Taken,
    /// 400: it could not be read.
    Unreadable(String),
    /// 403: not from a process of this role.
    Forbidden(String),
    /// 404: nothing is at this path.
    NotFound,
    /// 503: not now.
    Unavailable,
}

/// Connections that wait for their next request, by where they lead.
type Idle = BTreeMap<String, Vec<SendRequest<Full<Bytes>>>>;

/// The client half.
#[derive(Clone)]
pub struct ControlClient {
    network: InprocNetwork,
    /// With what other processes are reached.
    remote: Option<Trust>,
    idle: Arc<Mutex<Idle>>,
}

impl ControlClient {
    /// A client that reaches the hosts of `network`: `http://NAME.inproc`.
    pub fn new(network: InprocNetwork) -> ControlClient {
        ControlClient { network, remote: None, idle: Arc::default() }
    }

    /// A client that besides reaches other processes, `https://HOST:PORT`, if they prove to be what
    /// answers at the URL: front ends as factory and Focus, conferencing servers elsewhere.
    pub fn with_remote(network: InprocNetwork, trust: Trust) -> ControlClient {
        ControlClient { network, remote: Some(trust), idle: Arc::default() }
    }

    /// Posts `body` to `url` and returns what is answered.
    ///
    /// # Errors
    /// [`LinkError`] when there is no 2xx answer within ten seconds.
    pub async fn post(&self, url: &str, content_type: &str, body: Bytes) -> Result<Bytes, LinkError> {
        match tokio::time::timeout(ANSWER_LIMIT, self.exchange(url, content_type, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(LinkError::Late(url.to_owned())),
        }
    }

    async fn exchange(&self, url: &str, content_type: &str, body: Bytes) -> Result<Bytes, LinkError> {
        let place = Place::parse(url)?;
        let broken = |cause: Box<dyn std::error::Error + Send + Sync>| LinkError::Broken {
            url: url.to_owned(),
            cause,
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(place.uri.path())
            .header(HOST, &place.authority)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|cause| broken(cause.into()))?;
        let (connection, response) = loop {
            let kept = self.kept(&place).await;
            let reused = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(&place).await?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => break (connection, response),
                Err(mut error) => match error.take_message() {
                    // Its peer had closed it in the meantime, and has seen nothing of this.
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(broken(error.into_error().into())),
                },
            }
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await.map_err(broken)?.to_bytes();
        let mut idle = self.idle();
        let kept = idle.entry(place.key).or_default();
        if kept.len() < IDLE_LIMIT {
            kept.push(connection);
        }
        if status.is_success() { Ok(body) } else { Err(LinkError::Refused { url: url.to_owned(), status }) }
    }

    /// A connection of before that is still open.
    async fn kept(&self, place: &Place<'_>) -> Option<SendRequest<Full<Bytes>>> {
        loop {
            let mut connection = {
                let mut idle = self.idle();
                let Some(connection) = idle.get_mut(&place.key).and_then(Vec::pop) else {
                    idle.remove(&place.key);
                    return None;
                };
                connection
            };
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, place: &Place<'_>) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        let unreachable = |cause| LinkError::Unreachable { url: place.url.to_owned(), cause };
        if let Some(port) = place.port {
            let Some(trust) = &self.remote else {
                return Err(LinkError::BadUrl(place.url.to_owned()));
            };
            let stream = trust.connect(&place.host, port, place.peer).await.map_err(unreachable)?;
            return place.speak(stream).await;
        }
        let stream = self.network.connect(&place.host).await.map_err(unreachable)?;
        place.speak(stream).await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().expect("nobody panics while holding the pool")
    }
}

/// Where a URL leads.
struct Place<'a> {
    url: &'a str,
    uri: Uri,
    host: String,
    authority: String,
    /// Of another process; none within this one.
    port: Option<u16>,
    /// Who answers there.
    peer: Peer,
    key: String,
}

impl Place<'_> {
    fn parse(url: &str) -> Result<Place<'_>, LinkError> {
        let bad = || LinkError::BadUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let host = uri.host().ok_or_else(bad)?.to_owned();
        let authority = uri.authority().ok_or_else(bad)?.to_string();
        let port = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(uri.port_u16().unwrap_or(443)),
            _ => return Err(bad()),
        };
        let front_end = [FACTORY_PATH, FOCUS_PATH].iter().any(|path| uri.path().starts_with(path));
        let peer = if front_end { Peer::FrontEnd } else { Peer::Mcu };
        let key = match port {
            Some(_) => format!("{peer:?} at {authority}"),
            None => authority.clone(),
        };
        Ok(Place { url, uri, host, authority, port, peer, key })
    }

    /// Begins HTTP on a new connection.
    async fn speak<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, LinkError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| LinkError::Broken { url: self.url.to_owned(), cause: cause.into() })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a control connection ended");
            }
        });
        Ok(sender)
    }
}

/// The server half: hands each posted document to `handler` until the listener is dropped.
pub async fn serve<H, F>(mut listener: mpsc::Receiver<DuplexStream>, handler: H)
where
    H: Fn(Posted) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    while let Some(stream) = listener.recv().await {
        tokio::spawn(attend(http1::Builder::new(), stream, handler.clone()));
    }
}

/// The server half between processes: `handler` is told the role of who posts.
pub async fn serve_remote<H, F>(mut listener: mpsc::Receiver<Accepted>, handler: H)
where
    H: Fn(Option<PeerRole>, Posted) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    while let Some(Accepted { stream, peer, role }) = listener.recv().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!(%peer, "too many control connections; one more is refused");
            continue;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            attend(impatient(), stream, move |posted| handler(role, posted)).await;
            drop(place);
        });
    }
}

/// HTTP with somebody whose connection is closed when he takes too long.
fn impatient() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    http
}

/// Answers what is posted on one connection until it ends.
async fn attend<S, H, F>(http: http1::Builder, stream: S, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Posted) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| answer(request, handler.clone()));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a control connection ended");
    }
}

async fn answer<H, F>(request: Request<Incoming>, handler: H) -> Result<Response<Full<Bytes>>, Infallible>
where
    H: Fn(Posted) -> F,
    F: Future<Output = Answer>,
{
    let path = request.uri().path().to_owned();
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if request.method() != Method::POST {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()));
    }
    let body = Limited::new(request.into_body(), BODY_LIMIT).collect();
    let body = match tokio::time::timeout(BODY_TIME_LIMIT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Ok(respond(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new())),
        Err(_) => return Ok(respond(StatusCode::REQUEST_TIMEOUT, Bytes::new())),
    };
    Ok(match handler(Posted { path, content_type, body: body.to_bytes() }).await {
        Answer::Document(body) => {
            let mut response = respond(StatusCode::OK, body);
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(CCCP));
            response
        }
        Answer::Taken => respond(StatusCode::NO_CONTENT, Bytes::new()),
        Answer::Unreadable(why) => respond(StatusCode::BAD_REQUEST, why.into()),
        Answer::Forbidden(why) => respond(StatusCode::FORBIDDEN, why.into()),
        Answer::NotFound => respond(StatusCode::NOT_FOUND, Bytes::new()),
        Answer::Unavailable => respond(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
    })
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What is answered to somebody who writes this and then nothing, and how long it took.
    async fn answered(request: &str) -> (String, Duration) {
        let (mut near, far) = tokio::io::duplex(1024);
        tokio::spawn(attend(impatient(), far, |_| async { Answer::Taken }));
        near.write_all(request.as_bytes()).await.unwrap();
        let begun = tokio::time::Instant::now();
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap();
        (String::from_utf8_lossy(&all).into_owned(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_is_not_waited_for() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ";
        for silent in ["", "POST", head] {
            let (answer, took) = answered(silent).await;
            assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
            assert!(took >= HEAD_LIMIT && took < HEAD_LIMIT * 2, "{silent}: {took:?}");
        }
        let (answer, took) = answered(&format!("{head}10\r\n\r\nhalf")).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(took >= BODY_TIME_LIMIT && took < HEAD_LIMIT * 2, "{took:?}");
        let (answer, _) = answered(&format!("{head}5\r\n\r\nwhole")).await;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
}
