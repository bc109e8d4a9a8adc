//! The administrator's door: HTTP on a Unix socket in the data directory that only its owner may
//! open. `confab flow` and `confab conference` speak to a running server through it.

use std::{
    convert::Infallible,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use confab_conference::record::ConferenceRecord;
use confab_machine::Time;
use confab_schema::{
    conference_info::{CallRecord, JoiningMethod},
    date,
    uri::ConferenceUri,
};
use confab_store::{MAX_LISTED, StoreError};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use crate::{
    flow_log::{self, FlowLog},
    metrics,
    roles::{McuServer, Server},
};

/// The socket's name in the data directory.
const SOCKET: &str = "admin.sock";
/// How many conferences a list shows.
const LIST_LIMIT: usize = 1000;
/// How many calls of a conference are shown.
const CALLS_SHOWN: usize = 100;

/// What is behind the door.
#[derive(Clone)]
pub enum Behind {
    /// A front end, with or without an MCU of its own.
    Server(Arc<Server>),
    /// An MCU that is a process of its own.
    Mcu(McuServer),
}

/// Opens the door of `behind`.
///
/// # Errors
/// If the socket cannot be made in `data`.
pub fn serve(data: &Path, behind: Behind) -> anyhow::Result<()> {
    let path = data.join(SOCKET);
    let unusable = || format!("the administrator's socket {} cannot be made", path.display());
    if path.exists() {
        // Left by a server that was killed; a running one holds the data directory's lock.
        fs::remove_file(&path).with_context(unusable)?;
    }
    let listener = UnixListener::bind(&path).with_context(unusable)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(unusable)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let behind = behind.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(behind.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    debug!(%error, "an administrator's connection ended");
                }
            });
        }
    });
    Ok(())
}

async fn answer(behind: Behind, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let (status, text) = match &behind {
        Behind::Server(server) => answer_of_server(server, request.method(), &path).await,
        Behind::Mcu(mcu) => answer_of_mcu(mcu, request.method(), &path),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    Ok(response)
}

async fn answer_of_server(server: &Server, method: &Method, path: &[&str]) -> (StatusCode, String) {
    match (method, path) {
        (&Method::GET, ["flow", id]) => flow(&server.flows, id),
        (&Method::GET, ["flow", id, "saved"]) => saved_flow(server, id).await,
        (&Method::GET, ["metrics"]) => {
            let active = server.directory.active_conferences();
            let people = active.iter().map(|(_, people)| *people as u64).sum();
            (StatusCode::OK, metrics::text(active.len() as u64, people, server.media.as_deref()))
        }
        (&Method::GET, ["conferences"]) => list(server).await,
        (&Method::GET, ["conferences", id]) => show(server, id).await,
        (&Method::POST, ["conferences", id, "end"]) => end(server, id).await,
        (_, ["drain"]) => {
            let sentence = "A front end runs here; only a conferencing server that is a process of its own \
                            ([im_mcu] or [av_mcu]) can be drained.\n";
            (StatusCode::CONFLICT, sentence.into())
        }
        _ => (StatusCode::NOT_FOUND, "There is nothing here.\n".to_owned()),
    }
}

fn answer_of_mcu(mcu: &McuServer, method: &Method, path: &[&str]) -> (StatusCode, String) {
    match (method, path) {
        (&Method::GET, ["flow", id]) => flow(&mcu.flows, id),
        (&Method::GET, ["metrics"]) => {
            let (conferences, people) = mcu.host.counts();
            (StatusCode::OK, metrics::text(conferences, people, mcu.host.media()))
        }
        (&Method::GET | &Method::POST, ["drain"]) => {
            if method == Method::POST {
                mcu.host.drain();
            }
            (StatusCode::OK, format!("{}\n", mcu.host.conference_count()))
        }
        (_, ["conferences", ..]) => {
            let sentence = "A conferencing server runs here; the front end knows what is scheduled.\n";
            (StatusCode::CONFLICT, sentence.into())
        }
        _ => (StatusCode::NOT_FOUND, "There is nothing here.\n".to_owned()),
    }
}

fn flow(flows: &FlowLog, id: &str) -> (StatusCode, String) {
    match flows.records(id) {
        Some((records, dropped)) => (StatusCode::OK, flow_log::ladder(&records, dropped)),
        None => (
            StatusCode::NOT_FOUND,
            format!(
                "No single conference whose ID begins with {id} has left a trace since the server \
                 started. `confab conference list` shows the IDs.\n"
            ),
        ),
    }
}

/// What the Focus of a conference has heard of late, without anything personal.
async fn saved_flow(server: &Server, id: &str) -> (StatusCode, String) {
    let record = match find(server, id).await {
        Ok(record) => record,
        Err(answer) => return answer,
    };
    let Some(flow) = server.directory.save_flow(&record.uri).await else {
        let sentence = "The conference is not active, so there is nothing to save.\n";
        return (StatusCode::CONFLICT, sentence.into());
    };
    match flow.anonymous().and_then(|flow| flow.to_json()) {
        Ok(json) => (StatusCode::OK, json),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("The flow cannot be saved: {error:#}\n")),
    }
}

