//! The lobby: who waits, who is told of it, and who lets whom in.

use std::collections::BTreeSet;

use confab_conference::{
    focus::{Action, Ending, Event, Focus, InviteId, JoinId, SubscriptionId},
    policy::Identity,
    reason::Reason,
    record::ConferenceRecord,
};
use confab_schema::{
    cccp::{Command, Request, ResultBody},
    conference_info::{
        AdmissionPolicy, ConferenceInfo, Endpoint, EndpointStatus, Role, State, User, Users, View,
    },
    uri::McuType,
};

use crate::{answers::*, stage::*};

const VOICES: McuType = McuType::AudioVideo;
/// The dialogs of those who join first, who have a number for each request as well.
const ANN: JoinId = JoinId(1);
const BOB: JoinId = JoinId(3);

/// Ann leads, Bob attends, and both watch; only the invited come in at once, and the voices' server is there.
fn meeting() -> (Stage, [SubscriptionId; 2]) {
    meeting_with(|_| {})
}

fn meeting_with(change: impl FnOnce(&mut ConferenceRecord)) -> (Stage, [SubscriptionId; 2]) {
    let mut stage = Stage::with(|record, _| {
        record.media = vec![VOICES, McuType::Chat];
        record.admission = AdmissionPolicy::ClosedAuthenticated;
        record.lobby = true;
        change(record);
    });
    stage.join("ann");
    stage.join("bob");
    ready(&mut stage);
    stage.mcu_ready();
    let watching = [stage.subscribe("ann"), stage.subscribe("bob")];
    stage.settle();
    stage.look();
    (stage, watching)
}

fn ready(stage: &mut Stage) {
    stage.hear(Event::McuReady { media: VOICES, control_url: CONTROL_URL.into() });
}

/// Somebody calls the conference with a phone.
fn phone(stage: &mut Stage, who: &str, identity: Identity) -> InviteId {
    let invite = InviteId(stage.next_id());
    let (offered, display_name) = (vec![VOICES], who.to_uppercase());
    stage.hear(Event::JoinMedium { invite, user: user(who), identity, display_name, offered });
    invite
}

/// The endpoint that the server is told to expect.
fn expected(request: &Request) -> &Endpoint {
    let [Command::AddUser(add)] = request.commands.as_slice() else { panic!("{request:?}") };
    &add.user.endpoints[0]
}

/// The voices' server tells of somebody's endpoints there.
fn tells(stage: &mut Stage, who: &str, endpoints: &[(&str, EndpointStatus)]) {
    let mut person = User::new(user(who).to_string());
    for (entity, status) in endpoints {
        let mut leg = Endpoint::new(*entity);
        (leg.status, leg.handover) = (Some(*status), Some("{\"dialog\":1}".into()));
        person.endpoints.push(leg);
    }
    if endpoints.is_empty() {
        person.state = State::Deleted;
    }
    let mut document = ConferenceInfo::partial(CONFERENCE, 1);
    document.users = Some(Users { state: State::Partial, users: vec![person] });
    stage.hear(Event::McuNotified { media: VOICES, document: Box::new(document) });
}

/// Eve waits with one phone, of which the server has told; its INVITE and its name.
fn eve_waits(stage: &mut Stage) -> (InviteId, String) {
    let invite = phone(stage, "eve", Identity::Enterprise);
    let add = mcu_command(&stage.look());
    assert_eq!(expected(&add).status, Some(EndpointStatus::OnHold), "she is to be held");
    stage.mcu_succeeds(&add);
    assert_eq!(forwarded(&stage.look(), invite), Some(SERVER_URI));
    let endpoint = expected(&add).entity.clone();
    tells(stage, "eve", &[(&endpoint, EndpointStatus::OnHold)]);
    stage.settle();
    (invite, endpoint)
}

fn statuses(stage: &Stage, watcher: SubscriptionId, who: &str) -> Option<Vec<Option<EndpointStatus>>> {
    let user = stage.watchers[&watcher].user(who)?;
    Some(user.endpoints.iter().map(|endpoint| endpoint.status).collect())
}

