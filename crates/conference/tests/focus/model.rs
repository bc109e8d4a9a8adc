//! A naive conference, and random events that a Focus must answer as it would: after each of them
//! the Focus' full document shows what the naive conference holds, and every subscriber who merged
//! the changes knows the same.

use std::{collections::BTreeMap, time::Duration};

use confab_conference::{
    focus::{Event, JoinId, SubscriptionId},
    policy::Identity,
    reason::Reason,
};
use confab_machine::Entropy;
use confab_schema::{
    cccp::{Command, Request},
    conference_info::{ConferenceInfo, Endpoint, EndpointStatus, Role, User},
};

use crate::{answers::*, stage::*};

const PEOPLE: [&str; 6] = ["ann", "bob", "pat", "eve", "dan", "kim"];
const MOST: usize = 4;
/// Meetings of more people than this are large, in every other run.
const LARGE: [usize; 2] = [MOST, 2];
const SEEDS: u8 = 25;
const STEPS: usize = 250;

/// Who is in, and how.
#[derive(Debug, Default, PartialEq)]
struct Person {
    role: Option<Role>,
    joins: BTreeMap<JoinId, String>,
    leg: Option<EndpointStatus>,
}

#[derive(Debug, Default)]
struct Model {
    locked: bool,
    /// Whether whoever is kept out waits.
    lobby: bool,
    people: BTreeMap<&'static str, Person>,
    waiting: BTreeMap<&'static str, Person>,
}

impl Model {
    fn role(&self, who: &str) -> Option<Role> {
        self.people.get(who).and_then(|person| person.role)
    }

    fn leads(&self, who: &str) -> bool {
        self.role(who) == Some(Role::Presenter)
    }

    fn listed(who: &str) -> Role {
        if matches!(who, "ann" | "pat") { Role::Presenter } else { Role::Attendee }
    }

    fn join(&mut self, who: &'static str, join: JoinId, endpoint: &str) -> Result<Role, Reason> {
        let mut waits = self.waiting.contains_key(who);
        if self.role(who).is_none() && who != "ann" {
            if self.locked {
                if !self.lobby {
                    return Err(Reason::Locked);
                }
                if !waits && self.waiting.len() >= MOST {
                    return Err(Reason::Full);
                }
                waits = true;
            } else if self.people.len() >= MOST {
                return Err(Reason::Full);
            }
        }
        let place = if waits { &mut self.waiting } else { &mut self.people };
        let person = place.entry(who).or_default();
        person.joins.retain(|_, other| other != endpoint);
        person.joins.insert(join, endpoint.to_owned());
        Ok(*person.role.get_or_insert(Model::listed(who)))
    }

    fn leave(&mut self, join: JoinId) {
        // With his last endpoint he is out, whatever else he had.
        for place in [&mut self.people, &mut self.waiting] {
            place.retain(|_, person| person.joins.remove(&join).is_none() || !person.joins.is_empty());
        }
    }

    fn eject(&mut self, who: &str, by: &str) -> Result<(), Reason> {
        if who != by && !self.leads(by) {
            return Err(Reason::NotPresenter);
        }
        self.people.remove(who);
        self.waiting.remove(who);
        Ok(())
    }

    fn let_in(&mut self, who: &'static str, granted: bool, by: &str) -> Result<(), Reason> {
        if !self.leads(by) {
            return Err(Reason::NotPresenter);
        }
        if !granted {
            self.waiting.remove(who);
        } else if self.people.len() < MOST {
            self.people.extend(self.waiting.remove_entry(who));
        }
        Ok(())
    }

    fn give_role(&mut self, who: &str, role: Role, by: &str) -> Result<(), Reason> {
        if !self.leads(by) {
            return Err(Reason::NotPresenter);
        }
        if who == "ann" && role == Role::Attendee {
            return Err(Reason::OrganizerLeads);
        }
        if let Some(person) = self.people.get_mut(who) {
            person.role = Some(role);
        }
        Ok(())
    }

