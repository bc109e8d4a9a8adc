//! A peer that speaks raw bytes to a server, and reads whole messages back.

use std::time::Duration;

use bytes::Bytes;
use confab_sip::{
    Message, Response,
    frame::{Frame, Framer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long an answer may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;

/// A raw peer on a stream.
pub struct Peer {
    stream: Box<dyn Stream>,
    framer: Framer,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Peer {
    /// A peer on this stream.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Peer {
        Peer { stream: Box::new(stream), framer: Framer::new(confab_sip::MAX_MESSAGE) }
    }

    /// Sends bytes as they are. That the server has closed the connection meanwhile is no mistake.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next message, or `None` when the server has closed the connection or is silent.
    pub async fn receive(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.receive_patiently()).await.ok()?
    }

    /// The next message, or `None` when the server has closed the connection.
    pub async fn receive_patiently(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = self.framer.next().expect("the server writes SIP") {
                match frame {
                    Frame::Message(bytes) => {
                        return Some(Message::parse(bytes).expect("the server writes SIP that can be read"));
                    }
                    Frame::KeepAlive | Frame::Pong => continue,
                }
            }
            let mut buffer = vec![0; READ_SIZE];
            match self.stream.read(&mut buffer).await {
                Ok(count) if count > 0 => self.framer.push(&buffer[..count]),
                _ => return None,
            }
        }
    }

    /// The next final response; requests and provisional responses before it are dropped.
    pub async fn response(&mut self) -> Option<Response> {
        loop {
            match self.receive().await? {
                Message::Response(response) if response.status >= 200 => return Some(response),
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its final response.
    pub async fn asks(&mut self, request: &[u8]) -> Option<Response> {
        self.send(request).await;
        self.response().await
    }

    /// Bytes as they come, until the server closes the connection or is silent.
    pub async fn remainder(&mut self) -> Bytes {
        let mut all = Vec::new();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut all)).await;
        all.into()
    }
}
