//! Who is heard: it holds for a person on every leg, and nothing is said to be so before it is.

use confab_mcu::Event;
use confab_media::session::{Command, Event as Plane, Gate, LegId};
use confab_schema::{
    cccp::{self, Code, Command as Verb, MediaKeys},
    conference_info::{
        ConferenceInfo, ConferenceView, Endpoint, EndpointStatus, EntityView, Media, MediaFilter, MediaRules,
        MediaStatus, Role, RuleRole, State, User,
    },
};

use crate::{av::joining::*, room::*};

fn filter(
    user: &str,
    endpoint: &str,
    id: &str,
    ingress: Option<MediaFilter>,
    egress: Option<MediaFilter>,
) -> Verb {
    Verb::ModifyEndpointMedia {
        mcu_uri: None,
        keys: MediaKeys {
            entity: FOCUS.to_owned(),
            user: format!("sip:{user}@example.test"),
            endpoint: endpoint.to_owned(),
            media: id.to_owned(),
        },
        media: Media {
            id: id.to_owned(),
            kind: "audio".into(),
            ingress_filter: ingress,
            egress_filter: egress,
            ..Media::default()
        },
    }
}

fn mute(user: &str) -> Verb {
    filter(user, &format!("{{{user}}}"), "1", Some(MediaFilter::Block), None)
}

fn unmute(user: &str) -> Verb {
    filter(user, &format!("{{{user}}}"), "1", Some(MediaFilter::Unblock), None)
}

fn rules(initial: MediaFilter, own: bool) -> Verb {
    let mut view = EntityView::new("audio-video");
    view.rules = Some(MediaRules {
        initial: vec![(RuleRole::Attendee, initial)],
        own: vec![(RuleRole::Attendee, own)],
    });
    let mut info = ConferenceInfo { entity: FOCUS.to_owned(), ..ConferenceInfo::default() };
    info.view = Some(ConferenceView { state: State::Partial, entity_views: vec![view] });
    Verb::ModifyConference { mcu_uri: None, info: Box::new(info), whole: None }
}

/// The last command to the data plane, if it is about who is heard.
fn last_gate(room: &Room) -> (u64, Vec<u64>, Gate) {
    match room.commands.last() {
        Some(Command::Gate { id, legs, gate }) => (*id, legs.iter().map(|leg| leg.0).collect(), *gate),
        other => panic!("no gate: {other:?}"),
    }
}

/// What the roster said last of each endpoint of this person.
fn shown(room: &Room, user: &str) -> Vec<(Option<MediaStatus>, Option<MediaFilter>)> {
    let entity = format!("sip:{user}@example.test");
    let users = room.notifications.iter().rev().filter_map(|document| document.users.as_ref());
    let person =
        users.flat_map(|users| &users.users).find(|user| user.entity == entity).expect("he was told of");
    person.endpoints.iter().map(|leg| (leg.media[0].status, leg.media[0].ingress_filter)).collect()
}

const MUTE: (Option<MediaStatus>, Option<MediaFilter>) =
    (Some(MediaStatus::RecvOnly), Some(MediaFilter::Block));
const HEARD: (Option<MediaStatus>, Option<MediaFilter>) =
    (Some(MediaStatus::SendRecv), Some(MediaFilter::Unblock));

fn answer(room: &Room) -> Option<(Code, Option<String>)> {
    room.answers.last().map(|answer: &cccp::Response| (answer.code, answer.results[0].reason.clone()))
}

#[test]
fn success_follows_the_data_plane() {
    let mut room = voices(&["ann", "bob"]);
    room.answers.clear();
    assert_eq!(room.command(mute("bob")), None, "nothing is so yet");
    let (id, legs, gate) = last_gate(&room);
    assert_eq!((legs, gate), (vec![2], Gate::Muted));
    assert!(room.notifications.is_empty(), "nor is it shown");
    room.tell(Event::Media(Plane::Gated { id: id + 1 }));
    assert_eq!(answer(&room), None);
    room.tell(Event::Media(Plane::Gated { id }));
    assert_eq!(answer(&room), Some((Code::Success, None)));
    assert_eq!(shown(&room, "bob"), [MUTE]);

    let again = room.command(mute("bob")).expect("he is mute already");
    assert_eq!((again.code, last_gate(&room).0), (Code::Success, id));
    assert_eq!(room.command(unmute("bob")), None);
    let (id, _, gate) = last_gate(&room);
    assert_eq!(gate, Gate::Open);
    room.tell(Event::Media(Plane::Gated { id }));
    assert_eq!(shown(&room, "bob"), [HEARD]);
}