/// Everything that was told to these subscriptions, as text.
fn told(actions: &[Action], to: SubscriptionId) -> String {
    let mut told = String::new();
    for action in actions {
        let mut add = |subscriptions: &[SubscriptionId], document: &[u8]| {
            if subscriptions.contains(&to) {
                told.push_str(&String::from_utf8_lossy(document));
            }
        };
        match action {
            Action::Notify { subscriptions, document, .. } => add(subscriptions, document),
            Action::NotifyEach { documents, .. } => {
                documents.iter().for_each(|each| add(&each.subscriptions, &each.document));
            }
            Action::AcceptSubscription { subscription, document } => add(&[*subscription], document),
            _ => {}
        }
    }
    told
}

#[test]
fn whoever_is_not_admitted_waits_until_a_leader_lets_him_in() {
    let (mut stage, [anns, bobs]) = meeting();
    let (_, endpoint) = eve_waits(&mut stage);
    assert_eq!(statuses(&stage, anns, "eve"), Some(vec![Some(EndpointStatus::OnHold)]));
    assert_eq!(stage.watchers[&bobs].names(), ["ann", "bob"], "an attendee is not told");
    let eves = stage.subscribe("eve");
    assert_eq!(stage.watchers[&eves].names(), ["eve"]);
    assert_eq!(statuses(&stage, eves, "eve"), Some(vec![Some(EndpointStatus::OnHold)]));
    assert_eq!(stage.watchers[&eves].known.description, None, "nor what the meeting is about");
    assert_eq!(stage.watchers[&eves].known.view, None);
    stage.look();

    let command = stage.command(ANN, "ann", let_in(&["eve"], true));
    let actions = stage.look();
    assert!(accepted(&actions, command));
    let request = mcu_command(&actions);
    let let_in =
        Command::SetLobbyAccess { keys: keys(), users: vec![user("eve").to_string()], granted: true };
    assert_eq!(request.commands, [let_in]);
    assert_eq!(verdict(&actions, command), None, "nothing is so before the server has done it");
    stage.mcu_succeeds(&request);
    assert_eq!(verdict(&stage.look(), command), Some("success"));
    stage.settle();
    for watcher in [anns, bobs, eves] {
        assert_eq!(stage.watchers[&watcher].names(), ["ann", "bob", "eve"]);
    }
    assert_eq!(stage.watchers[&eves].description().subject.as_deref(), Some("Plans"));
    assert_eq!(stage.watchers[&eves].description().lobby, Some(true));
    tells(&mut stage, "eve", &[(&endpoint, EndpointStatus::Connected)]);
    stage.settle();
    assert_eq!(statuses(&stage, bobs, "eve"), Some(vec![Some(EndpointStatus::Connected)]));
}

#[test]
fn whoever_is_denied_is_hung_up_on() {
    let (mut stage, [anns, bobs]) = meeting();
    let (invite, endpoint) = eve_waits(&mut stage);
    let join = stage.join("eve");
    let eves = stage.subscribe("eve");
    stage.settle();
    stage.look();
    let command = stage.command(ANN, "ann", let_in(&["eve"], false));
    let actions = stage.look();
    let gone = mcu_commands(&actions);
    assert!(gone.iter().all(|request| matches!(request.commands[0], Command::DeleteUser { .. })), "{gone:?}");
    assert_eq!(gone.len(), 2, "of every server");
    assert!(actions.contains(&Action::InviteOver { invite }));
    assert_eq!(ended(&actions, join), Some(Ending::Denied));
    assert!(actions.contains(&Action::EndSubscription { subscription: eves }));
    assert_eq!(verdict(&actions, command), None);
    for request in &gone {
        stage.mcu_fails(request, "userDoesntExist");
    }
    assert_eq!(verdict(&stage.look(), command), Some("success"), "who is on no server is out of it");
    stage.settle();
    assert_eq!(stage.watchers[&anns].names(), ["ann", "bob"]);
    assert!(!told(&stage.look(), bobs).contains("eve"), "an attendee has never heard of her");
    // Until the server has let go of her, it is told to.
    tells(&mut stage, "eve", &[(&endpoint, EndpointStatus::OnHold)]);
    assert!(matches!(mcu_command(&stage.look()).commands[0], Command::DeleteUser { .. }));
}

