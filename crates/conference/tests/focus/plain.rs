//! Joining without C3P: one INVITE that offers a medium, and the session with its server is all there is.

use std::time::Duration;

use confab_conference::{
    focus::{Action, Event, InviteId},
    policy::Identity,
    reason::Reason,
};
use confab_schema::{
    cccp::{Command, Request},
    conference_info::{ConferenceInfo, Endpoint, EndpointStatus, JoiningMethod, State, User, Users},
    uri::McuType,
};

use crate::{answers::*, stage::*};

/// Somebody's INVITE to the conference that offers voice and chat.
fn invite(stage: &mut Stage, who: &str) -> InviteId {
    invite_with(stage, who, vec![McuType::AudioVideo, McuType::Chat])
}

fn invite_with(stage: &mut Stage, who: &str, offered: Vec<McuType>) -> InviteId {
    let invite = InviteId(stage.next_id());
    let display_name = who.to_uppercase();
    let identity = Identity::Enterprise;
    stage.hear(Event::JoinMedium { invite, user: user(who), identity, display_name, offered });
    invite
}

/// The endpoint that the server is to expect.
fn expected(add: &Request) -> String {
    let [Command::AddUser(add)] = add.commands.as_slice() else { panic!("{add:?}") };
    let endpoint = &add.user.endpoints[0];
    assert_eq!(endpoint.joining_method, Some(JoiningMethod::DialedIn));
    endpoint.entity.clone()
}

