//! A naive conference: who should be in it, as what, and who may do what, as a person would say it. It
//! knows nothing of the server's code; the server must agree with it after every step.

use std::collections::{BTreeMap, BTreeSet};

use confab_client::Command;
use confab_schema::conference_info::Role;

/// Who is in a conference.
#[derive(Clone, Debug)]
pub struct Model {
    /// Whose it is.
    organizer: &'static str,
    /// Who leads from the beginning.
    leaders: &'static [&'static str],
    /// How many people there may be.
    most: usize,
    people: BTreeMap<&'static str, Person>,
    locked: bool,
}

/// Somebody who is in it.
#[derive(Clone, Debug)]
struct Person {
    leads: bool,
    /// The clients he is in with.
    seats: BTreeSet<usize>,
}

impl Model {
    /// An empty conference.
    pub fn new(organizer: &'static str, leaders: &'static [&'static str], most: usize) -> Model {
        Model { organizer, leaders, most, people: BTreeMap::new(), locked: false }
    }

    /// Whether `who` gets in. The organizer always does, and so does who is in already.
    pub fn may_join(&self, who: &str) -> bool {
        let room = self.people.len() < self.most;
        who == self.organizer || self.people.contains_key(who) || !self.locked && room
    }

    /// He is in, with one more client.
    pub fn joined(&mut self, who: &'static str, seat: usize) {
        let leads = who == self.organizer || self.leaders.contains(&who);
        let person = self.people.entry(who).or_insert_with(|| Person { leads, seats: BTreeSet::new() });
        person.seats.insert(seat);
    }

    /// This client is out. Who is in with no client is out.
    pub fn left(&mut self, seat: usize) {
        for person in self.people.values_mut() {
            person.seats.remove(&seat);
        }
        self.people.retain(|_, person| !person.seats.is_empty());
    }

    /// Whether `by` may command this. Attendees may take themselves out, and nothing more; nobody takes
    /// the lead from the organizer; nothing can be done with who is not there.
    pub fn may(&self, by: &str, command: &Command) -> bool {
        let Some(person) = self.people.get(by) else { return false };
        let is_in = |user: &str| self.people.contains_key(user);
        match command {
            Command::Eject { user } => is_in(user.user()) && (person.leads || user.user() == by),
            Command::Promote { user } => person.leads && is_in(user.user()),
            Command::Demote { user } => person.leads && is_in(user.user()) && user.user() != self.organizer,
            Command::Lock { .. } | Command::End => person.leads,
            _ => false,
        }
    }

    /// This was done.
    pub fn done(&mut self, command: &Command) {
        match command {
            Command::Eject { user } => drop(self.people.remove(user.user())),
            Command::Promote { user } => self.lead(user.user(), true),
            Command::Demote { user } => self.lead(user.user(), false),
            Command::Lock { locked } => self.locked = *locked,
            Command::End => self.people.clear(),
            _ => {}
        }
    }

    fn lead(&mut self, who: &str, leads: bool) {
        if let Some(person) = self.people.get_mut(who) {
            person.leads = leads;
        }
    }

    /// Whether somebody is in with this client.
    pub fn has(&self, seat: usize) -> bool {
        self.people.values().any(|person| person.seats.contains(&seat))
    }

    /// How many people are in.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whether nobody else gets in.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Everybody with his role, in order, and with how many clients.
    pub fn roster(&self) -> Vec<(&str, Role, usize)> {
        let role = |leads| if leads { Role::Presenter } else { Role::Attendee };
        self.people.iter().map(|(who, person)| (*who, role(person.leads), person.seats.len())).collect()
    }
}