#[test]
fn it_holds_for_every_leg() {
    let (mut stage, [anns, _]) = meeting();
    let (_, first) = eve_waits(&mut stage);
    let mut second = Vec::new();
    for _ in 0..2 {
        stage.look();
        phone(&mut stage, "eve", Identity::Enterprise);
        let add = mcu_command(&stage.look());
        assert_eq!(expected(&add).status, Some(EndpointStatus::OnHold));
        second.push(expected(&add).entity.clone());
        // Even when the policy would have admitted her.
        stage.organizer_changes(|record| record.admission = AdmissionPolicy::OpenAuthenticated);
        stage.told_record();
    }
    let join = stage.join("eve");
    assert_eq!(granted(&stage.look(), join), Some(Role::Attendee));
    let voice = InviteId(stage.next_id());
    stage.hear(Event::McuInvited { invite: voice, user: user("eve"), mcu: uri().mcu(VOICES) });
    assert_eq!(expected(&mcu_command(&stage.look())).status, Some(EndpointStatus::OnHold));
    let chat = stage.invite("eve");
    assert_eq!(invite_refused(&stage.look(), chat), Some(Reason::InLobby));
    for command in
        [let_in(&["eve"], true), call("eve"), eject("eve"), Command::GetConference(keys()), lock(true)]
    {
        let command = stage.command(join, "eve", command);
        assert_eq!(command_refused(&stage.look(), command), Some(Reason::InLobby));
    }
    stage.settle();
    assert_eq!(
        statuses(&stage, anns, "eve").map(|legs| legs.len()),
        Some(2),
        "{first} and that of the Focus"
    );

    // Let in once, all her legs are, and those that come.
    stage.command(ANN, "ann", let_in(&["eve"], true));
    stage.look();
    phone(&mut stage, "eve", Identity::Enterprise);
    assert_eq!(expected(&mcu_command(&stage.look())).status, None);
    let chat = stage.invite("eve");
    assert_eq!(invite_refused(&stage.look(), chat), None);
}

#[test]
fn who_waits_by_what() {
    let closed: fn(&mut ConferenceRecord) = |_| {};
    let locked: fn(&mut ConferenceRecord) = |record| record.locked = true;
    let open: fn(&mut ConferenceRecord) = |record| record.admission = AdmissionPolicy::Anonymous;
    for (change, who, identity, waits) in [
        (closed, "eve", Identity::Enterprise, true),
        (closed, "pat", Identity::Enterprise, false),
        (locked, "pat", Identity::Enterprise, true),
        (locked, "bob", Identity::Enterprise, false),
        (open, "eve", Identity::Enterprise, false),
        (open, "eve", Identity::Anonymous, true),
    ] {
        let (mut stage, _) = meeting_with(|_| {});
        stage.organizer_changes(change);
        stage.told_record();
        stage.look();
        phone(&mut stage, who, identity);
        let expect = waits.then_some(EndpointStatus::OnHold);
        assert_eq!(expected(&mcu_command(&stage.look())).status, expect, "{who} {identity:?}");
    }
    // Chat alone cannot hold anybody.
    let (mut stage, _) = meeting();
    let invite = InviteId(stage.next_id());
    let (identity, display_name, offered) = (Identity::Enterprise, "EVE".into(), vec![McuType::Chat]);
    stage.hear(Event::JoinMedium { invite, user: user("eve"), identity, display_name, offered });
    assert_eq!(invite_refused(&stage.look(), invite), Some(Reason::InLobby));
}

