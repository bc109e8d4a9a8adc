//! Step 7 in a large meeting: everybody is told of the presenters, of himself and of a number, and
//! attendees who come and go make no work that grows with the meeting.

use std::{collections::BTreeMap, time::Duration};

use confab_conference::focus::{Action, JoinId, SubscriptionId};
use confab_schema::conference_info::{ConferenceInfo, EndpointStatus, Role, State, View};

use crate::{stage::*, watcher::Watcher};

/// The meeting is large with more people than this.
const LIMIT: usize = 4;

/// Ann's meeting, large as soon as a fifth person comes. Ann and Pat lead.
struct Hall {
    stage: Stage,
    joins: BTreeMap<&'static str, JoinId>,
    subscriptions: BTreeMap<&'static str, SubscriptionId>,
}

impl Hall {
    fn of(people: &[&'static str]) -> Hall {
        let stage = Stage::with(|_, policy| policy.large_meeting = LIMIT);
        let mut hall = Hall { stage, joins: BTreeMap::new(), subscriptions: BTreeMap::new() };
        hall.stage.join("ann");
        hall.stage.mcu_ready();
        people.iter().for_each(|who| hall.enter(who));
        hall.settle();
        hall
    }

    fn enter(&mut self, who: &'static str) {
        self.joins.insert(who, self.stage.join(who));
        self.subscriptions.insert(who, self.stage.subscribe(who));
    }

    fn leave(&mut self, who: &'static str) {
        let join = self.joins.remove(who).expect("he is in");
        self.subscriptions.remove(who);
        self.stage.leave(join);
    }

    fn settle(&mut self) {
        self.stage.settle();
        self.stage.look();
    }

    fn watcher(&self, who: &str) -> &Watcher {
        &self.stage.watchers[&self.subscriptions[who]]
    }

    /// Whom each knows of, and how many he knows to be in.
    #[track_caller]
    fn check(&self, count: Option<u32>, expect: &[(&str, &[&str])]) {
        for (who, names) in expect {
            assert_eq!(self.watcher(who).names(), *names, "{who} knows");
            assert_eq!(self.watcher(who).count(), count, "{who} has counted");
        }
    }
}

/// Documents that were told, by how many subscriptions got each.
fn told(done: &[Action]) -> (Vec<usize>, Vec<usize>) {
    let (mut to_all, mut own) = (Vec::new(), Vec::new());
    for action in done {
        match action {
            Action::Notify { subscriptions, .. } => to_all.push(subscriptions.len()),
            Action::NotifyEach { documents, .. } => {
                own.extend(documents.iter().map(|of_one| of_one.subscriptions.len()))
            }
            _ => {}
        }
    }
    (to_all, own)
}

#[test]
fn everybody_knows_presenters_himself_and_the_number() {
    let mut hall = Hall::of(&["bob", "pat", "eve"]);
    let all: &[&str] = &["ann", "bob", "eve", "pat"];
    hall.check(None, &[("bob", all), ("eve", all), ("pat", all)]);
    hall.enter("kim");
    hall.settle();
    let of_kim: [(&str, &[&str]); 3] =
        [("bob", &["ann", "bob", "pat"]), ("pat", &["ann", "pat"]), ("kim", &["ann", "kim", "pat"])];
    hall.check(Some(5), &of_kim);
    // What is about an attendee alone reaches him, and the number everybody.
    hall.stage.mcu_tells(&[("eve", Some(EndpointStatus::Connected))]);
    hall.stage.settle();
    assert_eq!(told(&hall.stage.look()), (vec![3], vec![1]));
    assert_eq!(hall.watcher("eve").user("eve").unwrap().endpoints.len(), 2);
    hall.enter("dan");
    hall.settle();
    hall.check(Some(6), &[("bob", &["ann", "bob", "pat"]), ("dan", &["ann", "dan", "pat"])]);
    let asked = hall.stage.full_document("dan");
    assert_eq!(asked.users.unwrap().users.len(), 3, "so does who asks for everything");
}

#[test]
fn it_is_told_whole_again_when_half_have_left() {
    let mut hall = Hall::of(&["bob", "pat", "eve", "kim"]);
    hall.leave("kim");
    hall.settle();
    hall.leave("eve");
    hall.settle();
    hall.check(Some(3), &[("bob", &["ann", "bob", "pat"]), ("pat", &["ann", "pat"])]);
    hall.leave("pat");
    hall.settle();
    hall.check(None, &[("bob", &["ann", "bob"])]);
    assert_eq!(hall.watcher("bob").known.state, State::Full);
    hall.enter("eve");
    hall.settle();
    hall.check(None, &[("bob", &["ann", "bob", "eve"]), ("eve", &["ann", "bob", "eve"])]);
}

/// There are clients that take a full document for one more change: they must not be left with
/// people of whom they will hear no more.
#[test]
fn the_crossing_names_whom_it_takes_away() {
    let mut hall = Hall::of(&["bob", "pat", "eve"]);
    let plain = hall.stage.subscribe_for("pat", View::Rfc4575);
    hall.leave("eve");
    hall.settle();
    hall.enter("eve");
    hall.enter("kim");
    hall.stage.look();
    hall.stage.settle();
    let done = hall.stage.look();
    let documents = done.iter().flat_map(|action| match action {
        Action::Notify { subscriptions, document, .. } => vec![(subscriptions.clone(), document.clone())],
        Action::NotifyEach { documents, .. } => {
            documents.iter().map(|of_one| (of_one.subscriptions.clone(), of_one.document.clone())).collect()
        }
        _ => Vec::new(),
    });
    let documents: Vec<_> =
        documents.map(|(ids, document)| (ids, ConferenceInfo::parse(&document).unwrap())).collect();
    let gone = |document: &ConferenceInfo| -> Vec<String> {
        let users = &document.users.as_ref().unwrap().users;
        let gone = users.iter().filter(|user| user.state == State::Deleted);
        gone.map(|user| user.entity.clone()).collect()
    };
    assert!(documents.iter().all(|(_, document)| document.state == State::Full));
    let of = |id: SubscriptionId| {
        let (_, document) = documents.iter().find(|(ids, _)| ids.contains(&id)).unwrap();
        gone(document)
    };
    let address = |who| user(who).to_string();
    assert_eq!(of(hall.subscriptions["pat"]), ["bob", "eve", "kim"].map(address));
    assert_eq!(of(plain), of(hall.subscriptions["pat"]));
    assert_eq!(of(hall.subscriptions["bob"]), ["eve", "kim"].map(address), "nobody is taken from himself");
}

#[test]
fn who_is_promoted_is_shown_and_who_is_demoted_is_not() {
    let mut hall = Hall::of(&["bob", "pat", "eve", "kim"]);
    let pat = hall.joins["pat"];
    hall.stage.command(pat, "pat", give_role("eve", Role::Presenter));
    hall.settle();
    hall.check(Some(5), &[("bob", &["ann", "bob", "eve", "pat"]), ("eve", &["ann", "eve", "pat"])]);
    hall.stage.command(pat, "pat", give_role("eve", Role::Attendee));
    hall.settle();
    hall.check(Some(5), &[("bob", &["ann", "bob", "pat"]), ("eve", &["ann", "eve", "pat"])]);
    assert_eq!(hall.watcher("eve").user("eve").unwrap().roles, [Role::Attendee]);
    // Somebody subscribes who learns of a presenter before the others, and loses him with them.
    hall.stage.command(pat, "pat", give_role("eve", Role::Presenter));
    hall.stage.command(pat, "pat", give_role("kim", Role::Presenter));
    let early = hall.stage.subscribe("bob");
    assert!(hall.stage.watchers[&early].names().contains(&"kim"));
    hall.leave("kim");
    hall.settle();
    assert_eq!(hall.stage.watchers[&early].names(), ["ann", "bob", "eve", "pat"]);
}

#[test]
fn attendees_who_come_and_go_make_no_document_each() {
    let mut stage = Stage::with(|_, policy| (policy.max_participants, policy.large_meeting) = (1000, LIMIT));
    for who in ["ann", "bob", "dan", "eve", "kim"] {
        stage.join(who);
    }
    stage.settle();
    let names: Vec<String> = (0..100).map(|number| format!("guest{number}")).collect();
    for who in &names {
        stage.join(who);
        for _ in 0..10 {
            stage.subscribe(who);
        }
    }
    stage.settle();
    stage.wait(Duration::from_secs(1));
    stage.look();
    // The first one is told of soon, those after him when each of 1000 has had his rest.
    let mut guests = vec![stage.join("late")];
    stage.wait(Duration::from_millis(10));
    assert_eq!(told(&stage.look()).0, [1000]);
    for number in 0..9 {
        stage.wait(Duration::from_millis(20));
        guests.push(stage.join(&format!("later{number}")));
    }
    assert_eq!(told(&stage.look()), (vec![], vec![]));
    stage.wait(Duration::from_millis(20));
    assert_eq!(told(&stage.look()).0, [1000]);
    assert!(stage.watchers.values().all(|watcher| watcher.count() == Some(115)));
    // A presenter is told of with the next gathered changes, and with him what rested.
    stage.leave(guests.pop().unwrap());
    stage.wait(Duration::from_millis(90));
    stage.join("pat");
    assert!(told(&stage.look()).0.is_empty());
    stage.wait(Duration::from_millis(10));
    assert_eq!(told(&stage.look()).0, [1000]);
    assert!(stage.watchers.values().all(|watcher| watcher.count() == Some(115)));
}