#[test]
fn mute_holds_for_every_leg_of_a_person_present_and_future() {
    let mut room = voices(&["ann", "bob"]);
    assert_eq!(room.invite("bob", "application/sdp", PHONE).status, 200);
    room.command(mute("bob"));
    let (id, legs, _) = last_gate(&room);
    assert_eq!(legs, [2, 3]);
    room.tell(Event::Media(Plane::Gated { id }));
    assert_eq!(shown(&room, "bob"), [MUTE, MUTE]);
    assert_eq!(room.invite("bob", "application/sdp", PHONE).status, 200);
    assert!(matches!(room.commands.last(), Some(Command::Set { leg: LegId(4), gate: Gate::Muted, .. })));

    room.delete_user("bob");
    room.expect("bob");
    assert_eq!(room.join("bob"), 200);
    assert!(
        matches!(room.commands.last(), Some(Command::Set { gate: Gate::Muted, .. })),
        "he comes back mute"
    );
}

#[test]
fn whoever_waits_hears_nothing_either() {
    let mut room = voices(&["bob"]);
    let block = Some(MediaFilter::Block);
    room.command(filter("bob", "{bob}", "1", block, block));
    let (id, _, gate) = last_gate(&room);
    assert_eq!(gate, Gate::Waiting);
    room.tell(Event::Media(Plane::Gated { id }));
    room.command(rules(MediaFilter::Unblock, true));
    assert_eq!(last_gate(&room).0, id, "a rule for all lets nobody in");
}

#[test]
fn mute_all_is_a_rule_for_those_who_are_in_and_those_who_come() {
    let mut room = voices(&["ann", "bob"]);
    room.command(rules(MediaFilter::Block, false));
    let (id, legs, gate) = last_gate(&room);
    assert_eq!((legs, gate), (vec![1, 2], Gate::Muted));
    room.tell(Event::Media(Plane::Gated { id }));
    assert_eq!(answer(&room), Some((Code::Success, None)));
    assert_eq!((shown(&room, "ann"), shown(&room, "bob")), (vec![MUTE], vec![MUTE]));
    let mut views = room.notifications.iter().filter_map(|document| document.view.as_ref());
    let told = views.next_back().unwrap().entity_views[0].rules.clone().unwrap();
    assert!(told.begins_muted(Some(confab_schema::conference_info::Role::Attendee)));

    room.expect("eve");
    room.enter("eve");
    room.client("eve").sdp = Some(PHONE.to_owned());
    assert_eq!(room.join("eve"), 200);
    assert!(matches!(room.commands.last(), Some(Command::Set { gate: Gate::Muted, .. })));

    room.command(rules(MediaFilter::Unblock, true));
    let (_, legs, gate) = last_gate(&room);
    assert_eq!((legs, gate), (vec![1, 2, 3], Gate::Open));
}

#[test]
fn what_cannot_be_is_said() {
    let mut room = voices(&["bob"]);
    let block = Some(MediaFilter::Block);
    for (verb, reason) in [
        (mute("eve"), "userDoesntExist"),
        (filter("bob", "{other}", "1", block, None), "endpointDoesntExist"),
        (filter("bob", "{bob}", "2", block, None), "notSupported"),
        (filter("bob", "{bob}", "1", None, None), "notSupported"),
        (filter("bob", "{bob}", "1", Some(MediaFilter::Unblock), block), "notSupported"),
    ] {
        let answer = room.command(verb).expect("an answer");
        assert_eq!((answer.code, answer.results[0].reason.as_deref()), (Code::Failure, Some(reason)));
    }
    room.answers.clear();
    room.command(mute("bob"));
    room.wait(3);
    assert_eq!(answer(&room), Some((Code::Failure, Some("otherFailure".into()))), "the data plane is silent");
}

/// Somebody is added who waits in the lobby.
fn expect_waiting(room: &mut Room, user: &str, endpoint: &str) {
    let endpoint = Endpoint { status: Some(EndpointStatus::OnHold), ..Endpoint::new(endpoint) };
    let person = User {
        roles: vec![Role::Attendee],
        endpoints: vec![endpoint],
        ..User::new(format!("sip:{user}@example.test"))
    };
    let keys = cccp::ConferenceKeys::of(FOCUS);
    let answer = room.command(Verb::AddUser(cccp::AddUser { mcu_uri: None, keys, user: person }));
    assert_eq!(answer.map(|answer| answer.code), Some(Code::Success));
}

fn let_in(user: &str) -> Verb {
    Verb::SetLobbyAccess {
        keys: cccp::ConferenceKeys::of(FOCUS),
        users: vec![format!("sip:{user}@example.test")],
        granted: true,
    }
}

