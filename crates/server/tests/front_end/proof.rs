//! Who sent this? Digest, and what counts instead.

use confab_schema::uri::ConferenceUri;
use confab_server::{
    focus_host,
    front_end::{Action, Event},
};
use confab_sip::{Flow, Message, Request};

use crate::desk::{CHAT, CONFERENCE, Database, Desk, FACTORY, MCU, MCU_FLOW, answer, tcp, tls, udp};

/// The sender that the Focus was told of.
fn focus_heard(desk: &mut Desk) -> (String, String) {
    let Some(Action::ToFocus { event, .. }) = desk.done.pop() else { panic!("{:?}", desk.done) };
    let focus_host::Event::Request { sender, .. } = *event else { panic!("{event:?}") };
    (sender.user.user().to_owned(), sender.display_name)
}

/// Proves to be `name` on this connection.
fn proves(desk: &mut Desk, flow: Flow, name: &str) {
    assert_eq!(desk.registers(flow, name, "01").status, 200);
    desk.done.clear();
}

#[test]
fn strangers_are_challenged_by_method() {
    let mut desk = Desk::closed();
    for (method, uri, status, header) in [
        ("REGISTER", "sip:example.test", 401, "WWW-Authenticate"),
        ("SUBSCRIBE", CONFERENCE, 401, "WWW-Authenticate"),
        ("SERVICE", FACTORY, 401, "WWW-Authenticate"),
        ("PUBLISH", "sip:ann@example.test", 401, "WWW-Authenticate"),
        ("INVITE", CONFERENCE, 407, "Proxy-Authenticate"),
        ("INVITE", CHAT, 407, "Proxy-Authenticate"),
        ("MESSAGE", "sip:bob@example.test", 407, "Proxy-Authenticate"),
        ("OPTIONS", "sip:example.test", 407, "Proxy-Authenticate"),
        ("INFO", CONFERENCE, 407, "Proxy-Authenticate"),
        ("BYE", CONFERENCE, 407, "Proxy-Authenticate"),
        ("DANCE", CONFERENCE, 407, "Proxy-Authenticate"),
    ] {
        for flow in [tcp(1), udp(2), tls(3)] {
            let refused = desk.asks(flow, method, uri, "ann@example.test").unwrap();
            assert_eq!(refused.status, status, "{method}");
            let challenge = refused.headers.get(header).expect("a challenge");
            assert!(challenge.contains("realm=\"example.test\"") && challenge.contains("qop=\"auth\""));
        }
        assert!(desk.is_quiet(), "nobody else hears of {method}");
    }
}

#[test]
fn a_stream_is_believed_for_whom_it_has_proved_to_be_alone() {
    let mut desk = Desk::closed();
    proves(&mut desk, tcp(1), "ann");
    assert_eq!(desk.believed, [tcp(1)], "it is no stranger's connection any more");
    assert!(desk.asks(tcp(1), "INVITE", CONFERENCE, "ann@example.test").is_none());
    assert_eq!(focus_heard(&mut desk), ("ann".into(), "ANN".into()), "by the name of the account");
    assert_eq!(desk.asks(tcp(1), "INVITE", CONFERENCE, "bob@example.test").unwrap().status, 407);
    assert_eq!(desk.asks(tcp(2), "INVITE", CONFERENCE, "ann@example.test").unwrap().status, 407);
    assert!(desk.is_quiet());

    // A gateway proves to be two.
    proves(&mut desk, tcp(1), "bob");
    for name in ["ann", "bob"] {
        desk.asks(tcp(1), "INVITE", CONFERENCE, &format!("{name}@example.test"));
        assert_eq!(focus_heard(&mut desk).0, name);
    }
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    desk.done.clear();
    assert_eq!(desk.asks(tcp(1), "INVITE", CONFERENCE, "ann@example.test").unwrap().status, 407);
}

#[test]
fn datagrams_prove_only_themselves() {
    let mut desk = Desk::closed();
    proves(&mut desk, udp(1), "ann");
    let invite = desk.request("INVITE", CONFERENCE, "ann@example.test");
    let refused = desk.sends(udp(1), &invite).unwrap();
    assert_eq!(refused.status, 407);
    let again = desk.answering(&invite, &refused, "ann", "ann");
    assert!(desk.sends(udp(1), &again).is_none());
    assert_eq!(focus_heard(&mut desk).0, "ann");
    let mut replayed = again.clone();
    replayed.headers.set("Via", "SIP/2.0/UDP 198.51.100.9;branch=z9hG4bKreplay");
    let refused = desk.sends(udp(2), &replayed).unwrap();
    assert_eq!(refused.status, 407, "a nonce count is good once");
    assert!(desk.is_quiet());
}

