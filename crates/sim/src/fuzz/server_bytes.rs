//! A whole Confab under any bytes on a connection, while two people go on talking in a conference.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use confab_sip::{
    Message,
    frame::{Frame, Framer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::{deployment::Deployment, person::Person};

/// Inputs that one Confab takes before another is started, so that what it keeps of the first does
/// not slow down the last.
const LIFETIME: usize = 100;
/// How long an answer is waited for, in virtual time.
const PATIENCE: Duration = Duration::from_secs(2);

/// A Confab in which Ann and Bob talk.
struct Stage {
    runtime: Runtime,
    deployment: Deployment,
    ann: Person,
    bob: Person,
    taken: usize,
}

/// The one that is used at present. Starting one takes longer than most inputs do.
static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

/// See [`super::SERVER_BYTES`].
pub fn server_bytes(bytes: &[u8]) {
    let mut held = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stage = held.take().filter(|stage| stage.taken < LIFETIME).unwrap_or_else(Stage::set);
    stage.take(bytes);
    // A stage on which something went wrong is not put back.
    *held = Some(stage);
}

impl Stage {
    fn set() -> Stage {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime of one thread can be made");
        let (deployment, ann, bob) = runtime.block_on(async {
            let deployment = Deployment::open().await;
            let mut ann = deployment.sign_on("ann").await;
            let mut bob = deployment.sign_on("bob").await;
            let conference = ann.schedules("The harbour", vec![]).await;
            ann.joins(&conference).await;
            bob.joins(&conference).await;
            (deployment, ann, bob)
        });
        Stage { runtime, deployment, ann, bob, taken: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.taken += 1;
        let said = format!("words {}", self.taken);
        let Stage { runtime, deployment, ann, bob, .. } = self;
        runtime.block_on(async {
            let (mut stream, _) = deployment.connect();
            // That the server has hung up meanwhile is as good as any answer.
            let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
            let mut answered = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut answered)).await;
            is_sip(&answered);
            bob.says(&said).await;
            assert_eq!(ann.hears().await, ("bob".to_owned(), said), "those who are in notice nothing");
        });
    }
}

/// Whatever the server says is whole messages. A refusal repeats what could not be read, so it may be
/// as unreadable.
fn is_sip(answered: &[u8]) {
    let mut framer = Framer::new(usize::MAX);
    framer.push(answered);
    while let Some(frame) = framer.next().expect("the server writes SIP") {
        let Frame::Message(message) = frame else { continue };
        let refusal = [b"SIP/2.0 400 ", b"SIP/2.0 505 ", b"SIP/2.0 513 "]
            .iter()
            .any(|start| message.starts_with(*start));
        if let Err(malformed) = Message::parse(message) {
            assert!(refusal, "the server writes SIP that can be read: {malformed}");
        }
    }
    assert!(!framer.is_within_message(), "the server writes whole messages");
}
