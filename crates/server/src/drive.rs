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
    /// It is done, and the machine hears this after what followed is done too.
    Told(E),
    /// A durable action failed: the machine hears this instead of what followed being done.
    Failed(E),
    /// The machine has ended.
    Stop,
}

/// Actions that there is room for between two events; one event may bring thousands.
const ROOM: usize = 16;

/// The hands of a machine: they do what it wants done.
pub trait Shell<M: Machine>: Send {
    /// Does one action. Only a durable action may take long: the machine waits for it.
    fn perform(&mut self, now: Time, action: M::Action) -> impl Future<Output = Performed<M::Event>> + Send;

    /// Files a note of the flow trace.
    fn note(&mut self, now: Time, note: FlowNote);
}

/// Where a machine's events come from.
pub trait Source<E>: Send {
    /// The next event; `None` when there can be no more. When the future is dropped nothing is lost.
    fn next(&mut self) -> impl Future<Output = Option<E>> + Send;
}

impl<E: Send> Source<E> for mpsc::Receiver<E> {
    fn next(&mut self) -> impl Future<Output = Option<E>> + Send {
        self.recv()
    }
}

/// Each in a place of its own, where the queue would keep large ones for what may come.
impl<E: Send> Source<E> for mpsc::Receiver<Box<E>> {
    async fn next(&mut self) -> Option<E> {
        self.recv().await.map(|event| *event)
    }
}

