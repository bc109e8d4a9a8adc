//! The one loop that runs every machine: events in, actions out, time.
//!
//! Everything a machine hears and does passes here, so here the flow trace is written. An action
//! that must be durable holds back what follows it until it is done; if it fails, what follows is
//! dropped and the machine is told.

use confab_machine::{FlowNote, Machine, Time, Traced};
use tokio::sync::mpsc;

use crate::clock::Clock;

/// What became of an action.
pub enum Performed<E> {
    /// It is done, or well on its way.
    Done,
    /// A durable action failed: the machine hears this instead of what followed being done.
    Failed(E),
    /// The machine has ended.
    Stop,
}

/// The hands of a machine: they do what it wants done.
pub trait Shell<M: Machine>: Send {
    /// Does one action. Only a durable action may take long: the machine waits for it.
    fn perform(&mut self, now: Time, action: M::Action) -> impl Future<Output = Performed<M::Event>> + Send;

    /// Files a note of the flow trace.
    fn note(&mut self, now: Time, note: FlowNote);
}

/// Runs `machine` until it stops or nobody can send it events any more, and gives its queue back.
///
/// # Panics
/// If `handle_timeout` neither clears nor moves the machine's deadline, which would spin.
pub async fn drive<M, S>(
    mut machine: M,
    mut events: mpsc::Receiver<M::Event>,
    clock: Clock,
    mut shell: S,
) -> mpsc::Receiver<M::Event>
where
    M: Machine + Send,
    M::Event: Traced + Send,
    M::Action: Traced + Send,
    S: Shell<M>,
{
    let mut out = Vec::new();
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => Some(event),
                None => return events,
            },
            () = clock.sleep_until(machine.deadline()) => None,
        };
        let now = clock.now();
        if let Some(event) = event {
            hear(&mut machine, now, event, &mut out, &mut shell);
        }
        if machine.deadline().is_some_and(|at| at <= now) {
            machine.handle_timeout(now, &mut out);
            assert!(machine.deadline().is_none_or(|at| at > now), "handle_timeout must move its deadline");
        }
        while !out.is_empty() {
            if !act(&mut machine, now, &mut out, &mut shell).await {
                return events;
            }
        }
    }
}

fn hear<M, S>(machine: &mut M, now: Time, event: M::Event, out: &mut Vec<M::Action>, shell: &mut S)
where
    M: Machine,
    M::Event: Traced,
    S: Shell<M>,
{
    if let Some(note) = event.flow_note() {
        shell.note(now, note);
    }
    machine.handle(now, event, out);
}

/// Does what is to be done, in order; `false` when the machine has ended.
async fn act<M, S>(machine: &mut M, now: Time, out: &mut Vec<M::Action>, shell: &mut S) -> bool
where
    M: Machine,
    M::Event: Traced,
    M::Action: Traced,
    S: Shell<M>,
{
    let mut failure = None;
    for action in std::mem::take(out) {
        if let Some(note) = action.flow_note() {
            shell.note(now, note);
        }
        match shell.perform(now, action).await {
            Performed::Done => {}
            Performed::Failed(event) => {
                failure = Some(event);
                break;
            }
            Performed::Stop => return false,
        }
    }
    if let Some(event) = failure {
        hear(machine, now, event, out, shell);
    }
    true
}
