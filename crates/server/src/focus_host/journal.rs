//! A Focus that breaks goes on (ARCHITECTURE.md, decision 15): what it hears is written down after a
//! snapshot, and when a panic has left it in nobody knows what state, the snapshot hears it all again.
//!
//! A machine is pure, so what it hears again brings it to where it was; what it wanted then has been
//! done and is left out. What broke it is not part of that. A question is answered with an error; a
//! fact (a BYE, what an MCU says, the time) cannot be refused and is heard once more. Who breaks a
//! second time within a minute, or by the same fact again, ends the meeting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use confab_conference::{focus, reason::Reason};
use confab_machine::{Component, Entropy, FlowNote, Machine, Time};
use confab_sip::Method;
use tracing::error;

use super::{Action, Event, FocusHost, saved_flow::SavedFlow};
use crate::refusal;

/// A panic so soon after another is not mended any more.
const AGAIN: Duration = Duration::from_secs(60);
/// What is heard between two snapshots, at least: a snapshot costs a copy of everything.
const LENGTH: usize = 256;
/// The same in bytes, and per dialog, of which each event takes about one.
const BYTES: usize = 1 << 20;
const BYTES_PER_DIALOG: usize = 1 << 10;

/// What runs as the Focus of a conference: a [`FocusHost`], or something made of one.
pub trait Restorable: Machine<Event = Event, Action = Action> + Send {
    /// One that is in the same state.
    fn copy(&self) -> Box<dyn Restorable>;

    /// The host.
    fn host(&self) -> &FocusHost;

    /// The host, to change.
    fn host_mut(&mut self) -> &mut FocusHost;
}

impl Restorable for FocusHost {
    fn copy(&self) -> Box<dyn Restorable> {
        Box::new(self.clone())
    }

    fn host(&self) -> &FocusHost {
        self
    }

    fn host_mut(&mut self) -> &mut FocusHost {
        self
    }
}

/// Makes what runs of a host that is new.
pub type MakeHost = Arc<dyn Fn(FocusHost) -> Box<dyn Restorable> + Send + Sync>;

/// The host of a Focus, and how it got where it is.
pub struct Journaled {
    live: Box<dyn Restorable>,
    snapshot: Box<dyn Restorable>,
    /// What was heard since the snapshot; nothing was heard where the deadline came.
    heard: Vec<(Time, Option<Event>)>,
    /// How much memory that takes, about.
    bytes: usize,
    /// From what the values follow that have been drawn since the snapshot.
    seed: [u8; 32],
    entropy: Entropy,
    /// When it broke last.
    broke: Option<Time>,
}

impl Journaled {
    /// Runs `host`, which need not be seeded.
    pub fn new(host: Box<dyn Restorable>, entropy: Entropy) -> Journaled {
        let mut journaled = Journaled {
            snapshot: host.copy(),
            live: host,
            heard: Vec::new(),
            bytes: 0,
            seed: [0; 32],
            entropy,
            broke: None,
        };
        journaled.take_snapshot();
        journaled
    }

    /// From here on something else is drawn than whoever knows the past could guess.
    fn take_snapshot(&mut self) {
        self.seed = self.entropy.bytes();
        self.live.host_mut().seed(Entropy::from_seed(self.seed));
        self.snapshot = self.live.copy();
        self.heard.clear();
        self.bytes = 0;
    }

    fn write_down(&mut self, now: Time, heard: Option<Event>) {
        self.bytes += heard.as_ref().map_or(0, Event::size);
        self.heard.push((now, heard));
        let dialogs = self.live.host().dialog_count();
        if self.heard.len() >= LENGTH.max(dialogs) || self.bytes >= BYTES.max(dialogs * BYTES_PER_DIALOG) {
            self.take_snapshot();
        }
    }

    /// An event, or the deadline.
    fn hear(&mut self, now: Time, heard: Option<Event>, out: &mut Vec<Action>) {
        if survives(&mut *self.live, now, heard.clone(), out) {
            self.write_down(now, heard);
        } else {
            self.mend(now, heard, out);
        }
    }