#[test]
fn wrong_answers_are_challenged_again() {
    let mut desk = Desk::closed();
    let invite = desk.request("INVITE", CONFERENCE, "ann@example.test");
    let refused = desk.sends(tcp(1), &invite).unwrap();
    type Change = fn(&mut Request);
    let changes: [(&str, &str, Change, u16); 6] = [
        ("ann", "guess", |_| {}, 407),
        ("bob", "bob", |_| {}, 407),
        ("zoe", "zoe", |r| r.headers.set("From", "<sip:zoe@example.test>;tag=f1"), 407),
        ("ann", "ann", |r| r.uri = CHAT.parse().unwrap(), 400),
        ("ann", "ann", |r| r.headers.set("Proxy-Authorization", "Digest username=\"ann\""), 407),
        ("ann", "ann", |r| r.headers.set("Proxy-Authorization", "NTLM qop=\"auth\""), 407),
    ];
    for (name, password, change, expect) in changes {
        let mut again = desk.answering(&invite, &refused, name, password);
        change(&mut again);
        let answer = desk.sends(tcp(1), &again).unwrap();
        assert_eq!(answer.status, expect, "{name} {password}");
        assert!(desk.is_quiet());
    }
    desk.now = desk.now + std::time::Duration::from_secs(24 * 3600);
    let late = desk.answering(&invite, &refused, "ann", "ann");
    let answer = desk.sends(tcp(1), &late).unwrap();
    assert!(answer.headers.get("Proxy-Authenticate").unwrap().to_ascii_lowercase().contains("stale=true"));
    let fresh = desk.answering(&invite, &answer, "ann", "ann");
    assert!(desk.sends(tcp(1), &fresh).is_none());
    assert_eq!(focus_heard(&mut desk).0, "ann");
}

#[test]
fn the_database_is_asked_and_may_be_down() {
    let mut desk = Desk::closed();
    let invite = desk.request("INVITE", CONFERENCE, "ann@example.test");
    let refused = desk.sends(tcp(1), &invite).unwrap();
    let again = desk.answering(&invite, &refused, "ann", "ann");
    desk.database = Database::Fails;
    let answer = desk.sends(tcp(1), &again).unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.headers.get("Warning").unwrap().contains("database"));
}

/// A call of Ann's to Bob: as Bob got it, and with his answer as Ann got it.
fn call(desk: &mut Desk, ann: Flow, bob: Flow) -> (Request, confab_sip::Response) {
    let invite = desk.request("INVITE", "sip:bob@example.test", "ann@example.test");
    let refused = desk.sends(ann, &invite);
    if let Some(refused) = refused {
        let again = desk.answering(&invite, &refused, "ann", "ann");
        assert!(desk.sends(ann, &again).is_none());
    }
    let there = desk.request_at(bob);
    desk.receives(bob, answer(&there, 200, "bob"));
    let answered = desk.answer_at(ann).unwrap();
    assert_eq!(answered.status, 200);
    (there, answered)
}

