//! The reading side of a connection: bytes in, messages out, within limits of size and time.

use std::net::SocketAddr;

use bytes::Bytes;
use confab_sip::{
    Flow, Message, Response,
    frame::{Frame, FrameError, Framer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadHalf},
    time::{Instant, timeout_at},
};
use tracing::debug;

use super::{
    Flows, PROGRESS_LIMIT, PROOF_LIMIT, Turns,
    stream::{Manners, PONG, Standing},
};

/// Bytes read at once: most messages in one piece, and little for each connection that is silent.
const READ_SIZE: usize = 4 * 1024;

/// The reading side of a connection.
pub(super) struct Reading<'a> {
    pub(super) flows: &'a Flows,
    pub(super) flow: Flow,
    pub(super) peer: Option<SocketAddr>,
    pub(super) manners: Manners,
    pub(super) standing: &'a Standing,
}

/// When things happened on a connection.
struct Course {
    opened: Instant,
    /// The last message that came whole, or keep-alive; on a link, whatever came last.
    whole: Instant,
    /// The one that has begun and is not whole.
    begun: Option<Instant>,
}

impl Course {
    /// Until when something must happen, if ever. What has begun must end: a message sent byte by
    /// byte holds nobody up.
    fn deadline(&self, manners: Manners, believed: bool) -> Option<Instant> {
        let until = if believed { self.whole + manners.silence()? } else { self.opened + PROOF_LIMIT };
        Some(self.begun.map_or(until, |begun| until.min(begun + PROGRESS_LIMIT)))
    }
}

impl Reading<'_> {
    /// Reads until the connection ends or must be closed.
    pub(super) async fn run<S: AsyncRead>(&self, mut reader: ReadHalf<S>, turns: &mut Turns) {
        let mut framer = Framer::new(self.flows.shared.limits.max_message);
        let mut unfinished = self.flows.shared.limits.unfinished();
        let mut buffer = vec![0; READ_SIZE];
        let now = Instant::now();
        let mut course = Course { opened: now, whole: now, begun: None };
        loop {
            let Some(count) = self.read(&mut reader, &mut buffer, &course).await else { return };
            framer.push(&buffer[..count]);
            let mut whole = false;
            loop {
                match framer.next() {
                    Ok(Some(Frame::Message(bytes))) => {
                        whole = true;
                        let believed = self.standing.is_believed();
                        if !self.flows.deliver(self.flow, self.peer, bytes, turns, believed).await {
                            return;
                        }
                    }
                    Ok(Some(Frame::KeepAlive)) if self.manners == Manners::Link => {
                        self.flows.send_raw(self.flow, Bytes::from_static(PONG));
                    }
                    Ok(Some(Frame::KeepAlive | Frame::Pong)) => whole = true,
                    Ok(None) => break,
                    Err(error) => return refuse(self.flows, self.flow, &error),
                }
            }
            let now = Instant::now();
            if whole || self.manners == Manners::Link {
                (course.whole, course.begun) = (now, None);
            }
            if framer.is_within_message() {
                course.begun = course.begun.or(Some(now));
            }
            let held = if self.standing.is_believed() { 0 } else { framer.held() };
            if !unfinished.set(held) {
                debug!(flow = self.flow.id, "strangers send too much at once; a connection is closed");
                return;
            }
        }
    }

    /// Bytes that came, how many; `None` when the connection has ended or must.
    async fn read<S: AsyncRead>(
        &self,
        reader: &mut ReadHalf<S>,
        buffer: &mut [u8],
        course: &Course,
    ) -> Option<usize> {
        loop {
            let believed = self.standing.is_believed();
            let until = course.deadline(self.manners, believed);
            let read = reader.read(buffer);
            let read = match until {
                None => Ok(read.await),
                Some(until) if believed => timeout_at(until, read).await,
                Some(until) => tokio::select! {
                    biased;
                    read = timeout_at(until, read) => read,
                    () = self.standing.evicted() => {
                        debug!(flow = self.flow.id, "a stranger's connection made room for another");
                        return None;
                    }
                },
            };
            match read {
                Ok(Ok(count)) if count > 0 => return Some(count),
                Ok(_) => return None,
                // He may have proved meanwhile who he is.
                Err(_) if course.deadline(self.manners, self.standing.is_believed()) > until => {}
                Err(_) => {
                    debug!(flow = self.flow.id, "a connection was silent, slow or nobody's for too long");
                    return None;
                }
            }
        }
    }
}

/// Tells the peer, as far as that is possible, why the connection is closed.
fn refuse(flows: &Flows, flow: Flow, error: &FrameError) {
    debug!(flow = flow.id, %error, "a connection is closed");
    let (head, status) = match error {
        FrameError::TooLong { head: Some(head), .. } => (head, 513),
        FrameError::NoLength { head } => (head, 400),
        _ => return,
    };
    let request = match Message::parse(head.clone()) {
        Ok(Message::Request(request)) => request,
        Ok(Message::Response(_)) => return,
        Err(malformed) => match malformed.partial() {
            Some(request) => request.clone(),
            None => return,
        },
    };
    let response = Response::to(&request, status).with_header("Warning", format!("399 confab \"{error}\""));
    flows.send(flow, &response.into());
}