/// The chat server tells of the endpoints that somebody has there.
fn tells(stage: &mut Stage, who: &str, endpoints: &[&str]) {
    let mut person = User::new(user(who).to_string());
    for entity in endpoints {
        let mut leg = Endpoint::new(*entity);
        leg.status = Some(EndpointStatus::Connected);
        person.endpoints.push(leg);
    }
    if endpoints.is_empty() {
        person.state = State::Deleted;
    }
    let mut document = ConferenceInfo::partial(CONFERENCE, 1);
    document.users = Some(Users { state: State::Partial, users: vec![person] });
    stage.hear(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
}

/// Somebody who is in by the chat alone, and the name of his endpoint there.
fn joins(stage: &mut Stage, who: &str) -> (InviteId, String) {
    stage.look();
    let invite = invite(stage, who);
    let add = mcu_command(&stage.look());
    stage.mcu_succeeds(&add);
    assert_eq!(forwarded(&stage.look(), invite), Some(SERVER_URI));
    (invite, expected(&add))
}

/// The same, and the server has told of it.
fn chats(stage: &mut Stage, who: &str) -> (InviteId, String) {
    let (invite, endpoint) = joins(stage, who);
    tells(stage, who, &[&endpoint]);
    (invite, endpoint)
}

/// A meeting whose chat server is ready, with Ann in it.
fn meeting() -> Stage {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    stage
}

fn people(stage: &mut Stage) -> Vec<(String, usize)> {
    let users = stage.full_document("ann").users.unwrap().users;
    users.into_iter().map(|user| (user.entity, user.endpoints.len())).collect()
}

fn counted(done: &[Action]) -> Option<usize> {
    done.iter().rev().find_map(|action| match action {
        Action::CountPeople { count } => Some(*count),
        _ => None,
    })
}

fn is_over(done: &[Action], invite: InviteId) -> bool {
    done.iter().any(|action| matches!(action, Action::InviteOver { invite: this } if *this == invite))
}

#[test]
fn the_first_to_come_waits_for_the_server_and_is_in() {
    let mut stage = Stage::new();
    let bob = invite(&mut stage, "bob");
    let done = stage.look();
    assert!(done.contains(&Action::RequestMcu { media: McuType::Chat }), "it activates the conference");
    assert_eq!((counted(&done), forwarded(&done, bob)), (Some(1), None));
    assert!(stage.stored.last_activated.is_some());
    stage.mcu_ready();
    let add = mcu_command(&stage.look());
    stage.mcu_succeeds(&add);
    assert_eq!(forwarded(&stage.look(), bob), Some(SERVER_URI));
    // He may watch before the server has told of him, and is there with that one endpoint when it has.
    let subscription = stage.subscribe("bob");
    tells(&mut stage, "bob", &[&expected(&add)]);
    stage.settle();
    let users = stage.watchers[&subscription].known.users.clone().unwrap().users;
    let [bob] = users.as_slice() else { panic!("{users:?}") };
    assert_eq!((bob.display_text.as_deref(), bob.endpoints.len()), (Some("BOB"), 1));
}

#[test]
fn policy_decides_as_for_any_join() {
    type Change = fn(&mut confab_conference::record::ConferenceRecord);
    let closed = |record: &mut confab_conference::record::ConferenceRecord| {
        record.admission = confab_schema::conference_info::AdmissionPolicy::ClosedAuthenticated;
    };
    for (change, who, reason) in [
        ((|record| record.locked = true) as Change, "bob", Reason::Locked),
        (closed as Change, "eve", Reason::NotInvited),
    ] {
        let mut stage = Stage::with(|record, _| change(record));
        let refused = invite(&mut stage, who);
        let done = stage.look();
        assert_eq!(invite_refused(&done, refused), Some(reason));
        assert!(!done.contains(&Action::RequestMcu { media: McuType::Chat }));
    }
    let mut stage = Stage::with(|_, policy| policy.max_participants = 1);
    stage.join("ann");
    let refused = invite(&mut stage, "bob");
    assert_eq!(invite_refused(&stage.look(), refused), Some(Reason::Full));
    let voice = invite_with(&mut stage, "ann", vec![McuType::AudioVideo]);
    assert_eq!(invite_refused(&stage.look(), voice), Some(Reason::NoCommonMedium));
}

#[test]
fn who_leaves_the_medium_has_left_the_conference() {
    let mut stage = meeting();
    let (first, endpoint) = chats(&mut stage, "bob");
    assert_eq!(people(&mut stage).len(), 2);
    let subscription = stage.subscribe("bob");
    tells(&mut stage, "bob", &[]);
    let done = stage.look();
    assert!(is_over(&done, first));
    assert_eq!(counted(&done), Some(1));
    assert!(!stage.watchers.contains_key(&subscription), "{endpoint}: he may not watch any more");
    assert_eq!(people(&mut stage).len(), 1);
}

#[test]
fn one_person_has_one_entry_however_he_joined() {
    let mut stage = meeting();
    let (_, chat) = chats(&mut stage, "bob");
    let join = stage.join("bob");
    assert_eq!(people(&mut stage), [(user("ann").to_string(), 1), (user("bob").to_string(), 2)]);
    stage.leave(join);
    assert_eq!(people(&mut stage).len(), 2, "he is still in the chat");
    // A second INVITE from him while the first session ends: nobody drops out between the two.
    stage.look();
    let again = invite(&mut stage, "bob");
    let add = mcu_command(&stage.look());
    tells(&mut stage, "bob", &[]);
    assert_eq!(people(&mut stage).len(), 2, "{chat}");
    stage.mcu_succeeds(&add);
    tells(&mut stage, "bob", &[&expected(&add)]);
    assert_eq!(forwarded(&stage.look(), again), Some(SERVER_URI));
    assert_eq!(people(&mut stage).len(), 2);
}

#[test]
fn what_comes_to_nothing_leaves_nobody_behind() {
    // The server declines, the sender gives up while it is waited for, no server comes.
    let mut stage = meeting();
    stage.look();
    let declined = invite(&mut stage, "bob");
    let add = mcu_command(&stage.look());
    stage.mcu_fails(&add, "otherFailure");
    let done = stage.look();
    assert_eq!(invite_refused(&done, declined), Some(Reason::McuUnavailable));
    assert_eq!(counted(&done), Some(1));

    let mut stage = Stage::new();
    stage.join("ann");
    let given_up = invite(&mut stage, "bob");
    stage.hear(Event::InviteLost { invite: given_up });
    assert_eq!(counted(&stage.look()), Some(1));
    stage.mcu_ready();
    assert!(mcu_commands(&stage.look()).is_empty());

    let mut stage = Stage::new();
    stage.join("ann");
    let late = invite(&mut stage, "bob");
    stage.wait(Duration::from_secs(30));
    let done = stage.look();
    assert_eq!((invite_refused(&done, late), counted(&done)), (Some(Reason::McuUnavailable), Some(1)));
}

#[test]
fn a_lost_connection_takes_him_out_of_the_medium_too() {
    let mut stage = meeting();
    let (bob, _) = chats(&mut stage, "bob");
    stage.look();
    stage.hear(Event::InviteLost { invite: bob });
    let done = stage.look();
    assert!(matches!(mcu_command(&done).commands[0], Command::DeleteUser { .. }));
    assert_eq!(counted(&done), Some(1));
    stage.hear(Event::InviteLost { invite: bob });
    assert_eq!(stage.look(), []);
}

#[test]
fn he_counts_as_somebody_who_is_there() {
    let mut stage = Stage::new();
    invite(&mut stage, "bob");
    stage.mcu_ready();
    let add = mcu_command(&stage.look());
    stage.mcu_succeeds(&add);
    let endpoint = expected(&add);
    tells(&mut stage, "bob", &[&endpoint]);
    stage.wait(Duration::from_secs(3600));
    let ended = |done: &[Action]| done.contains(&Action::End);
    assert!(!ended(&stage.look()), "the meeting goes on while he is in");
    tells(&mut stage, "bob", &[]);
    stage.wait(Duration::from_secs(601));
    assert!(ended(&stage.look()), "ten minutes after he has left it is over");
}

#[test]
fn both_phones_of_somebody_go_on_at_a_successor_that_takes_one_after_the_other() {
    let mut stage = meeting();
    let (desk, one) = joins(&mut stage, "bob");
    let (mobile, two) = joins(&mut stage, "bob");
    let tells = |stage: &mut Stage, endpoints: &[&str]| {
        let mut person = User::new(user("bob").to_string());
        let handed = |name: &&str| Endpoint { handover: Some("a session".into()), ..Endpoint::new(*name) };
        person.endpoints = endpoints.iter().map(handed).collect();
        let mut document = ConferenceInfo::partial(CONFERENCE, 1);
        document.users = Some(Users { state: State::Partial, users: vec![person] });
        stage.hear(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
        stage.look()
    };
    tells(&mut stage, &[&one, &two]);
    for _ in 0..2 {
        stage.hear(Event::McuLost { media: McuType::Chat });
        // The second time another is asked for after a while.
        stage.wait(Duration::from_secs(2));
        stage.hear(Event::McuReady { media: McuType::Chat, control_url: "http://next.test/".into() });
        let commands = mcu_commands(&stage.look());
        assert_eq!(commands.len(), 2, "each is handed over");
        stage.mcu_succeeds(&commands[0]);
        // It is lost as well before it has told of the second.
        let done = tells(&mut stage, &[&one]);
        assert!(!is_over(&done, mobile) && !is_over(&done, desk), "{done:?}");
        assert_eq!(people(&mut stage).iter().find(|(who, _)| who.contains("bob")).unwrap().1, 2);
    }
    let done = tells(&mut stage, &[&one, &two]);
    assert!(!is_over(&done, mobile) && !is_over(&done, desk), "{done:?}");
    let done = tells(&mut stage, &[&two]);
    assert!(is_over(&done, desk) && !is_over(&done, mobile), "now he has hung one up");
}

#[test]
fn a_lost_server_keeps_those_it_told_of_and_those_who_wait() {
    let mut stage = meeting();
    let (_, endpoint) = chats(&mut stage, "bob");
    let mut person = User::new(user("bob").to_string());
    person.endpoints = vec![Endpoint { handover: Some("his session".into()), ..Endpoint::new(&*endpoint) }];
    let mut document = ConferenceInfo::partial(CONFERENCE, 1);
    document.users = Some(Users { state: State::Partial, users: vec![person] });
    stage.hear(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
    stage.look();
    let pat = invite(&mut stage, "pat");
    let eve = invite(&mut stage, "eve");
    let of_eve = mcu_commands(&stage.look()).pop().unwrap();
    stage.mcu_succeeds(&of_eve);
    assert_eq!(forwarded(&stage.look(), eve), Some(SERVER_URI));
    stage.hear(Event::McuLost { media: McuType::Chat });
    let done = stage.look();
    assert!(is_over(&done, eve), "her INVITE went to the one that is lost");
    assert_eq!(counted(&done), Some(3));
    stage.hear(Event::McuReady { media: McuType::Chat, control_url: "http://next.test/".into() });
    let commands = mcu_commands(&stage.look());
    assert_eq!(commands.len(), 2, "Bob is handed over and Pat is expected");
    for command in &commands {
        stage.mcu_succeeds(command);
    }
    assert_eq!(forwarded(&stage.look(), pat), Some(SERVER_URI));
    tells(&mut stage, "bob", &[&endpoint]);
    assert_eq!(people(&mut stage).len(), 3);
}

#[test]
fn endpoints_are_limited_and_an_end_ends_all() {
    let mut stage = meeting();
    let mut endpoints = Vec::new();
    for _ in 0..10 {
        endpoints.push(joins(&mut stage, "bob").1);
        let all: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        tells(&mut stage, "bob", &all);
    }
    let one_more = invite(&mut stage, "bob");
    assert_eq!(invite_refused(&stage.look(), one_more), Some(Reason::Full));
    let waiting = invite(&mut stage, "pat");
    stage.look();
    stage.hear(Event::EndRequested);
    let done = stage.look();
    assert_eq!(invite_refused(&done, waiting), Some(Reason::NoSuchConference));
}