    /// `heard` broke it.
    fn mend(&mut self, now: Time, heard: Option<Event>, out: &mut Vec<Action>) {
        let again = self.broke.replace(now).is_some_and(|at| now.since(at) < AGAIN);
        let conference = self.snapshot.host().conference().clone();
        error!(%conference, again, "a Focus broke of a fault in this server; it is put back to before");
        out.push(note("the Focus broke, and goes on from its last snapshot"));
        let mended = self.restore();
        let heard_of = match heard {
            Some(event) if event.asks() => {
                self.live.host().apologize(event, out);
                // One that broke at its first must know that nobody is in.
                let unheard = Event::Focus(focus::Event::Unheard);
                survives(&mut *self.live, now, Some(unheard), out)
            }
            fact => mended && survives(&mut *self.live, now, fact, out),
        };
        if !heard_of {
            self.restore();
        }
        if again || !mended || !heard_of {
            self.give_up(now, out);
        }
        self.take_snapshot();
    }

    /// Ends the meeting; everybody is told if that is still possible.
    fn give_up(&mut self, now: Time, out: &mut Vec<Action>) {
        let broken = Event::Focus(focus::Event::Broken);
        if !survives(&mut *self.live, now, Some(broken), out) {
            self.live = self.snapshot.copy();
            out.push(Action::Focus(focus::Action::End));
        }
    }

    /// Brings it back to where it was before it broke. If that breaks it too, to the snapshot; says
    /// which.
    fn restore(&mut self) -> bool {
        let replayed = catch_unwind(AssertUnwindSafe(|| {
            let mut host = self.snapshot.copy();
            for (now, heard) in &self.heard {
                replay(&mut *host, *now, heard.clone());
            }
            host
        }));
        let well = replayed.is_ok();
        self.live = replayed.unwrap_or_else(|_| self.snapshot.copy());
        well
    }

    /// What the Focus heard since the snapshot. The next snapshot is taken at once, so that what is
    /// written there tells nothing of what is drawn later.
    fn save_flow(&mut self) -> SavedFlow {
        let mut host = self.snapshot.host().clone();
        let focus = host.focus().clone();
        host.write_down_what_the_focus_hears();
        for (now, heard) in &self.heard {
            replay(&mut host, *now, heard.clone());
        }
        let flow = SavedFlow::new(focus, Entropy::from_seed(self.seed).bytes(), host.what_the_focus_heard());
        self.take_snapshot();
        flow
    }
}

/// Lets `host` hear something; if that breaks it, nothing of what it wanted is left in `out`.
fn survives(host: &mut dyn Restorable, now: Time, heard: Option<Event>, out: &mut Vec<Action>) -> bool {
    let before = out.len();
    // What a panic leaves of the host is not looked at any more.
    let survived = catch_unwind(AssertUnwindSafe(|| tell(host, now, heard, out))).is_ok();
    if !survived {
        out.truncate(before);
    }
    survived
}

/// Lets `host` hear what it heard before; what it wants has been done.
fn replay(host: &mut dyn Restorable, now: Time, heard: Option<Event>) {
    tell(host, now, heard, &mut Vec::new());
}

fn tell(host: &mut dyn Restorable, now: Time, heard: Option<Event>, out: &mut Vec<Action>) {
    match heard {
        Some(event) => host.handle(now, event, out),
        None => host.handle_timeout(now, out),
    }
}

fn note(summary: &str) -> Action {
    Action::Note(FlowNote::new(4, Component::Focus, Component::Focus, summary))
}

impl Machine for Journaled {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::FlowWanted { number } => {
                out.push(Action::GiveFlow { number, flow: Box::new(self.save_flow()) });
            }
            event => self.hear(now, Some(event), out),
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.live.deadline()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        self.hear(now, None, out);
    }
}

impl Event {
    /// Whether somebody waits for an answer who can be told to ask again.
    fn asks(&self) -> bool {
        match self {
            Event::Request { request, .. } => request.method != Method::Bye,
            Event::McuInvite { .. } => true,
            _ => false,
        }
    }

    /// How much memory it takes, about, in bytes.
    fn size(&self) -> usize {
        /// Of anything.
        const LEAST: usize = 1 << 10;
        let body = match self {
            Event::Request { request, .. } => request.body.len(),
            Event::Response { response, .. } => response.body.len(),
            Event::Focus(focus::Event::McuNotified { document, .. }) => {
                document.users.as_ref().map_or(0, |users| users.users.len() * LEAST)
            }
            _ => 0,
        };
        LEAST + body
    }
}

impl FocusHost {
    /// Answers a question that cannot be answered.
    fn apologize(&self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Request { key, request, .. } => {
                let sentence = "The server made a mistake with this request. Try again.";
                let response = refusal::plain(&request, 500, &self.source, sentence);
                out.push(Action::Respond { key, response });
            }
            Event::McuInvite { key, .. } => {
                out.push(Action::RefuseInvite { key, reason: Reason::McuUnavailable });
            }
            _ => {}
        }
    }
}
