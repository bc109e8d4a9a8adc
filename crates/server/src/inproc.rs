//! The in-memory network: named listeners and byte streams between them, for the parts of Confab
//! that live in one process. What runs over it is the same HTTP and SIP as between processes.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::DuplexStream,
    sync::mpsc::{self, Receiver, Sender},
};

/// What names in this network end in.
pub const INPROC: &str = ".inproc";
/// Bytes in flight in one direction of a stream.
const STREAM_BUFFER: usize = 64 * 1024;
/// Streams that wait to be accepted.
const BACKLOG: usize = 128;

/// What lies between the two ends: it is given the name that is connected to and the listener's end of
/// the stream, and returns what the listener gets.
pub type Between = Arc<dyn Fn(&str, DuplexStream) -> DuplexStream + Send + Sync>;

/// Who listens under which name.
#[derive(Clone, Default)]
pub struct InprocNetwork {
    listeners: Arc<Mutex<BTreeMap<String, Sender<DuplexStream>>>>,
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
