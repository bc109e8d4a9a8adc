//! What is bounded.

use confab_server::front_end::{Action, Event};
use confab_sip::Message;

use crate::desk::{CONFERENCE, Database, Desk, tcp, udp};

#[test]
fn not_everybody_waits_for_the_database_at_once() {
    let mut desk = Desk::open();
    desk.database = Database::IsSilent;
    let mut refused = Vec::new();
    for n in 0..10_001 {
        refused.extend(desk.asks(udp(n), "OPTIONS", CONFERENCE, "ann@example.test"));
    }
    let [refused] = &refused[..] else { panic!("{} refused", refused.len()) };
    assert_eq!(refused.status, 503);
    assert!(refused.headers.get("Warning").unwrap().contains("Try again"));
}

#[test]
fn who_hangs_up_before_his_account_is_found_leaves_nothing() {
    for (method, uri) in
        [("INVITE", CONFERENCE), ("SUBSCRIBE", CONFERENCE), ("MESSAGE", "sip:bob@example.test")]
    {
        let mut desk = Desk::open();
        let before = format!("{:?}", desk.machine);
        desk.database = Database::IsSilent;
        desk.asks(tcp(1), method, uri, "ann@example.test");
        desk.hear(Event::FlowClosed { flow: tcp(1) });
        desk.hear(Event::Account { lookup: 1, account: Ok(None) });
        assert!(desk.is_quiet(), "{method}");
        assert_eq!(format!("{:?}", desk.machine), before, "{method}");
    }
}

#[test]
fn a_connection_proves_to_be_so_many_people() {
    let mut desk = Desk::open();
    for n in 0..110 {
        desk.asks(tcp(1), "SUBSCRIBE", CONFERENCE, &format!("u{n}@example.test"));
    }
    desk.done.clear();
    desk.database = Database::IsSilent;
    // Who is known needs no look-up.
    for n in 0..110 {
        desk.asks(tcp(1), "OPTIONS", CONFERENCE, &format!("u{n}@example.test"));
    }
    let known = desk.done.iter().filter(|action| matches!(action, Action::ToFocus { .. })).count();
    assert_eq!(known, 100);
}

#[test]
fn the_end_of_a_connection_is_told_to_so_many_conferences() {
    let mut desk = Desk::open();
    for n in 0..300 {
        let conference = format!("sip:ann@example.test;gruu;opaque=app:conf:focus:id:CONFERENCE{n:06}");
        desk.asks(tcp(1), "SUBSCRIBE", &conference, "ann@example.test");
    }
    desk.done.clear();
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    assert_eq!(desk.done.len(), 256);
}

#[test]
fn nobody_is_asked_at_more_places_than_he_may_have() {
    let mut desk = Desk::open();
    for n in 0..40 {
        desk.registers(tcp(100 + n), "bob", &format!("{n:02}"));
    }
    desk.done.clear();
    desk.asks(tcp(1), "MESSAGE", "sip:bob@example.test", "ann@example.test");
    let asked = desk
        .done
        .iter()
        .filter(|action| matches!(action, Action::Transmit { message: Message::Request(_), .. }));
    assert_eq!(asked.count(), confab_users::MAX_ENDPOINTS);
}
