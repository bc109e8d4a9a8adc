//! The in-memory network: named listeners and byte streams between them, for the parts of Confab
//! that live in one process. What runs over it is the same HTTP and SIP as between processes; where
//! nothing lies between them, documents are handed over without HTTP around them.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::{
    io::DuplexStream,
    sync::mpsc::{self, Receiver, Sender},
};

use crate::control_link::{Answer, Posted};

/// What names in this network end in.
pub const INPROC: &str = ".inproc";
/// Bytes in flight in one direction of a stream.
const STREAM_BUFFER: usize = 64 * 1024;
/// Streams that wait to be accepted.
const BACKLOG: usize = 128;

/// What lies between the two ends: it is given the name that is connected to and the listener's end of
/// the stream, and returns what the listener gets.
pub type Between = Arc<dyn Fn(&str, DuplexStream) -> DuplexStream + Send + Sync>;

/// Somebody who takes documents as they are.
pub(crate) type Desk = Arc<dyn Fn(Posted) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Who listens under which name.
#[derive(Clone, Default)]
pub struct InprocNetwork {
    listeners: Arc<Mutex<BTreeMap<String, Sender<DuplexStream>>>>,
    desks: Arc<Mutex<BTreeMap<String, Desk>>>,
    between: Option<Between>,
}

impl InprocNetwork {
    /// A network whose streams go through what lies between: the simulation's is slow and breaks.
    pub fn through(between: Between) -> InprocNetwork {
        InprocNetwork { between: Some(between), ..InprocNetwork::default() }
    }

    /// Whether nothing lies between: then what is sent arrives.
    pub(crate) fn is_whole(&self) -> bool {
        self.between.is_none()
    }

    /// Listens under `name`; a former listener of that name gets no more streams.
    pub fn listen(&self, name: &str) -> Receiver<DuplexStream> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.lock().insert(name.to_owned(), sender);
        receiver
    }

    /// Takes documents under `name`, if nothing lies between.
    pub(crate) fn open_desk(&self, name: &str, desk: Desk) {
        if self.is_whole() {
            self.desks.lock().expect("nobody panics while holding the desks").insert(name.to_owned(), desk);
        }
    }

    /// Who takes documents under `name`.
    pub(crate) fn desk(&self, name: &str) -> Option<Desk> {
        self.desks.lock().expect("nobody panics while holding the desks").get(name).cloned()
    }

    /// Opens a stream to the listener `name`.
    ///
    /// # Errors
    /// `NotFound` if nobody listens under it, `ConnectionRefused` if he has stopped.
    pub async fn connect(&self, name: &str) -> io::Result<DuplexStream> {
        let listener = self.lock().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        let (near, far) = tokio::io::duplex(STREAM_BUFFER);
        let far = match &self.between {
            Some(between) => between(name, far),
            None => far,
        };
        listener.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Sender<DuplexStream>>> {
        self.listeners.lock().expect("nobody panics while holding the listener table")
    }
}
