//! A gate between two in-memory networks. While it is shut nothing passes and nobody is told:
//! connections stay open and are silent, new ones come about for neither side. So a server behind it
//! is frozen, or cut off.

use std::sync::{Arc, Mutex};

use confab_machine::Time;
use confab_server::{clock::Clock, inproc::InprocNetwork};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    sync::watch,
};

/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;

/// The gate.
pub struct Gate {
    open: watch::Sender<bool>,
    last_sign_of_life: Arc<Mutex<Time>>,
}

/// One way through.
#[derive(Clone)]
struct Way {
    open: watch::Receiver<bool>,
    clock: Clock,
    /// Where to write down when something passed outwards.
    last_sign_of_life: Arc<Mutex<Time>>,
}

impl Gate {
    /// Between `outside` and `inside`: from outside the names `inner` can be reached, from inside
    /// the names `outer`.
    pub fn new(
        clock: Clock,
        outside: &InprocNetwork,
        inside: &InprocNetwork,
        inner: &[&str],
        outer: &[&str],
    ) -> Gate {
        let (open, opened) = watch::channel(true);
        let last_sign_of_life = Arc::new(Mutex::new(clock.now()));
        let way = Way { open: opened, clock, last_sign_of_life: Arc::clone(&last_sign_of_life) };
        for name in inner {
            tokio::spawn(way.clone().lead(outside.clone(), inside.clone(), (*name).to_owned(), false));
        }
        for name in outer {
            tokio::spawn(way.clone().lead(inside.clone(), outside.clone(), (*name).to_owned(), true));
        }
        Gate { open, last_sign_of_life }
    }

    /// Shuts it.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Opens it again: what waited passes.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// When something last came from inside.
    pub fn last_sign_of_life(&self) -> Time {
        *self.last_sign_of_life.lock().expect("nobody panics while holding it")
    }
}

impl Way {
    /// Leads who asks for `name` in one network to it in the other.
    async fn lead(self, from: InprocNetwork, to: InprocNetwork, name: String, outwards: bool) {
        let mut asking = from.listen(&name);
        while let Some(near) = asking.recv().await {
            let (way, to, name) = (self.clone(), to.clone(), name.clone());
            tokio::spawn(async move {
                way.clone().opened().await;
                if let Ok(far) = to.connect(&name).await {
                    way.join(near, far, outwards).await;
                }
            });
        }
    }

    async fn join(self, near: DuplexStream, far: DuplexStream, outwards: bool) {
        let (near_reader, near_writer) = tokio::io::split(near);
        let (far_reader, far_writer) = tokio::io::split(far);
        tokio::join!(
            self.clone().pass(near_reader, far_writer, outwards),
            self.clone().pass(far_reader, near_writer, !outwards)
        );
    }

    /// Passes bytes on until one end closes.
    async fn pass(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        outwards: bool,
    ) {
        let mut buffer = vec![0; READ_SIZE];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.opened().await;
            if outwards {
                *self.last_sign_of_life.lock().expect("nobody panics while holding it") = self.clock.now();
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        self.opened().await;
        let _ = to.shutdown().await;
    }

    async fn opened(&mut self) {
        // A gate that is gone leaves its ways as they were last.
        let _ = self.open.wait_for(|open| *open).await;
    }
}
