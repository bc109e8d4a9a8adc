//! What can happen in a story.

use std::time::Duration;

use confab_client::{Command, Ending, Outcome, Refusal, Undertaking};

use super::{CLIENTS, PEOPLE, SENT_AGAIN, SESSION, Story};
use crate::deployment::user;

/// How long somebody may take to sign on.
const SIGN_ON: Duration = Duration::from_secs(40);
/// For so many seconds whoever is told something within the server is waited for.
const LONGEST_UNNOTICED: usize = 9;
/// A Focus that breaks twice within a minute is given up.
const MENDED: Duration = Duration::from_secs(61);

impl Story {
    pub(super) async fn step(&mut self) {
        // The next meeting has a new server for its chat, which is not lost in what stands still yet.
        self.mourned &= !self.model.is_empty() || !self.faults.are_over() || self.unsteady_until > self.now();
        if self.sound.is_some() && self.roll(2) == 0 {
            self.voice_step().await;
        } else {
            self.other_step().await;
        }
        // Whoever has something to retry does so in this time.
        if !self.faults.are_over() {
            self.unsteady_until = self.unsteady_until.max(self.now() + Duration::from_secs(15));
            self.settle().await;
        }
    }

    async fn other_step(&mut self) {
        match self.roll(100) {
            0..25 => self.joins().await,
            25..33 => {
                if let Some(number) = self.anybody() {
                    self.goes(number, false).await;
                    self.settle().await;
                }
            }
            33..40 => {
                if let Some(number) = self.anybody() {
                    self.goes(number, true).await;
                    self.settle().await;
                }
            }
            40..64 => self.commands().await,
            64..76 => self.says().await,
            76..83 => {
                let exponent = u32::try_from(self.roll(7)).expect("it is small");
                let time = Duration::from_millis(10_u64.pow(exponent));
                self.tells(format!("{time:?} pass"));
                self.pass(time).await;
                self.settle().await;
            }
            83..88 => self.line_stalls(),
            88..92 => self.control_link_stalls(),
            92..97 => {
                let nth = u32::try_from(1 + self.roll(8)).expect("it is small");
                // One that was to break before may do so only now, and twice in a minute are too often.
                let mut breaks = None;
                while breaks != Some(self.faults.breaks()) {
                    breaks = Some(self.faults.breaks());
                    self.pass(MENDED).await;
                }
                self.tells(format!("the Focus breaks at the {nth}th event"));
                self.faults.break_focus(nth);
            }
            _ => {
                let nth = u32::try_from(1 + self.roll(5)).expect("it is small");
                self.tells(format!("the IM MCU breaks at the {nth}th event"));
                self.faults.break_mcu(nth);
                self.mourned = true;
                self.unsteady_until = self.unsteady_until.max(self.now() + Duration::from_secs(15));
            }
        }
    }

    /// One of those who are in, if there is any.
    pub(super) fn anybody(&mut self) -> Option<usize> {
        let present: Vec<usize> = (0..self.seats.len())
            .filter(|number| self.seats[*number].alive && self.seats[*number].joined.is_some())
            .collect();
        (!present.is_empty()).then(|| present[self.roll(present.len())])
    }