async fn list(server: &Server) -> (StatusCode, String) {
    let listed = match server.store.conferences(None, LIST_LIMIT).await {
        Ok(listed) => listed,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    };
    let active = server.directory.active_conferences();
    let mut text = line(["ID", "organizer", "people", "expires", "deleted", "activated", "ends", "subject"]);
    let none = listed.is_empty();
    for record in listed {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                text += &format!("{error}\n");
                continue;
            }
        };
        let people = active.iter().find(|(uri, _)| *uri == record.uri).map(|(_, people)| people.to_string());
        let dates = Dates::of(server, &record.uri, record.expires);
        let or_none = |date: Option<Time>| date.map_or("-".into(), date::format);
        text += &line([
            record.uri.id.as_str(),
            record.uri.organizer.address(),
            &people.unwrap_or("-".into()),
            &date::format(record.expires),
            &date::format(dates.deleted),
            &or_none(record.last_activated),
            &or_none(dates.ends),
            &record.subject,
        ]);
    }
    if none {
        text += "No conference is scheduled.\n";
    }
    (StatusCode::OK, text)
}

/// One line of the list.
fn line([id, organizer, people, expires, deleted, activated, ends, subject]: [&str; 8]) -> String {
    format!(
        "{id:<32}  {organizer:<28} {people:>6}  {expires:<20}  {deleted:<20}  {activated:<20}  {ends:<20}  {subject}\n"
    )
}

/// What becomes of a conference, and when, if nobody does anything.
struct Dates {
    /// The record is deleted.
    deleted: Time,
    /// The meeting ends, if one is going on.
    ends: Option<Time>,
}

impl Dates {
    fn of(server: &Server, conference: &ConferenceUri, expires: Time) -> Dates {
        let ends = server.directory.expected_end(conference).map(|end| end.min(expires));
        Dates { deleted: expires + server.content_grace, ends }
    }
}

async fn show(server: &Server, id: &str) -> (StatusCode, String) {
    let record = match find(server, id).await {
        Ok(record) => record,
        Err(answer) => return answer,
    };
    let active = server.directory.active_conferences();
    let people = active.iter().find(|(uri, _)| *uri == record.uri).map(|(_, people)| *people);
    let media: Vec<&str> = record.media.iter().map(|media| media.as_str()).collect();
    let dates = Dates::of(server, &record.uri, record.expires);
    let mut text = format!("{}\n", record.uri);
    for (label, value) in [
        ("subject", record.subject.clone()),
        ("media", media.join(", ")),
        ("admission", record.admission.as_str().to_owned()),
        ("locked", if record.locked { "yes" } else { "no" }.to_owned()),
        ("lobby", if record.lobby { "yes" } else { "no" }.to_owned()),
        ("scheduled", date::format(record.created)),
        ("changed", date::format(record.updated)),
        ("expires", date::format(record.expires)),
        ("deleted", format!("{} unless it is prolonged", date::format(dates.deleted))),
        ("activated", record.last_activated.map_or("never".into(), date::format)),
        ("meeting", people.map_or("not active".into(), |people| format!("active, {people} in it"))),
    ] {
        text += &format!("{label:<9}  {value}\n");
    }
    if let Some(ends) = dates.ends {
        text += &format!("ends       {} if nobody joins before\n", date::format(ends));
    }
    for invitee in &record.participants {
        text += &format!("invited    {} as {}\n", invitee.user, invitee.role.as_str());
    }
    match server.store.calls(&record.uri, CALLS_SHOWN).await {
        Ok(calls) => calls.iter().for_each(|call| text += &call_line(call)),
        Err(error) => text += &format!("calls      {error}\n"),
    }
    (StatusCode::OK, text)
}

