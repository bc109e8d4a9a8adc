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
    /// Whose voices are kept out, as far as that is known. It is remembered of those who are away.
    muted: BTreeMap<&'static str, Known>,
}

/// What is known of whether a voice is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Muted,
    /// The server that knew it may be lost.
    Unknown,
}

/// Whether one phone hears another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It does not, for no other reason than that the owner of one of them uses a newer one.
    Aside,
    /// That is not known.
    Unknown,
}

/// Somebody who is in it.
#[derive(Clone, Debug)]
struct Person {
    leads: bool,
    /// The clients he is in with.
    seats: BTreeSet<usize>,
    /// His phones, in the order they came.
    phones: Vec<Phone>,
}

/// A phone of somebody's.
#[derive(Clone, Debug)]
struct Phone {
    number: usize,
    /// Whether what it says is wanted by whoever holds it.
    sends: bool,
    /// Whether he wants to hear.
    hears: bool,
}

impl Person {
    fn new(leads: bool) -> Person {
        Person { leads, seats: BTreeSet::new(), phones: Vec::new() }
    }

    fn is_in(&self) -> bool {
        !self.seats.is_empty() || !self.phones.is_empty()
    }
}

impl Model {
    /// An empty conference.
    pub fn new(organizer: &'static str, leaders: &'static [&'static str], most: usize) -> Model {
        let (people, muted) = (BTreeMap::new(), BTreeMap::new());
        Model { organizer, leaders, most, people, locked: false, muted }
    }

    /// Whether `who` gets in. The organizer always does, and so does who is in already.
    pub fn may_join(&self, who: &str) -> bool {
        let room = self.people.len() < self.most;
        who == self.organizer || self.people.contains_key(who) || !self.locked && room
    }

    /// He is in, with one more client.
    pub fn joined(&mut self, who: &'static str, seat: usize) {
        self.comes(who).seats.insert(seat);
    }

    fn comes(&mut self, who: &'static str) -> &mut Person {
        let leads = who == self.organizer || self.leaders.contains(&who);
        self.people.entry(who).or_insert_with(|| Person::new(leads))
    }

    /// This client is out. Who is in with no client is out.
    pub fn left(&mut self, seat: usize) {
        for person in self.people.values_mut() {
            person.seats.remove(&seat);
        }
        self.people.retain(|_, person| person.is_in());
    }

    /// He is in, with one more phone.
    pub fn called(&mut self, who: &'static str, phone: usize) {
        self.comes(who).phones.push(Phone { number: phone, sends: true, hears: true });
    }

    /// This phone is out.
    pub fn hung_up(&mut self, phone: usize) {
        for person in self.people.values_mut() {
            person.phones.retain(|own| own.number != phone);
        }
        self.people.retain(|_, person| person.is_in());
    }

    /// Whoever has this phone holds the call, or one half of it, or takes it up again.
    pub fn held(&mut self, phone: usize, sends: bool, hears: bool) {
        let phones = self.people.values_mut().flat_map(|person| &mut person.phones);
        for own in phones.filter(|own| own.number == phone) {
            (own.sends, own.hears) = (sends, hears);
        }
    }

    /// A server for voices was lost, or may have been. Its successor knows of those who are in, and of nobody else.
    pub fn voices_lost(&mut self) {
        let people = &self.people;
        let is_in = |who: &str| people.get(who).is_some_and(|person| !person.phones.is_empty());
        for (who, known) in &mut self.muted {
            if !is_in(who) {
                *known = Known::Unknown;
            }
        }
    }

    /// Nobody can say any more whether this one is heard.
    pub fn voice_unknown(&mut self, who: &'static str) {
        self.muted.insert(who, Known::Unknown);
    }

    /// Whether one phone hears another. Of somebody's phones the newest he talks into is the one he uses: the older
    /// ones neither hear nor are heard, unless he is muted altogether.
    pub fn hears(&self, one: usize, other: usize) -> Hears {
        let (Some((hearer, ear)), Some((speaker, mouth))) = (self.find(one), self.find(other)) else {
            return Hears::No;
        };
        let is_unknown = |who: &str| self.muted.get(who) == Some(&Known::Unknown);
        if hearer == speaker || !ear.hears || !mouth.sends || self.muted.get(speaker) == Some(&Known::Muted) {
            return Hears::No;
        }
        if is_unknown(hearer) && self.people[hearer].phones.len() > 1 || is_unknown(speaker) {
            return Hears::Unknown;
        }
        if self.is_left_aside(hearer, one) || self.is_left_aside(speaker, other) {
            return Hears::Aside;
        }
        Hears::Yes
    }

    fn find(&self, phone: usize) -> Option<(&'static str, &Phone)> {
        let of = |person: &'_ Person| person.phones.iter().position(|own| own.number == phone);
        self.people.iter().find_map(|(who, person)| of(person).map(|at| (*who, &person.phones[at])))
    }

    /// Whether its owner uses a newer one.
    fn is_left_aside(&self, who: &str, phone: usize) -> bool {
        let newer = self.people[who].phones.iter().rev().take_while(|own| own.number != phone);
        !self.muted.contains_key(who) && newer.into_iter().any(|own| own.sends)
    }

    /// Whether this phone is in.
    pub fn has_phone(&self, phone: usize) -> bool {
        self.find(phone).is_some()
    }

    /// Who is in by phone.
    pub fn on_phones(&self) -> Vec<&'static str> {
        let on_phones = self.people.iter().filter(|(_, person)| !person.phones.is_empty());
        on_phones.map(|(who, _)| *who).collect()
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
            Command::Mute { user, .. } => {
                let has_phone = self.people.get(user.user()).is_some_and(|other| !other.phones.is_empty());
                has_phone && (person.leads || user.user() == by)
            }
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
            Command::Mute { user, muted } => self.mute(user.user(), *muted),
            Command::End => self.people.clear(),
            _ => {}
        }
    }

    fn mute(&mut self, who: &str, muted: bool) {
        match self.people.keys().find(|name| **name == who) {
            Some(who) if muted => drop(self.muted.insert(who, Known::Muted)),
            _ => drop(self.muted.remove(who)),
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