    pub(super) fn somebody(&mut self) -> &'static str {
        PEOPLE[self.roll(PEOPLE.len())]
    }

    async fn joins(&mut self) {
        let who = self.somebody();
        let own: Vec<usize> = (0..self.seats.len())
            .filter(|number| self.seats[*number].alive && self.seats[*number].who == who)
            .collect();
        let idle = own.iter().copied().find(|number| self.seats[*number].joined.is_none());
        let number = match idle {
            Some(number) => number,
            None if own.len() < CLIENTS => self.sits_down(who),
            None => return,
        };
        if !self.seats[number].signed_on && !self.signs_on(number).await {
            return;
        }
        let expected = self.model.may_join(who);
        self.tells(format!("{who} joins at {number}, who may: {expected}"));
        let conference = self.conference.clone();
        self.seats[number].wants(Command::Join { conference }).await;
        self.settle().await;
        if self.seats[number].joined.is_some() {
            assert!(expected, "seed {}: {who} got in", self.seed);
            self.model.joined(who, number);
        } else if expected {
            let refused = self.seats[number].refusals.clone();
            let refusal = refused.iter().find(|(what, _)| *what == Undertaking::Join);
            let refusal = refusal.unwrap_or_else(|| panic!("seed {}: {who} has no answer", self.seed));
            self.excuse(number, &refusal.1);
        }
    }

    /// Whether it came about; what is lost too often is not.
    async fn signs_on(&mut self, number: usize) -> bool {
        self.seats[number].wants(Command::Register).await;
        let until = self.now() + SIGN_ON.max(self.unsteady_until.since(self.now()) + SENT_AGAIN);
        while !self.seats[number].signed_on && self.now() < until {
            let left = until.since(self.now());
            self.seats[number].watch(left).await;
        }
        self.seats[number].signed_on
    }

    /// Somebody leaves, or is cut off.
    pub(super) async fn goes(&mut self, number: usize, cut: bool) {
        let who = self.seats[number].who;
        if cut {
            self.tells(format!("{who} is cut off at {number}"));
            self.network.cut(&self.seats[number].wire);
            self.seats[number].alive = false;
            self.frayed.insert(who);
            if self.seats[number].by_datagrams {
                self.pass(SESSION).await;
            }
        } else {
            self.tells(format!("{who} leaves at {number}"));
            self.seats[number].wants(Command::Leave).await;
        }
        self.model.left(number);
        self.frayed.retain(|who| self.model.roster().iter().any(|(other, ..)| other == who));
    }

    async fn commands(&mut self) {
        let Some(number) = self.anybody() else { return };
        let target = user(self.somebody());
        let command = match self.roll(12) {
            0..4 => Command::Promote { user: target },
            4..7 => Command::Demote { user: target },
            7..9 => Command::Eject { user: target },
            9 => Command::Lock { locked: true },
            10 => Command::Lock { locked: false },
            _ => Command::End,
        };
        self.commands_this(number, command).await;
    }

    /// Whoever has this client commands this.
    pub(super) async fn commands_this(&mut self, number: usize, command: Command) {
        let by = self.seats[number].who;
        let expected = self.model.may(by, &command);
        self.tells(format!("{by} at {number}, who may: {expected}: {command:?}"));
        self.seats[number].wants(command.clone()).await;
        self.settle().await;
        let seat = &self.seats[number];
        let outcome = seat.outcomes.iter().find(|(of, _)| *of == command).map(|(_, outcome)| outcome.clone());
        match outcome {
            Some(Outcome::Success) => {
                assert!(expected, "seed {}: {by} may not, and did", self.seed);
                self.model.done(&command);
            }
            // Who takes himself out may be out before he hears that it is done.
            _ if expected && seat.ended == Some(Ending::ConferenceEnded) => self.model.done(&command),
            Some(Outcome::Refused(_)) if expected && self.excuse_of_voices(&command) => {
                self.tells("it was not done".into());
            }
            Some(Outcome::Refused(refusal)) if expected => self.excuse(number, &refusal),
            Some(Outcome::Refused(_)) => {}
            None => panic!("seed {}: {by} has no answer", self.seed),
        }
    }

    /// What should have been done was not: that needs a reason.
    fn excuse(&mut self, number: usize, refusal: &Refusal) {
        let (seed, who) = (self.seed, self.seats[number].who);
        let breaks = self.faults.breaks();
        let broke = refusal.status == 500 && breaks > self.breaks;
        self.breaks = breaks;
        let lost = self.seats[number].by_datagrams && refusal.status == 408;
        assert!(broke || lost, "seed {seed}: {who} was refused: {refusal:?}");
        self.tells(format!("it was not done: {refusal}"));
    }

    async fn says(&mut self) {
        let Some(number) = self.anybody().filter(|number| self.seats[*number].on_chat) else { return };
        let calm = self.faults.are_over() && !self.mourned && self.unsteady_until <= self.now();
        self.said += 1;
        let text = format!("word {}", self.said);
        let who = self.seats[number].who;
        self.tells(format!("{who} at {number} says {text}"));
        // Who comes to the chat at the same moment may miss it.
        let there: Vec<bool> = self.seats.iter().map(|seat| seat.on_chat).collect();
        self.seats[number].wants(Command::Say { text: text.clone() }).await;
        self.settle().await;
        let there = self.seats.iter().zip(there).filter(|(seat, was_there)| seat.on_chat && *was_there);
        let others: Vec<&str> = there.map(|(seat, _)| seat.who).filter(|other| *other != who).collect();
        for other in others {
            let heard = self.seats.iter().any(|seat| seat.who == other && seat.heard.contains(&text));
            assert!(heard || !calm, "seed {}: {other} has not heard {text}", self.seed);
        }
    }

    /// A stream stands still for a while.
    fn line_stalls(&mut self) {
        let Some(number) = self.anybody().filter(|number| !self.seats[*number].by_datagrams) else { return };
        let time = Duration::from_secs(1 + self.roll(20) as u64);
        self.tells(format!("nothing passes for {} at {number} for {time:?}", self.seats[number].who));
        self.network.stall(&self.seats[number].wire, time);
        self.unsteady_until = self.unsteady_until.max(self.now() + time);
    }

    /// The parts of the server do not reach each other for a while: the IM MCU seems to be dead.
    fn control_link_stalls(&mut self) {
        // Should the word of a lost server be lost too, a phone that hung up meanwhile stays in the roster.
        let longest = if self.sound.is_some() { LONGEST_UNNOTICED } else { 40 };
        let time = Duration::from_secs(1 + self.roll(longest) as u64);
        self.tells(format!("nothing passes within the server for {time:?}"));
        self.network.stall_inside(time);
        self.stalled = true;
        self.mourned = true;
        self.unsteady_until = self.unsteady_until.max(self.now() + time + 2 * SENT_AGAIN);
    }
}