/// What became of one leg, in a line: when, who, how, why it ended and how it sounded.
fn call_line(call: &CallRecord) -> String {
    let user = call.user.strip_prefix("sip:").unwrap_or(&call.user);
    let way = if call.joining_method == JoiningMethod::DialedOut { "called" } else { "came" };
    let seconds = call.until.as_unix_secs().saturating_sub(call.from.as_unix_secs());
    let codec = call.codec.as_deref().unwrap_or("-");
    let why = call.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
    let sound = call.quality.map_or("no quality was told".to_owned(), |quality| {
        let expected = (quality.received + quality.lost).max(1);
        let round_trip = quality.round_trip_us.map_or("-".to_owned(), |time| format!("{} ms", time / 1000));
        format!(
            "loss {:.1} %, late {}, jitter {} ms, round trip {round_trip}, MOS {}.{:02}",
            quality.lost as f64 * 100.0 / expected as f64,
            quality.late,
            quality.jitter_us / 1000,
            quality.mos / 100,
            quality.mos % 100
        )
    });
    format!(
        "call       {} {user} {way}, {seconds} s, {codec}, {}{why}; {sound}\n",
        date::format(call.from),
        call.ending.as_str()
    )
}

async fn end(server: &Server, id: &str) -> (StatusCode, String) {
    match find(server, id).await {
        Ok(record) if server.directory.end(&record.uri).await => {
            (StatusCode::OK, "The meeting was ended. Its record stays until it expires.\n".into())
        }
        Ok(_) => (StatusCode::CONFLICT, "The conference is not active, so there is nothing to end.\n".into()),
        Err(answer) => answer,
    }
}

/// The one record whose ID begins with `id`.
async fn find(server: &Server, id: &str) -> Result<ConferenceRecord, (StatusCode, String)> {
    let unavailable = |error: StoreError| (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"));
    let nowhere =
        |id: &str| (StatusCode::NOT_FOUND, format!("No conference has an ID that begins with {id}.\n"));
    let listed = server.store.conferences(None, MAX_LISTED).await.map_err(unavailable)?;
    let id = id.to_ascii_uppercase();
    let mut fits = listed
        .into_iter()
        .flatten()
        .map(|conference| conference.uri)
        .filter(|uri| uri.id.as_str().to_ascii_uppercase().starts_with(&id));
    match (fits.next(), fits.next()) {
        (Some(uri), None) => {
            let record = server.store.conference(&uri).await.map_err(unavailable)?;
            record.ok_or_else(|| nowhere(&id))
        }
        (None, _) => Err(nowhere(&id)),
        (Some(_), Some(_)) => Err((
            StatusCode::CONFLICT,
            format!("Several conferences have an ID that begins with {id}; give more of it.\n"),
        )),
    }
}

/// Asks the server that runs on `data`, and returns what it says.
///
/// # Errors
/// A sentence if no server runs there, or the one it answers a refusal with.
pub async fn ask(data: &Path, method: Method, path: &str) -> anyhow::Result<String> {
    let socket: PathBuf = data.join(SOCKET);
    let stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "no server answers at {}; start `confab serve`, or name its data directory with --data",
            socket.display()
        )
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", "confab").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let text = String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()).into_owned();
    if !status.is_success() {
        bail!("{}", text.trim_end());
    }
    Ok(text)
}