    fn lock(&mut self, locked: bool, by: &str, saved: bool) -> Result<(), Reason> {
        if !self.leads(by) {
            return Err(Reason::NotPresenter);
        }
        if saved {
            self.locked = locked;
        }
        Ok(())
    }

    fn call(&mut self, who: &'static str, by: &str) -> Result<(), Reason> {
        if who != by && !self.leads(by) {
            return Err(Reason::AttendeeDialOut);
        }
        if self.role(who).is_none() {
            if self.locked {
                return Err(Reason::Locked);
            }
            if self.people.len() >= MOST {
                return Err(Reason::Full);
            }
        }
        self.people.extend(self.waiting.remove_entry(who));
        self.people.entry(who).or_default().role.get_or_insert(Model::listed(who));
        Ok(())
    }

    fn call_failed(&mut self, who: &str) {
        if self.people.get(who).is_some_and(|person| person.joins.is_empty() && person.leg.is_none()) {
            self.people.remove(who);
        }
    }

    fn told(&mut self, who: &str, leg: Option<EndpointStatus>) {
        if let Some(person) = self.people.get_mut(who) {
            person.leg = leg;
            self.call_failed(who);
        } else if let Some(person) = self.waiting.get_mut(who) {
            person.leg = leg;
        }
    }

    /// Whether a document shows the same to `reader`: of a large meeting, which is counted, the
    /// presenters and himself.
    fn check(&self, document: &ConferenceInfo, reader: &str, context: &str) {
        let count = document.conference_state.as_ref().and_then(|state| state.user_count);
        assert!(count.is_none_or(|count| count as usize == self.people.len()), "{context}: counted");
        let listed =
            self.people.iter().filter(|(who, _)| count.is_none() || self.leads(who) || **who == reader);
        let waiting = self.waiting.iter().filter(|_| self.leads(reader));
        let mut held: Vec<Line> = listed
            .map(|(who, person)| (who, person, person.leg))
            .chain(waiting.map(|(who, person)| (who, person, person.leg.map(on_hold))))
            .map(|(who, person, leg)| {
                (user(who).to_string(), person.role, person.joins.values().cloned().collect(), leg)
            })
            .collect();
        held.sort_by(|one, other| one.0.cmp(&other.0));
        let users = &document.users.as_ref().unwrap().users;
        assert_eq!(users.iter().map(line).collect::<Vec<_>>(), held, "{context}: shown, held");
        for view in &document.view.as_ref().unwrap().entity_views {
            assert_eq!(view.locked, Some(self.locked), "{context}: {}", view.entity);
        }
    }
}

/// How far an endpoint is whose person waits.
fn on_hold(status: EndpointStatus) -> EndpointStatus {
    if status == EndpointStatus::Connected { EndpointStatus::OnHold } else { status }
}

/// A person as both sides can say it: who, his role, his endpoints at the Focus, how far he is on chat.
type Line = (String, Option<Role>, Vec<String>, Option<EndpointStatus>);

fn line(user: &User) -> Line {
    let (chat, focus): (Vec<&Endpoint>, Vec<&Endpoint>) =
        user.endpoints.iter().partition(|endpoint| endpoint.session_type.as_deref() == Some("chat"));
    let joins = focus.iter().map(|endpoint| endpoint.entity.clone()).collect();
    (user.entity.clone(), user.roles.first().copied(), joins, chat.first().and_then(|leg| leg.status))
}

/// One run: the Focus, the model, and what is under way between them.
struct Run {
    /// Above how many people a meeting is large.
    large: usize,
    stage: Stage,
    model: Model,
    dice: Entropy,
    subscriptions: Vec<(SubscriptionId, &'static str)>,
    unanswered: Vec<(Request, Option<&'static str>)>,
}

impl Run {
    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.dice.number() % sides as u64).unwrap()
    }

