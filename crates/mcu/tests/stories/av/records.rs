//! Who speaks, and what became of each leg.

use std::time::Duration;

use confab_mcu::Event;
use confab_media::session::{Command, Event as Plane, LegId, Quality};
use confab_schema::{
    cccp::{Command as Verb, ResultBody},
    conference_info::{CallRecord, DisconnectionMethod, JoiningMethod},
};
use confab_sip::Method;

use crate::{av::joining::*, room::*};

fn quality(received: u64) -> Quality {
    Quality { received, lost: 2, jitter: Duration::from_millis(3), mos: 420, ..Quality::default() }
}

fn records(room: &mut Room) -> Vec<CallRecord> {
    room.notifications.drain(..).flat_map(|document| document.calls).collect()
}

#[test]
fn the_roster_shows_who_speaks() {
    let mut room = voices(&["ann", "bob"]);
    let speakers = |room: &mut Room| -> Vec<String> {
        let users = room.notifications.drain(..).filter_map(|document| document.users);
        let people = users.flat_map(|users| users.users);
        people.map(|user| format!("{} {}", user.display_text.unwrap(), user.endpoints[0].speaking)).collect()
    };
    room.tell(Event::Media(Plane::Speaking { legs: vec![LegId(1)] }));
    assert_eq!(speakers(&mut room), ["ANN true"]);
    room.tell(Event::Media(Plane::Speaking { legs: vec![LegId(2), LegId(1)] }));
    assert_eq!(speakers(&mut room), ["BOB true"]);
    room.tell(Event::Media(Plane::Speaking { legs: vec![LegId(1), LegId(2)] }));
    assert_eq!(speakers(&mut room), [""; 0], "who is louder is nothing new");
    room.tell(Event::Media(Plane::Speaking { legs: vec![] }));
    assert_eq!(speakers(&mut room), ["ANN false", "BOB false"]);
}

#[test]
fn a_leg_that_is_over_has_a_record() {
    let mut room = voices(&["ann", "bob"]);
    let start = room.now;
    room.wait(60);
    assert_eq!(room.send("ann", Method::Bye, "", "").status, 200);
    assert_eq!(room.told(), ["ann deleted"], "the roster does not wait for it");
    room.tell(Event::Media(Plane::Closed { leg: LegId(1), quality: quality(3000) }));
    let [record] = &records(&mut room)[..] else { panic!("one record") };
    assert_eq!((record.user.as_str(), record.endpoint.as_str()), ("sip:ann@example.test", "{ann}"));
    assert_eq!((record.from, record.until), (start, room.now));
    assert_eq!(
        (record.joining_method, record.ending),
        (JoiningMethod::DialedIn, DisconnectionMethod::Departed)
    );
    assert_eq!((record.reason.as_deref(), record.codec.as_deref()), (None, Some("PCMU")));
    let said = record.quality.unwrap();
    assert_eq!((said.received, said.lost, said.jitter_us, said.mos), (3000, 2, 3000, 420));

    room.delete_user("bob");
    room.wait(2);
    let [record] = &records(&mut room)[..] else { panic!("one record, even if the data plane is silent") };
    assert_eq!((record.ending, record.quality), (DisconnectionMethod::Booted, None));
    assert_eq!(record.reason.as_deref(), Some("You were removed from the conference."));
    room.tell(Event::Media(Plane::Closed { leg: LegId(2), quality: quality(1) }));
    assert_eq!(records(&mut room), [], "what was said too late is nothing new");
}

#[test]
fn the_end_waits_for_how_it_was() {
    let mut room = voices(&["ann", "bob"]);
    room.answers.clear();
    assert_eq!(room.command(Verb::DeleteConference(keys())), None);
    assert_eq!(room.commands[2..], [Command::Close { leg: LegId(1) }, Command::Close { leg: LegId(2) }]);
    room.tell(Event::Media(Plane::Closed { leg: LegId(2), quality: quality(7) }));
    assert!(!room.ended && room.answers.is_empty());
    room.tell(Event::Media(Plane::Closed { leg: LegId(1), quality: quality(8) }));
    assert!(room.ended);
    let ResultBody::Conference(info) = &room.answers[0].results[0].body else { panic!("the conference") };
    assert_eq!(info.calls.len(), 2);
    assert!(info.calls.iter().all(|call| call.reason.as_deref() == Some("The conference has ended.")));

    let mut silent = voices(&["ann"]);
    silent.command(Verb::DeleteConference(keys()));
    silent.wait(2);
    assert!(silent.ended, "but not for ever");
}

#[test]
fn whoever_is_silent_is_asked_for_a_sign() {
    let mut room = voices(&["ann", "bob"]);
    room.tell(Event::Media(Plane::Silent { leg: LegId(1) }));
    room.wait(1);
    assert_eq!(room.inbox("ann", &Method::Options).len(), 1);
    assert!(room.notifications.is_empty(), "she answers, so she stays");
    room.client("bob").answer = None;
    room.tell(Event::Media(Plane::Silent { leg: LegId(2) }));
    room.wait(40);
    let told = room.notifications.drain(..).filter_map(|document| document.users);
    let gone: Vec<String> = told.flat_map(|users| users.users).map(|user| user.entity).collect();
    assert_eq!(gone, ["sip:bob@example.test"]);

    room.tell(Event::Media(Plane::Unreachable { leg: LegId(1) }));
    assert_eq!(room.inbox("ann", &Method::Bye).len(), 1);
}

#[test]
fn keys_go_to_those_who_ask() {
    let mut room = voices(&["ann", "bob"]);
    room.expect("bot");
    room.enter("bot");
    room.client("bot").headers = vec![("Recv-Info", "dtmf")];
    assert_eq!(room.invite("bot", "application/sdp", PHONE).status, 200);
    room.ack("bot");
    let press = |room: &mut Room, leg: u64| {
        let duration = Duration::from_millis(160);
        room.tell(Event::Media(Plane::Digit { leg: LegId(leg), digit: '5', duration }));
    };
    press(&mut room, 1);
    let info = room.client("bot").received.pop_front().expect("it is told");
    assert_eq!(info.headers.get("Ms-Sender").unwrap().as_str(), "<sip:ann@example.test>");
    assert_eq!(info.body, "Signal=5\r\nDuration=160\r\n");
    assert!(room.trace.iter().any(|line| line.contains("key of sip:ann@example.test to 1 others")));
    press(&mut room, 3);
    assert_eq!(room.inbox("bot", &Method::Info), [""; 0], "its own key is no news to it");
    assert_eq!(room.inbox("bob", &Method::Info), [""; 0], "he did not ask");

    room.client("bot").headers.clear();
    assert_eq!(room.send("bot", Method::Invite, "application/sdp", PHONE).status, 200);
    press(&mut room, 1);
    assert_eq!(room.inbox("bot", &Method::Info), [""; 0], "nor does the bot any more");
}