/// Runs `machine` until it stops or nobody can send it events any more, and gives its queue back.
///
/// # Panics
/// If `handle_timeout` neither clears nor moves the machine's deadline nor wants anything, which would spin.
pub async fn drive<M, S, R>(mut machine: M, mut events: R, clock: Clock, mut shell: S) -> R
where
    R: Source<M::Event>,
    M: Machine + Send,
    M::Event: Traced + Send,
    M::Action: Traced + Send,
    S: Shell<M>,
{
    let mut out = Vec::new();
    loop {
        let event = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(event) => Some(event),
                None => return events,
            },
            () = clock.sleep_until(machine.deadline()) => None,
        };
        let now = clock.now();
        if let Some(event) = event {
            hear(&mut machine, now, event, &mut out, &mut shell);
            // Before what time brings: a joiner has his answer before everybody is told of him.
            if !act_on_all(&mut machine, now, &mut out, &mut shell).await {
                return events;
            }
        }
        if machine.deadline().is_some_and(|at| at <= now) {
            machine.handle_timeout(now, &mut out);
            let moved = machine.deadline().is_none_or(|at| at > now) || !out.is_empty();
            assert!(moved, "handle_timeout must move its deadline");
            if !act_on_all(&mut machine, now, &mut out, &mut shell).await {
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

/// Does what is to be done, and what comes of that; `false` when the machine has ended.
async fn act_on_all<M, S>(machine: &mut M, now: Time, out: &mut Vec<M::Action>, shell: &mut S) -> bool
where
    M: Machine,
    M::Event: Traced,
    M::Action: Traced,
    S: Shell<M>,
{
    while !out.is_empty() {
        if !act(machine, now, out, shell).await {
            return false;
        }
    }
    true
}

/// Does what is to be done, in order; `false` when the machine has ended.
async fn act<M, S>(machine: &mut M, now: Time, out: &mut Vec<M::Action>, shell: &mut S) -> bool
where
    M: Machine,
    M::Event: Traced,
    M::Action: Traced,
    S: Shell<M>,
{
    let mut told = Vec::new();
    let mut actions = std::mem::take(out);
    for action in actions.drain(..) {
        if let Some(note) = action.flow_note() {
            shell.note(now, note);
        }
        match shell.perform(now, action).await {
            Performed::Done => {}
            Performed::Told(event) => told.push(event),
            Performed::Failed(event) => {
                told.push(event);
                break;
            }
            Performed::Stop => return false,
        }
    }
    // The next event finds the room that this one took.
    if actions.capacity() <= ROOM {
        *out = actions;
    }
    for event in told {
        hear(machine, now, event, out, shell);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use confab_machine::Component;

    use super::*;

    /// A machine that wants whatever the event lists, and once more when its deadline comes.
    #[derive(Default)]
    struct Puppet {
        deadline: Option<Time>,
        /// Whether it forgets its deadline.
        stubborn: bool,
    }

    #[derive(Clone, Debug)]
    enum Event {
        Want(Vec<Action>),
        WakeIn(Duration),
        Failed(&'static str),
    }

    #[derive(Clone, Debug)]
    enum Action {
        Do(&'static str),
        Save(&'static str),
        Stop,
    }

    impl Traced for Event {
        fn flow_note(&self) -> Option<FlowNote> {
            let said = match self {
                Event::Want(_) => "heard wishes",
                Event::WakeIn(_) => return None,
                Event::Failed(what) => what,
            };
            Some(FlowNote::new(1, Component::Client, Component::Focus, said))
        }
    }

    impl Traced for Action {
        fn flow_note(&self) -> Option<FlowNote> {
            let Action::Do(what) = self else { return None };
            Some(FlowNote::new(1, Component::Focus, Component::Client, *what))
        }
    }

    impl Machine for Puppet {
        type Event = Event;
        type Action = Action;

        fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
            match event {
                Event::Want(wishes) => out.extend(wishes),
                Event::WakeIn(time) => self.deadline = Some(now + time),
                Event::Failed(_) => out.extend([Action::Do("sorry"), Action::Save("undo")]),
            }
        }

        fn deadline(&self) -> Option<Time> {
            self.deadline
        }

        fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
            let due = self.deadline.is_some_and(|at| at <= now);
            assert!(due, "it is not woken before its time");
            if !self.stubborn {
                self.deadline = None;
                out.push(Action::Do("woke"));
            }
        }
    }

    /// Writes down what was done and noted; the saves it lists fail.
    #[derive(Clone, Default)]
    struct Hands {
        diary: Arc<Mutex<Vec<String>>>,
        failing: &'static [&'static str],
    }

    impl Hands {
        fn write(&self, line: impl Into<String>) {
            self.diary.lock().unwrap().push(line.into());
        }
    }

    impl Shell<Puppet> for Hands {
        async fn perform(&mut self, _now: Time, action: Action) -> Performed<Event> {
            match action {
                Action::Do(what) => self.write(what),
                Action::Save(what) => {
                    // Slower than everything else, which waits nevertheless.
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    if self.failing.contains(&what) {
                        return Performed::Failed(Event::Failed(what));
                    }
                    self.write(format!("saved {what}"));
                    if what == "in conflict" {
                        return Performed::Told(Event::Want(vec![Action::Do("took notice")]));
                    }
                }
                Action::Stop => return Performed::Stop,
            }
            Performed::Done
        }

        fn note(&mut self, _now: Time, note: FlowNote) {
            self.write(format!("note: {}", note.summary));
        }
    }

    /// Runs a puppet on these events until it stops or has heard all; what was done, in order, and
    /// what it left unheard.
    async fn run(
        puppet: Puppet,
        events: Vec<Event>,
        failing: &'static [&'static str],
    ) -> (Vec<String>, usize) {
        let hands = Hands { failing, ..Hands::default() };
        let (sender, queue) = mpsc::channel(16);
        for event in events {
            sender.try_send(event).unwrap();
        }
        drop(sender);
        let mut left = drive(puppet, queue, Clock::start(), hands.clone()).await;
        let mut unheard = 0;
        while left.try_recv().is_ok() {
            unheard += 1;
        }
        let diary = hands.diary.lock().unwrap().clone();
        (diary, unheard)
    }

    #[tokio::test]
    async fn everything_happens_in_order_and_is_noted_before() {
        use Action::{Do, Save};
        let events = vec![
            Event::Want(vec![Do("one"), Save("a"), Do("two")]),
            Event::Want(vec![Save("b"), Do("three")]),
        ];
        let (diary, _) = run(Puppet::default(), events, &[]).await;
        let expect = [
            "note: heard wishes",
            "note: one",
            "one",
            "saved a",
            "note: two",
            "two",
            "note: heard wishes",
            "saved b",
            "note: three",
            "three",
        ];
        assert_eq!(diary, expect);
    }

    #[tokio::test]
    async fn what_follows_a_failed_save_is_dropped_and_the_failure_heard_next() {
        use Action::{Do, Save};
        let events = vec![
            Event::Want(vec![Do("before"), Save("record"), Do("the 200"), Save("more")]),
            Event::Want(vec![Do("next")]),
        ];
        let (diary, _) = run(Puppet::default(), events, &["record"]).await;
        let done: Vec<&String> = diary.iter().filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!(done, ["before", "sorry", "saved undo", "next"]);
        assert!(!diary.contains(&"note: the 200".to_owned()), "what was not done is not noted");
        let failure = diary.iter().position(|line| line == "note: record").unwrap();
        assert!(failure < diary.iter().rposition(|line| line == "note: heard wishes").unwrap());
    }

    #[tokio::test]
    async fn what_a_save_found_out_is_heard_after_all_else_is_done() {
        use Action::{Do, Save};
        let events =
            vec![Event::Want(vec![Save("in conflict"), Do("the 200")]), Event::Want(vec![Do("next")])];
        let (diary, _) = run(Puppet::default(), events, &[]).await;
        let done: Vec<&String> = diary.iter().filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!(done, ["saved in conflict", "the 200", "took notice", "next"]);
    }

    #[tokio::test]
    async fn what_a_stopped_machine_has_not_heard_is_given_back() {
        use Action::{Do, Stop};
        let events = vec![Event::Want(vec![Do("last"), Stop, Do("never")]), Event::Want(vec![Do("never")])];
        let (diary, unheard) = run(Puppet::default(), events, &[]).await;
        assert_eq!((diary.last().unwrap().as_str(), unheard), ("last", 1));
    }

    #[tokio::test]
    async fn it_is_woken_at_its_deadline_and_not_before() {
        let (sender, queue) = mpsc::channel(16);
        let hands = Hands::default();
        let running = tokio::spawn(drive(Puppet::default(), queue, Clock::start(), hands.clone()));
        sender.send(Event::WakeIn(Duration::from_millis(20))).await.unwrap();
        sender.send(Event::Want(vec![Action::Do("meanwhile")])).await.unwrap();
        let woke = async {
            while !hands.diary.lock().unwrap().contains(&"woke".to_owned()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), woke).await.unwrap();
        drop(sender);
        running.await.unwrap();
        let diary = hands.diary.lock().unwrap().clone();
        assert_eq!(diary, ["note: heard wishes", "note: meanwhile", "meanwhile", "note: woke", "woke"]);
    }

    #[tokio::test]
    async fn a_deadline_that_is_due_waits_for_no_further_event() {
        let events = vec![Event::WakeIn(Duration::ZERO), Event::Want(vec![Action::Do("later")])];
        let (diary, _) = run(Puppet::default(), events, &[]).await;
        let done: Vec<&String> = diary.iter().filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!(done, ["woke", "later"]);
    }

    #[tokio::test]
    async fn what_an_event_brings_is_done_before_what_time_brings_and_takes_none_of_it_away() {
        let events = vec![Event::Want(vec![Action::Save("record"), Action::Do("lost")])];
        let puppet = Puppet { deadline: Some(Time::EPOCH), ..Puppet::default() };
        let (diary, _) = run(puppet, events, &["record"]).await;
        let done: Vec<&String> = diary.iter().filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!(done, ["sorry", "saved undo", "woke"]);
    }

    #[tokio::test]
    #[should_panic(expected = "handle_timeout must move its deadline")]
    async fn a_machine_that_keeps_its_deadline_is_stopped_at_once() {
        let puppet = Puppet { stubborn: true, ..Puppet::default() };
        run(puppet, vec![Event::WakeIn(Duration::ZERO)], &[]).await;
    }
}