    fn anybody(&mut self) -> &'static str {
        PEOPLE[self.roll(PEOPLE.len())]
    }

    /// Somebody's dialog, if anybody is in.
    fn any_join(&mut self) -> Option<(JoinId, &'static str)> {
        let joins = joins(&self.model.people);
        (!joins.is_empty()).then(|| joins[self.roll(joins.len())])
    }

    fn any_who_waits(&mut self) -> Option<(JoinId, &'static str)> {
        let joins = joins(&self.model.waiting);
        (!joins.is_empty()).then(|| joins[self.roll(joins.len())])
    }

    fn step(&mut self) -> String {
        let what = self.roll(19);
        let who = self.anybody();
        match what {
            0..=3 => self.join(who),
            4..=9 | 17 => match self.any_join() {
                Some((join, by)) => self.command(what, join, by, who),
                None => "nobody is in".into(),
            },
            18 => match self.any_who_waits() {
                Some((join, who)) => {
                    let command = self.stage.command(join, who, Command::GetConference(keys()));
                    assert_eq!(
                        command_refused(&self.stage.done, command),
                        Some(Reason::InLobby),
                        "{who} waits"
                    );
                    if self.roll(2) == 0 {
                        return format!("{who} waits and commands nothing");
                    }
                    self.stage.leave(join);
                    self.model.leave(join);
                    format!("{who} waits no longer")
                }
                None => "nobody waits".into(),
            },
            10 => match self.any_join() {
                Some((join, who)) => {
                    self.stage.leave(join);
                    self.model.leave(join);
                    format!("{who} leaves")
                }
                None => "nobody is in".into(),
            },
            11 | 12 => {
                let status = [EndpointStatus::Connected, EndpointStatus::Alerting];
                let leg = status.get(self.roll(3)).copied();
                self.stage.mcu_tells(&[(who, leg)]);
                self.model.told(who, leg);
                format!("the server tells that {who} is {leg:?}")
            }
            13 => self.subscribe(who),
            14 => self.answer(),
            15 => {
                let locked = self.roll(2) == 0;
                self.stage.organizer_changes(|record| record.locked = locked);
                self.stage.told_record();
                self.model.locked = locked;
                format!("the organizer schedules it anew, locked: {locked}")
            }
            _ => {
                let ms = self.roll(150) as u64;
                self.stage.wait(Duration::from_millis(ms));
                format!("{ms} ms pass")
            }
        }
    }

    fn join(&mut self, who: &'static str) -> String {
        let join = JoinId(self.stage.next_id());
        let endpoint = format!("{{{}}}", self.roll(3));
        self.stage.ask_to_join(join, who, Identity::Enterprise, add_user(who, None, &endpoint, None));
        let expect = self.model.join(who, join, &endpoint);
        let done = &self.stage.done;
        assert_eq!(
            (granted(done, join), join_refused(done, join)),
            (expect.ok(), expect.err()),
            "{who} joins"
        );
        format!("{who} joins with {endpoint}")
    }

    fn command(&mut self, what: usize, join: JoinId, by: &'static str, who: &'static str) -> String {
        let yes = self.roll(2) == 0;
        let role = if yes { Role::Presenter } else { Role::Attendee };
        self.stage.database = if self.roll(4) == 0 { Database::Fails } else { Database::Takes };
        let saved = self.stage.database == Database::Takes || self.model.locked == yes;
        let (command, expect) = match what {
            4 => (eject(who), self.model.eject(who, by)),
            5 | 6 => (give_role(who, role), self.model.give_role(who, role, by)),
            7 => (lock(yes), self.model.lock(yes, by, saved)),
            8 => (call(who), self.model.call(who, by)),
            17 => (let_in(&[who], yes), self.model.let_in(who, yes, by)),
            _ => (Command::GetConference(keys()), Ok(())),
        };
        let called = (what == 8).then_some(who);
        let id = self.stage.command(join, by, command.clone());
        let done = self.stage.look();
        let story = format!("{by}: {}", command.summary());
        assert_eq!(command_refused(&done, id), expect.err(), "{story}");
        let pending = accepted(&done, id) && finished(&done, id).is_none();
        let requests = mcu_commands(&done);
        assert!(!pending || !requests.is_empty(), "{story} waits for nothing");
        self.unanswered.extend(requests.into_iter().map(|request| (request, called)));
        story
    }

    fn subscribe(&mut self, who: &'static str) -> String {
        if self.subscriptions.len() > 6 {
            let (subscription, who) = self.subscriptions.remove(0);
            self.stage.hear(Event::Unsubscribed { subscription });
            self.stage.watchers.remove(&subscription);
            return format!("{who} looks away");
        }
        let person = self.model.people.get(who).or(self.model.waiting.get(who));
        let joined = person.is_some_and(|person| !person.joins.is_empty());
        let subscription = self.stage.subscribe(who);
        assert_eq!(
            subscription_refused(&self.stage.done, subscription).is_none(),
            joined,
            "{who} subscribes"
        );
        if joined {
            self.subscriptions.push((subscription, who));
        }
        format!("{who} subscribes")
    }

    /// The server answers something it was told.
    fn answer(&mut self) -> String {
        if self.unanswered.is_empty() {
            return "the server has nothing to answer".into();
        }
        let which = self.roll(self.unanswered.len());
        let (request, called) = self.unanswered.remove(which);
        let story = request.commands[0].summary();
        if self.roll(2) == 0 {
            self.stage.mcu_succeeds(&request);
            return format!("the server has done {story}");
        }
        self.stage.mcu_fails(&request, "otherFailure");
        if let Some(called) = called {
            self.model.call_failed(called);
        }
        format!("the server has not done {story}")
    }

    /// What everybody has been told by now.
    fn check_told(&mut self, context: &str) -> usize {
        self.stage.settle();
        let people = self.model.people.len();
        let mut told = 0;
        for (subscription, who) in &self.subscriptions {
            let Some(watcher) = self.stage.watchers.get(subscription) else { continue };
            if self.model.waiting.contains_key(who) {
                assert_eq!(watcher.names(), [*who], "{context}: whoever waits knows of himself");
                continue;
            }
            self.model.check(&watcher.known, who, context);
            assert!(watcher.count().is_some() || people <= self.large, "{context}: {people} are many");
            assert!(watcher.count().is_none() || people > self.large / 2, "{context}: {people} are few");
            told += watcher.partials;
        }
        told
    }

    fn check(&mut self, context: &str) {
        let Some((_, who)) = self.any_join() else { return };
        let document = self.stage.full_document(who);
        self.model.check(&document, who, context);
        self.subscriptions.retain(|(subscription, _)| self.stage.watchers.contains_key(subscription));
        assert_eq!(self.subscriptions.len(), self.stage.watchers.len(), "{context}");
    }
}

