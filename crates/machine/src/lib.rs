//! The shape every core of Confab has.
//!
//! A [`Machine`] is pure state: it takes one event at one [`Time`] and appends the actions that
//! must be done, in order. It never waits, reads a clock, draws a random number or touches a
//! socket; [`Entropy`] and `Time` are handed in. What an event or an action means to a person who
//! reads a trace is its [`FlowNote`].

mod entropy;
mod flow;
mod time;

pub use entropy::Entropy;
pub use flow::{Component, FlowNote, FlowRecord, Step, Traced};
pub use time::Time;

/// A state machine. It never waits, reads a clock, draws a random number or touches a socket.
pub trait Machine {
    /// What happens to the machine: a past fact (`UserJoined`).
    type Event;
    /// What the machine wants done: an imperative (`SendNotify`).
    type Action;

    /// Takes one event and appends what must be done to `out`, in order.
    fn handle(&mut self, now: Time, event: Self::Event, out: &mut Vec<Self::Action>);

    /// When to call [`Machine::handle_timeout`] if nothing happens first; `None` = never.
    fn deadline(&self) -> Option<Time> {
        None
    }

    /// The deadline has come. Must clear or move the deadline, or do some of what is due and be asked again for the rest.
    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Self::Action>) {
        let _ = (now, out);
    }
}
