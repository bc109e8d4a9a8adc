//! Calls to people who are wanted, and sessions that go on after an MCU was lost.

use confab_mcu::Event;
use confab_media::session::{Codec, Command, Event as Plane, Gate, LegId, TransportSpec};
use confab_schema::{
    cccp::{AddUser, Code, Command as Verb},
    conference_info::{JoiningMethod, MediaFilter, User},
};
use confab_sip::Method;

use crate::{av::joining::*, room::*};

#[test]
fn somebody_is_called_with_an_offer_of_ours() {
    let mut room = house(VOICES);
    room.enter("bob");
    room.client("bob").sdp = Some(PHONE.to_owned());
    let first = room.command(add_user("bob", "{1}", JoiningMethod::DialedOut)).expect("an answer");
    assert_eq!(first.code, Code::Pending);
    let invite = room.client("bob").received.front().unwrap().clone();
    let offer = std::str::from_utf8(&invite.body).unwrap();
    assert!(offer.contains("m=audio 20000 RTP/AVP 96 9 8 0 101\r\n"), "{offer}");
    assert!(offer.contains("a=encryption:optional\r\n") && offer.contains("a=ice-ufrag:"), "{offer}");
    assert_eq!(room.answers.last().map(|answer| answer.code), Some(Code::Success));
    let [Command::Set { leg: LegId(1), spec, gate: Gate::Open }] = &room.commands[..] else {
        panic!("{:?}", room.commands)
    };
    let audio = spec.audio.as_ref().unwrap();
    assert_eq!((audio.send.codec, audio.receive.len(), audio.receive_events), (Codec::Pcmu, 2, Some(101)));
    assert!(audio.protection.is_none() && matches!(audio.transport, TransportSpec::Plain { .. }));
    assert_eq!(room.told(), ["bob {1} connected dialed-out"]);
}

#[test]
fn a_call_that_comes_to_nothing_leaves_no_port_open() {
    for (answer, ports) in [(Some(486), true), (Some(200), true), (Some(486), false)] {
        let mut room = house(VOICES);
        room.enter("bob");
        room.has_ports = ports;
        room.client("bob").answer = answer;
        // He answers with instant messages, if at all.
        room.command(add_user("bob", "{1}", JoiningMethod::DialedOut));
        assert_eq!(room.answers.last().map(|answer| answer.code), Some(Code::Failure));
        assert_eq!(room.commands.last(), Some(&Command::Close { leg: LegId(1) }));
        assert!(room.deadline_within(5), "the roster shows it for a while");
        room.wait(5);
        assert_eq!(room.told(), ["bob deleted"]);
    }
}

#[test]
fn who_is_ejected_while_it_rings_is_not_called_any_more() {
    let mut room = house(VOICES);
    room.enter("bob");
    room.client("bob").answer = Some(180);
    room.command(add_user("bob", "{1}", JoiningMethod::DialedOut));
    assert_eq!(room.told(), ["bob {1} alerting dialed-out"]);
    room.delete_user("bob");
    assert_eq!(room.inbox("bob", &Method::Cancel).len(), 1);
    assert_eq!(room.commands, [Command::Close { leg: LegId(1) }]);
}

#[test]
fn another_mcu_goes_on_with_new_ports_and_who_was_mute_stays_so() {
    let mut lost = voices(&["ann"]);
    lost.command(Verb::ModifyEndpointMedia {
        mcu_uri: None,
        keys: confab_schema::cccp::MediaKeys {
            entity: FOCUS.to_owned(),
            user: "sip:ann@example.test".into(),
            endpoint: "{ann}".into(),
            media: "1".into(),
        },
        media: confab_schema::conference_info::Media {
            ingress_filter: Some(MediaFilter::Block),
            ..confab_schema::conference_info::Media::default()
        },
    });
    lost.tell(Event::Media(Plane::Gated { id: 1 }));
    let ann: User = lost.notifications.last().unwrap().users.clone().unwrap().users.remove(0);

    let mut next = house(VOICES);
    next.clients = std::mem::take(&mut lost.clients);
    let uri = next.uri().to_owned();
    let taken = next.command(Verb::AddUser(AddUser { mcu_uri: Some(uri), keys: keys(), user: ann }));
    assert_eq!(taken.unwrap().code, Code::Success);
    let invites = next.inbox("ann", &Method::Invite);
    assert!(invites[0].contains("m=audio 20000 "), "she is offered the new ports: {invites:?}");
    assert!(matches!(next.commands[..], [Command::Set { gate: Gate::Muted, .. }]), "{:?}", next.commands);
}

#[test]
fn an_offer_in_a_session_taken_over_that_meets_another_is_made_again() {
    let mut lost = voices(&["ann"]);
    lost.tell(Event::Media(Plane::Speaking { legs: vec![LegId(1)] }));
    let ann: User = lost.notifications.last().unwrap().users.clone().unwrap().users.remove(0);
    let mut next = house(VOICES);
    next.clients = std::mem::take(&mut lost.clients);
    next.client("ann").answer = Some(491);
    let uri = next.uri().to_owned();
    next.command(Verb::AddUser(AddUser { mcu_uri: Some(uri), keys: keys(), user: ann }));
    next.wait(5);
    let offers = next.inbox("ann", &Method::Invite).len();
    assert!((4..=6).contains(&offers), "once a second: {offers}");
    assert_eq!(next.commands, [], "nothing is agreed on");
    next.client("ann").answer = Some(200);
    next.wait(2);
    assert!(matches!(next.commands[..], [Command::Set { gate: Gate::Open, .. }]), "{:?}", next.commands);
    next.inbox("ann", &Method::Invite);
    next.wait(5);
    assert_eq!(next.inbox("ann", &Method::Invite).len(), 0, "one agreement is enough");
}

#[test]
fn an_ack_that_the_lost_server_waited_for_is_no_answer_to_its_successor() {
    let mut lost = voices(&["ann"]);
    lost.tell(Event::Media(Plane::Speaking { legs: vec![LegId(1)] }));
    let ann: User = lost.notifications.last().unwrap().users.clone().unwrap().users.remove(0);
    let mut next = house(VOICES);
    next.clients = std::mem::take(&mut lost.clients);
    next.client("ann").answer = None;
    let uri = next.uri().to_owned();
    next.command(Verb::AddUser(AddUser { mcu_uri: Some(uri), keys: keys(), user: ann }));
    assert_eq!(next.inbox("ann", &Method::Invite).len(), 1);
    next.ack("ann");
    assert_eq!(next.inbox("ann", &Method::Bye).len(), 0);
}
