//! What came, on its way to the role. Those who have proved who they are go first, and everybody
//! waits for his turn: however much one connection brings, it delays others by a few messages.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::TransportEvent;

/// Messages of strangers that may wait.
const STRANGER_QUEUE: usize = 64;
/// Messages that may wait of one connection whose holder is known.
const KNOWN_TURNS: usize = 32;
/// Messages that may wait of one socket for datagrams. Nobody is known there.
const DATAGRAM_TURNS: usize = 32;
/// After so many of those who are known a stranger has his turn, so that people can sign in while
/// others are busy.
const KNOWN_IN_A_ROW: u32 = 16;

/// An event, and the turn that ends when it is taken.
struct Queued {
    event: TransportEvent,
    _turn: Option<OwnedSemaphorePermit>,
}

/// The way in.
pub(super) struct Intake {
    known: mpsc::Sender<Queued>,
    strangers: mpsc::Sender<Queued>,
}

/// The turns of one connection.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    known: bool,
    /// Whether anything came at all, so that the role knows of the connection.
    used: bool,
}

impl Turns {
    /// Of a connection: a stranger's, until he proves who he is.
    pub(super) fn of_stranger() -> Turns {
        Turns { free: Arc::new(Semaphore::new(1)), known: false, used: false }
    }

    /// Of a socket for datagrams.
    pub(super) fn of_datagrams() -> Turns {
        Turns { free: Arc::new(Semaphore::new(DATAGRAM_TURNS)), known: false, used: false }
    }

    async fn next(&mut self, believed: bool) -> Option<OwnedSemaphorePermit> {
        self.used = true;
        let turn = Arc::clone(&self.free).acquire_owned().await.ok();
        if believed && !self.known {
            // What he sent as a stranger has been taken, for that held the only turn: nothing
            // overtakes it.
            self.known = true;
            self.free.add_permits(KNOWN_TURNS - 1);
        }
        turn
    }
}

impl Intake {
    /// The way in, and where it leads; `queue` events of those who are known may wait.
    pub(super) fn new(queue: usize) -> (Intake, Arrivals) {
        let (known, known_waiting) = mpsc::channel(queue);
        let (strangers, strangers_waiting) = mpsc::channel(STRANGER_QUEUE);
        let arrivals = Arrivals { known: known_waiting, strangers: strangers_waiting, in_a_row: 0 };
        (Intake { known, strangers }, arrivals)
    }

    /// Hands on what came by a connection, `believed` if its holder is known; waits for its turn.
    /// `false` when the role has ended.
    pub(super) async fn hand_on(&self, event: TransportEvent, turns: &mut Turns, believed: bool) -> bool {
        let turn = turns.next(believed).await;
        let queue = if turns.known { &self.known } else { &self.strangers };
        queue.send(Queued { event, _turn: turn }).await.is_ok()
    }

    /// Hands on the end of a connection, after all that came by it. A stranger's waits among those
    /// of strangers: ten thousand of them that end at once hold nobody up.
    pub(super) async fn hand_on_end(&self, event: TransportEvent, turns: &mut Turns, believed: bool) {
        if believed && !turns.known {
            drop(turns.next(true).await);
        }
        // The role has never heard of it, nor sent anything by it.
        if !turns.used {
            return;
        }
        let queue = if turns.known { &self.known } else { &self.strangers };
        // A role that has ended needs not be told.
        let _ = queue.send(Queued { event, _turn: None }).await;
    }
}

/// What came by all the connections of a role.
pub struct Arrivals {
    known: mpsc::Receiver<Queued>,
    strangers: mpsc::Receiver<Queued>,
    in_a_row: u32,
}

impl Arrivals {
    /// The next event; `None` when there are no flows any more, nor can be. What is waited for when
    /// the future is dropped is not lost.
    pub async fn recv(&mut self) -> Option<TransportEvent> {
        let known_first = self.in_a_row < KNOWN_IN_A_ROW;
        let (of_stranger, queued) = if known_first {
            tokio::select! {
                biased;
                queued = self.known.recv() => (false, queued),
                queued = self.strangers.recv() => (true, queued),
            }
        } else {
            tokio::select! {
                biased;
                queued = self.strangers.recv() => (true, queued),
                queued = self.known.recv() => (false, queued),
            }
        };
        self.in_a_row = if of_stranger { 0 } else { self.in_a_row.saturating_add(1) };
        queued.map(|queued| queued.event)
    }
}

#[cfg(test)]
mod tests {
    use confab_sip::{Flow, Transport};

    use super::*;

    fn closed(id: u64) -> TransportEvent {
        TransportEvent::Closed { flow: Flow { id, transport: Transport::Tcp } }
    }

    async fn next(arrivals: &mut Arrivals) -> u64 {
        match arrivals.recv().await {
            Some(TransportEvent::Closed { flow }) => flow.id,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_is_known_goes_first_but_not_for_ever() {
        let (intake, mut arrivals) = Intake::new(100);
        let (mut ann, mut eve) = (Turns::of_stranger(), Turns::of_stranger());
        assert!(intake.hand_on(closed(1), &mut eve, false).await);
        for _ in 0..30 {
            assert!(intake.hand_on(closed(2), &mut ann, true).await);
        }
        let mut order = Vec::new();
        for _ in 0..31 {
            order.push(next(&mut arrivals).await);
        }
        let expected = [vec![2; 16], vec![1], vec![2; 14]].concat();
        assert_eq!(order, expected);
    }

    #[tokio::test]
    async fn a_stranger_waits_for_his_turn_and_nothing_overtakes() {
        let (intake, mut arrivals) = Intake::new(100);
        let mut eve = Turns::of_stranger();
        assert!(intake.hand_on(closed(1), &mut eve, false).await);
        {
            let second = intake.hand_on(closed(2), &mut eve, true);
            tokio::pin!(second);
            tokio::select! {
                biased;
                _ = &mut second => panic!("there is one turn only"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(next(&mut arrivals).await, 1);
            assert!(second.await);
        }
        intake.hand_on_end(closed(3), &mut eve, true).await;
        assert_eq!((next(&mut arrivals).await, next(&mut arrivals).await), (2, 3));
    }

    #[tokio::test]
    async fn the_end_of_a_stranger_waits_among_strangers() {
        let (intake, mut arrivals) = Intake::new(100);
        let (mut ann, mut eve) = (Turns::of_stranger(), Turns::of_stranger());
        assert!(intake.hand_on(closed(1), &mut eve, false).await);
        intake.hand_on_end(closed(2), &mut eve, false).await;
        assert!(intake.hand_on(closed(3), &mut ann, true).await);
        intake.hand_on_end(closed(4), &mut ann, true).await;
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(next(&mut arrivals).await);
        }
        assert_eq!(order, [3, 4, 1, 2]);
    }

    #[tokio::test]
    async fn whom_nothing_was_heard_of_ends_unheard() {
        let (intake, mut arrivals) = Intake::new(100);
        let (mut silent, mut ann) = (Turns::of_stranger(), Turns::of_stranger());
        intake.hand_on_end(closed(1), &mut silent, false).await;
        // By a link of ours something was perhaps sent before anything came.
        intake.hand_on_end(closed(2), &mut ann, true).await;
        assert_eq!(next(&mut arrivals).await, 2);
    }
}