#[test]
fn leaders_alone_keep_the_lobby() {
    let (mut stage, [anns, bobs]) = meeting();
    eve_waits(&mut stage);
    stage.look();
    for granted in [true, false] {
        let command = stage.command(BOB, "bob", let_in(&["eve"], granted));
        assert_eq!(command_refused(&stage.look(), command), Some(Reason::NotPresenter));
    }
    for users in [&[][..], &["sip:"][..]] {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        let command = Command::SetLobbyAccess { keys: keys(), users, granted: true };
        let command = stage.command(ANN, "ann", command);
        assert_eq!(command_refused(&stage.look(), command), Some(Reason::InvalidTargetUser));
    }
    // Who becomes a leader is told of those who wait, and who ceases to be one knows of them no longer.
    stage.command(ANN, "ann", give_role("bob", Role::Presenter));
    stage.settle();
    assert_eq!(stage.watchers[&bobs].names(), ["ann", "bob", "eve"]);
    let command = stage.command(BOB, "bob", Command::GetConference(keys()));
    let actions = stage.look();
    let ResultBody::Conference(info) = &finished(&actions, command).unwrap().results[0].body else {
        panic!()
    };
    assert_eq!(info.users.as_ref().unwrap().users.len(), 3);
    stage.command(ANN, "ann", give_role("bob", Role::Attendee));
    stage.settle();
    assert_eq!(stage.watchers[&bobs].names(), ["ann", "bob"]);
    assert_eq!(stage.watchers[&anns].names(), ["ann", "bob", "eve"]);
    assert!(told(&stage.look(), bobs).contains(r#"entity="sip:eve@example.test" state="deleted""#));
}

#[test]
fn several_are_let_in_at_once_and_what_cannot_be_is_said() {
    let (mut stage, [anns, _]) = meeting();
    for who in ["eve", "dan", "kim"] {
        phone(&mut stage, who, Identity::Enterprise);
    }
    stage.look();
    let mut check = |who: &[&str], granted: bool, requests: usize, expect: &str| {
        let command = stage.command(ANN, "ann", let_in(who, granted));
        let actions = stage.look();
        let sent = mcu_commands(&actions);
        assert_eq!(sent.len(), requests, "{who:?}");
        for request in &sent {
            stage.mcu_fails(request, "userDoesntExist");
        }
        let actions = [actions, stage.look()].concat();
        assert_eq!(verdict(&actions, command), Some(expect), "{who:?}");
    };
    check(&["eve", "dan"], true, 2, "success");
    check(&["eve"], true, 0, "alreadyAdmitted");
    check(&["eve"], false, 0, "alreadyAdmitted");
    check(&["nobody"], true, 0, "userDoesntExist");
    check(&["kim", "nobody"], true, 1, "userDoesntExist");
    stage.settle();
    assert_eq!(stage.watchers[&anns].names(), ["ann", "bob", "dan", "eve", "kim"]);
}

#[test]
fn rooms_have_their_limits() {
    let mut stage = Stage::with(|record, policy| {
        (record.media, record.admission, record.lobby) =
            (vec![VOICES], AdmissionPolicy::ClosedAuthenticated, true);
        policy.max_participants = 2;
    });
    stage.join("ann");
    ready(&mut stage);
    for who in ["eve", "dan"] {
        phone(&mut stage, who, Identity::Enterprise);
    }
    stage.look();
    let third = phone(&mut stage, "kim", Identity::Enterprise);
    assert_eq!(invite_refused(&stage.look(), third), Some(Reason::Full));
    let command = stage.command(ANN, "ann", let_in(&["dan", "eve"], true));
    let actions = stage.look();
    stage.mcu_succeeds(&mcu_command(&actions));
    assert_eq!(verdict(&stage.look(), command), Some("conferenceFull"), "one of the two is in");
    let document = stage.full_document("ann");
    let waiting = document.users.unwrap().users.into_iter().filter(|user| user.entity.contains("eve"));
    assert_eq!(waiting.count(), 1, "and the other one waits on");
}

#[test]
fn a_call_lets_in_and_an_ejection_denies() {
    let (mut stage, [anns, bobs]) = meeting();
    eve_waits(&mut stage);
    let join = stage.join("dan");
    stage.look();
    let voices = uri().mcu(VOICES).to_string();
    let joining = confab_schema::conference_info::JoiningMethod::DialedOut;
    stage.command(ANN, "ann", add_user("eve", Some(&voices), "{desk}", Some(joining)));
    let names: BTreeSet<String> =
        mcu_commands(&stage.look()).iter().map(|request| request.commands[0].name().to_owned()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["addUser", "setLobbyAccess"]);
    stage.command(ANN, "ann", eject("dan"));
    assert_eq!(ended(&stage.look(), join), Some(Ending::Denied));
    stage.settle();
    for watcher in [anns, bobs] {
        assert_eq!(stage.watchers[&watcher].names(), ["ann", "bob", "eve"]);
    }
}

#[test]
fn a_successor_holds_whoever_waits_and_nobody_else() {
    let (mut stage, [anns, _]) = meeting();
    let (_, eve) = eve_waits(&mut stage);
    let dan = {
        phone(&mut stage, "dan", Identity::Enterprise);
        let add = mcu_command(&stage.look());
        stage.mcu_succeeds(&add);
        expected(&add).entity.clone()
    };
    tells(&mut stage, "dan", &[(&dan, EndpointStatus::OnHold)]);
    stage.hear(Event::McuLost { media: VOICES });
    // In while nobody serves voices.
    let command = stage.command(ANN, "ann", let_in(&["dan"], true));
    assert_eq!(verdict(&stage.look(), command), Some("success"));
    ready(&mut stage);
    let mut held: Vec<(String, Option<EndpointStatus>)> = mcu_commands(&stage.look())
        .iter()
        .map(|request| (expected(request).entity.clone(), expected(request).status))
        .collect();
    held.sort();
    let mut expect = vec![(eve, Some(EndpointStatus::OnHold)), (dan, Some(EndpointStatus::Connected))];
    expect.sort();
    assert_eq!(held, expect);
    stage.settle();
    assert_eq!(stage.watchers[&anns].names(), ["ann", "bob", "dan", "eve"], "nobody is lost by it");
}

#[test]
fn whoever_waits_for_a_server_too_is_held_there() {
    let mut stage = Stage::with(|record, _| {
        (record.media, record.admission, record.lobby) =
            (vec![VOICES], AdmissionPolicy::ClosedAuthenticated, true);
    });
    let eve = phone(&mut stage, "eve", Identity::Enterprise);
    assert!(stage.look().contains(&Action::RequestMcu { media: VOICES }), "her call is answered even alone");
    ready(&mut stage);
    assert_eq!(expected(&mcu_command(&stage.look())).status, Some(EndpointStatus::OnHold));
    stage.hear(Event::InviteLost { invite: eve });
    let actions = stage.look();
    assert!(actions.contains(&Action::InviteOver { invite: eve }));
    let leader = stage.join("ann");
    let command = stage.command(leader, "ann", let_in(&["eve"], true));
    assert_eq!(verdict(&stage.look(), command), Some("userDoesntExist"), "she gave up");
}

#[test]
fn in_a_large_meeting_leaders_alone_are_told() {
    let mut stage = Stage::with(|record, policy| {
        record.admission = AdmissionPolicy::ClosedAuthenticated;
        record.lobby = true;
        policy.large_meeting = 1;
    });
    assert_eq!(stage.join("ann"), ANN);
    stage.join("bob");
    let anns = stage.subscribe_for("ann", View::Rfc4575);
    let bobs = stage.subscribe("bob");
    stage.settle();
    stage.join("eve");
    let eves = stage.subscribe("eve");
    stage.settle();
    assert_eq!(stage.watchers[&anns].names(), ["ann", "eve"]);
    assert_eq!(stage.watchers[&bobs].names(), ["ann", "bob"]);
    assert_eq!(stage.watchers[&anns].count(), Some(2), "she is not counted");
    stage.command(ANN, "ann", let_in(&["eve"], true));
    stage.settle();
    assert_eq!(stage.watchers[&anns].names(), ["ann"], "an attendee among many");
    assert_eq!(stage.watchers[&eves].names(), ["ann", "eve"]);
    assert_eq!(stage.watchers[&bobs].names(), ["ann", "bob"]);
    assert_eq!(stage.watchers[&anns].count(), Some(3));
}

#[test]
fn a_snapshot_holds_the_lobby() {
    let (mut stage, [anns, _]) = meeting();
    eve_waits(&mut stage);
    let eves = stage.subscribe("eve");
    let snapshot = serde_json::to_string(&stage.focus).unwrap();
    stage.focus = serde_json::from_str::<Focus>(&snapshot).unwrap();
    assert_eq!(serde_json::to_string(&stage.focus).unwrap(), snapshot);
    stage.look();
    let command = stage.command(ANN, "ann", let_in(&["eve"], true));
    let request = mcu_command(&stage.look());
    stage.mcu_succeeds(&request);
    assert_eq!(verdict(&stage.look(), command), Some("success"));
    stage.settle();
    for watcher in [anns, eves] {
        assert_eq!(stage.watchers[&watcher].names(), ["ann", "bob", "eve"]);
    }
}

#[test]
fn the_end_of_the_meeting_is_the_end_for_all() {
    let (mut stage, _) = meeting();
    let join = stage.join("eve");
    let eves = stage.subscribe("eve");
    stage.look();
    stage.hear(Event::EndRequested);
    let actions = stage.look();
    assert_eq!(ended(&actions, join), Some(Ending::ConferenceEnded));
    assert!(actions.contains(&Action::EndSubscription { subscription: eves }));
}