/// Everybody's dialogs.
fn joins(people: &BTreeMap<&'static str, Person>) -> Vec<(JoinId, &'static str)> {
    people.iter().flat_map(|(who, person)| person.joins.keys().map(|join| (*join, *who))).collect()
}

#[test]
fn a_naive_conference_agrees() {
    let (mut told, mut waited) = (0, 0);
    for seed in 0..SEEDS {
        let large = LARGE[usize::from(seed) % LARGE.len()];
        let lobby = seed % 3 != 0;
        let mut run = Run {
            large,
            stage: Stage::with(|record, policy| {
                (policy.max_participants, policy.large_meeting) = (MOST, large);
                record.lobby = lobby;
            }),
            model: Model { lobby, ..Model::default() },
            dice: Entropy::from_seed([seed; 32]),
            subscriptions: Vec::new(),
            unanswered: Vec::new(),
        };
        run.join("ann");
        run.stage.mcu_ready();
        for step in 0..STEPS {
            run.stage.look();
            let story = run.step();
            let context = format!("seed {seed}, step {step}, {story}");
            run.check(&context);
            waited += run.model.waiting.len();
            if step % 10 == 9 {
                told += run.check_told(&context);
            }
        }
    }
    assert!(told > 1000, "the subscribers have been told something");
    assert!(waited > 1000, "somebody has waited");
}