#[test]
fn a_route_token_proves_its_dialog_and_nothing_else() {
    let mut desk = Desk::closed();
    proves(&mut desk, udp(1), "ann");
    proves(&mut desk, udp(2), "bob");
    let (there, answered) = call(&mut desk, udp(1), udp(2));
    let token = there.headers.get("Record-Route").unwrap().to_string();
    let dialog = |desk: &mut Desk, from: &str, to: &str| {
        let mut request = desk.request("BYE", "sip:bob@198.51.100.2", "ann@example.test");
        request.headers.set("Call-ID", answered.headers.call_id().unwrap().as_str());
        request.headers.set("From", from.to_owned());
        request.headers.set("To", to.to_owned());
        request.with_header("Route", token.clone())
    };
    let (ann, bob) =
        (there.headers.get("From").unwrap().to_string(), answered.headers.get("To").unwrap().to_string());

    let bye = dialog(&mut desk, &ann, &bob);
    assert!(desk.sends(udp(1), &bye).is_none(), "it is not challenged");
    assert_eq!(desk.request_at(udp(2)).headers.get("Route"), None);
    let bye = dialog(&mut desk, &bob, &ann);
    assert!(desk.sends(udp(2), &bye).is_none(), "nor the other way");
    desk.request_at(udp(1));

    let eve = "<sip:eve@example.test>;tag=e";
    for (flow, from, to, what) in [
        (udp(1), eve, bob.as_str(), "another's name"),
        (udp(2), eve, ann.as_str(), "another's name from the other end"),
        (udp(1), bob.as_str(), ann.as_str(), "the other end's name"),
        (udp(3), ann.as_str(), bob.as_str(), "another address"),
        (tcp(1), ann.as_str(), bob.as_str(), "another connection"),
    ] {
        let forged = dialog(&mut desk, from, to);
        assert_eq!(desk.sends(flow, &forged).unwrap().status, 407, "{what}");
    }
    let mut forged = dialog(&mut desk, &ann, &bob);
    forged.headers.set("Call-ID", "another");
    assert_eq!(desk.sends(udp(1), &forged).unwrap().status, 407, "another dialog");
    let mut forged = dialog(&mut desk, &ann, &bob);
    forged.headers.set("Route", token.replace("state:u1", "state:u3"));
    assert_eq!(desk.sends(udp(3), &forged).unwrap().status, 407, "a token that was changed");
    assert!(desk.is_quiet());
}

#[test]
fn acknowledgements_of_strangers_go_nowhere() {
    let mut desk = Desk::closed();
    proves(&mut desk, tcp(2), "bob");
    let mut ack = desk.request("ACK", "sip:bob@example.test", "ann@example.test");
    ack.headers.set("To", "<sip:bob@example.test>;tag=x");
    desk.receives(tcp(1), ack);
    assert!(desk.is_quiet());
}

#[test]
fn what_only_we_may_say_is_taken_off() {
    let mut desk = Desk::closed();
    proves(&mut desk, tcp(2), "bob");
    let invite = desk
        .request("MESSAGE", "sip:bob@example.test", "ann@example.test")
        .with_header("P-Asserted-Identity", "<sip:eve@example.test>");
    let refused = desk.sends(tcp(1), &invite).unwrap();
    let again = desk.answering(&invite, &refused, "ann", "ann");
    desk.sends(tcp(1), &again);
    let there = desk.request_at(tcp(2));
    for name in ["P-Asserted-Identity", "Proxy-Authorization", "Authorization"] {
        assert_eq!(there.headers.get(name), None, "{name}");
    }
    assert_eq!(there.headers.vias().unwrap().len(), 2);
}

#[test]
fn an_mcu_speaks_for_others_only_on_its_own_link() {
    let mut desk = Desk::closed();
    proves(&mut desk, tcp(2), "bob");
    let message = desk.request("MESSAGE", "sip:bob@example.test", "ann@example.test");
    assert!(desk.sends(MCU_FLOW, &message).is_none());
    assert_eq!(desk.request_at(tcp(2)).headers.get("From"), message.headers.get("From"));
    desk.hear(Event::FlowClosed { flow: MCU_FLOW });
    desk.done.clear();
    assert_eq!(
        desk.asks(MCU_FLOW, "MESSAGE", "sip:bob@example.test", "ann@example.test").unwrap().status,
        407
    );
    desk.hear(Event::McuLinked { server_uri: MCU.into(), flow: tcp(7) });
    assert!(desk.asks(tcp(7), "MESSAGE", "sip:bob@example.test", "ann@example.test").is_none());
}

#[test]
fn everybody_is_anybody_where_nobody_is_challenged() {
    let mut desk = Desk::open();
    for name in ["ann", "bob"] {
        assert!(desk.asks(tcp(1), "SUBSCRIBE", CONFERENCE, &format!("{name}@example.test")).is_none());
        assert_eq!(focus_heard(&mut desk), (name.into(), name.into()));
    }
    let mut named = desk.request("SUBSCRIBE", CONFERENCE, "cid@example.test");
    named.headers.set("From", "\"Cid Poe\" <sip:cid@example.test>;tag=f");
    desk.receives(tcp(1), named);
    assert_eq!(focus_heard(&mut desk).1, "Cid Poe");
    let conference = ConferenceUri::parse(CONFERENCE).unwrap();
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    assert!(matches!(&desk.done[..], [Action::ToFocus { conference: of, .. }] if *of == conference));
    assert!(
        !desk
            .done
            .iter()
            .any(|action| matches!(action, Action::Transmit { message: Message::Response(_), .. }))
    );
}
