//! Steps 6 and 7: the control link, C3P over HTTP between Focus, Conferencing Server Factory and
//! conferencing servers (c3p §14). In one process the bytes go over [`InprocNetwork`].

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
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tracing::debug;

use crate::inproc::InprocNetwork;

/// The largest body in either direction, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// How long an answer may take. A command that needs longer is answered `pending`.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Idle connections kept per host.
const IDLE_LIMIT: usize = 16;

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
    /// 404: nothing is at this path.
    NotFound,
    /// 503: not now.
    Unavailable,
}

/// Connections that wait for their next request, by host.
type Idle = BTreeMap<String, Vec<SendRequest<Full<Bytes>>>>;

/// The client half.
#[derive(Clone, Debug)]
pub struct ControlClient {
    network: InprocNetwork,
    idle: Arc<Mutex<Idle>>,
}

impl ControlClient {
    /// A client that reaches the hosts of `network`.
    pub fn new(network: InprocNetwork) -> ControlClient {
        ControlClient { network, idle: Arc::default() }
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
        let uri: Uri = url.parse().map_err(|_| LinkError::BadUrl(url.to_owned()))?;
        let host = uri.host().ok_or_else(|| LinkError::BadUrl(url.to_owned()))?.to_owned();
        let broken = |cause: Box<dyn std::error::Error + Send + Sync>| LinkError::Broken {
            url: url.to_owned(),
            cause,
        };
        let mut connection = self.connection(url, &host).await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.path())
            .header(HOST, &host)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|cause| broken(cause.into()))?;
        let response = connection.send_request(request).await.map_err(|cause| broken(cause.into()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await.map_err(broken)?.to_bytes();
        let mut idle = self.idle();
        let kept = idle.entry(host).or_default();
        if kept.len() < IDLE_LIMIT {
            kept.push(connection);
        }
        if status.is_success() { Ok(body) } else { Err(LinkError::Refused { url: url.to_owned(), status }) }
    }

    async fn connection(&self, url: &str, host: &str) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        loop {
            let kept = self.idle().get_mut(host).and_then(Vec::pop);
            let Some(mut connection) = kept else { break };
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let unreachable = |cause| LinkError::Unreachable { url: url.to_owned(), cause };
        let stream = self.network.connect(host).await.map_err(unreachable)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| LinkError::Broken { url: url.to_owned(), cause: cause.into() })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a control connection ended");
            }
        });
        Ok(sender)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().expect("nobody panics while holding the pool")
    }
}

/// The server half: hands each posted document to `handler` until the listener is dropped.
pub async fn serve<H, F>(mut listener: mpsc::Receiver<DuplexStream>, handler: H)
where
    H: Fn(Posted) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    while let Some(stream) = listener.recv().await {
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, handler.clone()));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "a control connection ended");
            }
        });
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
    let Ok(body) = Limited::new(request.into_body(), BODY_LIMIT).collect().await else {
        return Ok(respond(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
    };
    Ok(match handler(Posted { path, content_type, body: body.to_bytes() }).await {
        Answer::Document(body) => {
            let mut response = respond(StatusCode::OK, body);
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(CCCP));
            response
        }
        Answer::Taken => respond(StatusCode::NO_CONTENT, Bytes::new()),
        Answer::Unreadable(why) => respond(StatusCode::BAD_REQUEST, why.into()),
        Answer::NotFound => respond(StatusCode::NOT_FOUND, Bytes::new()),
        Answer::Unavailable => respond(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
    })
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