/// How far each endpoint of this person is, as the roster said last.
fn statuses(room: &Room, user: &str) -> Vec<Option<EndpointStatus>> {
    let entity = format!("sip:{user}@example.test");
    let users = room.notifications.iter().rev().filter_map(|document| document.users.as_ref());
    let person = users.flat_map(|users| &users.users).find(|user| user.entity == entity).unwrap();
    person.endpoints.iter().map(|leg| leg.status).collect()
}

#[test]
fn whoever_waits_in_the_lobby_is_held_on_every_leg_until_he_is_let_in() {
    let mut room = voices(&["ann"]);
    room.enter("eve");
    room.client("eve").sdp = Some(PHONE.to_owned());
    for (leg, endpoint) in [(2, "{desk}"), (3, "{mobile}")] {
        expect_waiting(&mut room, "eve", endpoint);
        assert_eq!(room.join("eve"), 200, "the call is answered");
        let begins = room.commands.last();
        assert!(
            matches!(begins, Some(Command::Set { leg: id, gate: Gate::Waiting, .. }) if id.0 == leg),
            "{begins:?}"
        );
    }
    assert!(statuses(&room, "eve").contains(&Some(EndpointStatus::OnHold)));
    // Who waits is out of reach of the rules and of whoever mutes.
    room.command(rules(MediaFilter::Unblock, true));
    assert!(!matches!(room.commands.last(), Some(Command::Gate { .. })));

    assert_eq!(room.command(let_in("eve")), None, "nothing is so yet");
    let (id, legs, gate) = last_gate(&room);
    assert_eq!((legs, gate), (vec![2, 3], Gate::Open));
    room.answers.clear();
    room.tell(Event::Media(Plane::Gated { id }));
    assert_eq!(answer(&room), Some((Code::Success, None)));
    assert!(!statuses(&room, "eve").contains(&Some(EndpointStatus::OnHold)));
    assert_eq!(shown(&room, "eve"), [HEARD, HEARD]);
    let again = room.command(let_in("eve")).expect("she is in");
    assert_eq!((again.code, last_gate(&room).0), (Code::Success, id));
    let nobody = room.command(let_in("dan")).expect("an answer");
    assert_eq!(nobody.results[0].reason.as_deref(), Some("userDoesntExist"));
}

#[test]
fn a_rule_that_mutes_all_holds_for_whoever_is_let_in() {
    let mut room = voices(&["ann"]);
    room.enter("eve");
    room.client("eve").sdp = Some(PHONE.to_owned());
    expect_waiting(&mut room, "eve", "{desk}");
    assert_eq!(room.join("eve"), 200);
    room.command(rules(MediaFilter::Block, false));
    let (id, _, _) = last_gate(&room);
    room.tell(Event::Media(Plane::Gated { id }));
    room.command(let_in("eve"));
    assert_eq!(last_gate(&room).2, Gate::Muted);
}

#[test]
fn a_successor_is_told_who_waits_still() {
    for (status, gate) in [(EndpointStatus::OnHold, Gate::Waiting), (EndpointStatus::Connected, Gate::Open)] {
        let mut lost = voices(&["ann"]);
        lost.enter("eve");
        lost.client("eve").sdp = Some(PHONE.to_owned());
        expect_waiting(&mut lost, "eve", "{desk}");
        assert_eq!(lost.join("eve"), 200);
        let mut eve = lost.notifications.last().unwrap().users.clone().unwrap().users.remove(0);
        assert_eq!(eve.endpoints[0].status, Some(EndpointStatus::OnHold));
        eve.endpoints[0].status = Some(status);

        let mut next = house(VOICES);
        next.clients = std::mem::take(&mut lost.clients);
        let keys = cccp::ConferenceKeys::of(FOCUS);
        next.command(Verb::AddUser(cccp::AddUser { mcu_uri: None, keys, user: eve }));
        let begins = next.commands.last();
        assert!(matches!(begins, Some(Command::Set { gate: is, .. }) if *is == gate), "{begins:?}");
    }
}

#[test]
fn whoever_leaves_the_lobby_is_not_remembered() {
    let mut room = voices(&["ann"]);
    room.enter("eve");
    room.client("eve").sdp = Some(PHONE.to_owned());
    expect_waiting(&mut room, "eve", "{desk}");
    assert_eq!(room.join("eve"), 200);
    room.delete_user("eve");
    room.expect("eve");
    assert_eq!(room.join("eve"), 200);
    assert!(matches!(room.commands.last(), Some(Command::Set { gate: Gate::Open, .. })));
}
