//! People who have not signed in: what they must prove, and what they reach then.

use std::time::Duration;

use confab_conference::{conference_key::ConferenceKey, policy::Identity};
use confab_schema::uri::{ConferenceUri, McuUri};
use confab_server::{
    focus_host,
    front_end::{Action, Event},
};
use confab_sip::{Flow, Message, Request, Response, auth::Challenge};

use crate::desk::{CHAT, CONFERENCE, Database, Desk, FACTORY, MCU, MCU_FLOW, answer, tcp, tls, udp};

const GUEST: &str = "0123456789abcdef0123456789abcdef@anonymous.invalid";
const OTHER_GUEST: &str = "fedcba9876543210fedcba9876543210@anonymous.invalid";
const CLOSED: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:C105EDC105ED";
const KEY: &str = "crayon";

/// A desk at which ann's conference admits whoever knows the key, and no other does.
fn desk() -> Desk {
    let mut desk = Desk::closed();
    let conference = ConferenceUri::parse(CONFERENCE).unwrap();
    desk.keys.insert(conference, ConferenceKey::parse(KEY).unwrap());
    desk
}

fn invite(desk: &mut Desk, from: &str) -> Request {
    let mut request = desk.request("INVITE", CONFERENCE, from);
    let from = request.headers.get("From").unwrap().to_string();
    request.headers.set("From", format!("\"A Guest\" {from}"));
    request
}

/// Proves the key on this flow; what the Focus heard of it.
fn joins(desk: &mut Desk, flow: Flow, from: &str) -> focus_host::Event {
    let invite = invite(desk, from);
    let refused = desk.sends(flow, &invite).expect("a challenge");
    assert_eq!(refused.status, 401);
    let again = desk.answering(&invite, &refused, "whoever", KEY);
    let answer = desk.sends(flow, &again);
    assert!(answer.is_none(), "{answer:?}");
    heard(desk)
}

fn heard(desk: &mut Desk) -> focus_host::Event {
    match desk.done.pop() {
        Some(Action::ToFocus { event, .. }) => *event,
        other => panic!("{other:?}"),
    }
}

fn diagnostics(response: &Response) -> String {
    let value = response.headers.get("ms-diagnostics").map(ToString::to_string).unwrap_or_default();
    value.split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn the_challenge_is_the_organizers() {
    let mut desk = desk();
    let mut opaques = Vec::new();
    for method in ["INVITE", "SUBSCRIBE", "BYE"] {
        let mut request = desk.request(method, CONFERENCE, GUEST);
        let from = request.headers.get("From").unwrap().to_string();
        request.headers.set("From", format!("{from};epid=c0ffee"));
        let refused = desk.sends(tls(1), &request).unwrap();
        assert_eq!(refused.status, 401, "{method}");
        let header = refused.headers.get("WWW-Authenticate").unwrap();
        let challenge = Challenge::parse(header).unwrap();
        assert_eq!(challenge.realm, "ann@example.test");
        assert!(header.contains("algorithm=MD5-sess") && header.contains("qop=\"auth\""), "{header}");
        let opaque = challenge.opaque.unwrap();
        assert!(opaque.len() == 8 && opaque.chars().all(|c| c.is_ascii_hexdigit()), "{opaque}");
        opaques.push(opaque);
    }
    opaques.dedup();
    assert_eq!(opaques.len(), 3, "each has its own");
    assert!(desk.is_quiet(), "the Focus hears of none");
}

#[test]
fn a_plain_phone_is_not_asked_what_it_does_not_know() {
    let mut desk = desk();
    let refused = desk.asks(tls(1), "INVITE", CONFERENCE, GUEST).unwrap();
    let challenges: Vec<String> = refused.headers.all("WWW-Authenticate").map(ToString::to_string).collect();
    assert!(challenges.len() == 1 && challenges[0].contains("algorithm=MD5,"), "{challenges:?}");
}

#[test]
fn who_knows_the_key_reaches_the_conference_and_nothing_else() {
    let mut desk = desk();
    let focus_host::Event::Request { sender, .. } = joins(&mut desk, tcp(1), GUEST) else { panic!() };
    assert_eq!((sender.user.to_string(), sender.identity), (format!("sip:{GUEST}"), Identity::Anonymous));
    assert_eq!(sender.display_name, "A Guest");
    for method in ["SUBSCRIBE", "INFO", "BYE", "UPDATE", "INVITE"] {
        assert!(desk.asks(tcp(1), method, CONFERENCE, GUEST).is_none(), "{method}");
        let focus_host::Event::Request { sender, .. } = heard(&mut desk) else { panic!("{method}") };
        assert_eq!(sender.identity, Identity::Anonymous);
    }
    assert!(desk.asks(tcp(1), "INVITE", CHAT, GUEST).is_none());
    assert!(matches!(heard(&mut desk), focus_host::Event::McuInvite { user, .. } if user == sender.user));

    for (method, uri, number) in [
        ("SERVICE", FACTORY, "3020"),
        ("INVITE", FACTORY, "3020"),
        ("INVITE", "sip:bob@example.test", "3021"),
        ("MESSAGE", "sip:ann@example.test", "3021"),
        ("REGISTER", "sip:example.test", "3021"),
        ("REGISTER", "sip:anonymous.invalid", "3021"),
        ("SUBSCRIBE", "sip:0123456789abcdef0123456789abcdef@anonymous.invalid", "3021"),
        ("INVITE", "sip:ann@example.test;gruu;opaque=app:conf:focus:id:X", "3021"),
        ("OPTIONS", "sip:example.test", "3021"),
    ] {
        let refused = desk.asks(tcp(1), method, uri, GUEST).unwrap();
        assert_eq!((refused.status, diagnostics(&refused).as_str()), (403, number), "{method} {uri}");
        assert!(refused.headers.get("Warning").is_some());
    }
    assert!(desk.is_quiet());
}

#[test]
fn it_holds_on_its_connection_for_its_address_in_its_conference() {
    let mut desk = desk();
    let second = CONFERENCE.replace("3E1C92F04C68", "5EC0DD5EC0DD");
    desk.keys.insert(ConferenceUri::parse(&second).unwrap(), ConferenceKey::parse(KEY).unwrap());
    joins(&mut desk, tcp(1), GUEST);
    for (flow, from, uri) in
        [(tcp(2), GUEST, CONFERENCE), (tcp(1), OTHER_GUEST, CONFERENCE), (tcp(1), GUEST, second.as_str())]
    {
        assert_eq!(desk.asks(flow, "SUBSCRIBE", uri, from).unwrap().status, 401, "{flow:?} {from} {uri}");
    }
    // An answer to another challenge is looked at anew.
    let mut request = desk.request("SUBSCRIBE", CONFERENCE, GUEST);
    let refused = desk.asks(tcp(2), "SUBSCRIBE", CONFERENCE, GUEST).unwrap();
    request = desk.answering(&request, &refused, "whoever", "pencil");
    assert_eq!(desk.sends(tcp(1), &request).unwrap().status, 401);
    assert!(desk.is_quiet());

    desk.hear(Event::FlowClosed { flow: tcp(1) });
    assert!(matches!(heard(&mut desk), focus_host::Event::FlowClosed { .. }));
    assert_eq!(desk.asks(tcp(1), "SUBSCRIBE", CONFERENCE, GUEST).unwrap().status, 401);
}

#[test]
fn nobody_takes_the_address_of_another_who_is_in() {
    let mut desk = desk();
    joins(&mut desk, tcp(1), GUEST);
    // She has the key, too, and has read his address in the roster: he may have become a leader.
    let invite = invite(&mut desk, GUEST);
    let refused = desk.sends(tcp(2), &invite).unwrap();
    let again = desk.answering(&invite, &refused, "whoever", KEY);
    let refused = desk.sends(tcp(2), &again).unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.headers.get("Warning").unwrap().contains("under this address"));
    assert!(desk.is_quiet());
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    desk.done.clear();
    joins(&mut desk, tcp(2), GUEST);
}

#[test]
fn whether_there_is_such_a_conference_is_not_told() {
    let mut desk = desk();
    let unknown = CONFERENCE.replace("3E1C92F04C68", "00000000");
    let mut answers = Vec::new();
    for uri in [CLOSED, &unknown] {
        let request = desk.request("INVITE", uri, GUEST);
        let mut refused = desk.sends(tcp(1), &request).unwrap();
        assert_eq!((refused.status, diagnostics(&refused).as_str()), (403, "3014"), "{uri}");
        for own in ["To", "Call-ID", "CSeq", "From", "Via"] {
            refused.headers.remove(own);
        }
        answers.push(Message::from(refused).to_bytes());
    }
    assert_eq!(answers[0], answers[1]);
    desk.database = Database::Fails;
    assert_eq!(desk.asks(tcp(1), "INVITE", CONFERENCE, GUEST).unwrap().status, 503);
    assert!(desk.is_quiet());
}

#[test]
fn by_datagrams_nobody_is_anonymous() {
    let mut desk = desk();
    let refused = desk.asks(udp(1), "INVITE", CONFERENCE, GUEST).unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.headers.get("Warning").unwrap().contains("TCP or TLS"));
    assert!(desk.is_quiet());
}

/// Gives this key on this flow; the final answer, if the Focus was not asked.
fn tries(desk: &mut Desk, flow: Flow, key: &str) -> Option<Response> {
    let invite = invite(desk, GUEST);
    let refused = desk.sends(flow, &invite).unwrap();
    if refused.status != 401 {
        return Some(refused);
    }
    let again = desk.answering(&invite, &refused, "whoever", key);
    desk.sends(flow, &again)
}

#[test]
fn keys_are_not_to_be_guessed() {
    let mut desk = desk();
    // Three on a connection.
    let statuses: Vec<u16> = (0..4).map(|_| tries(&mut desk, tcp(1), "pencil").unwrap().status).collect();
    assert_eq!(statuses, [401, 401, 403, 403]);
    assert_eq!(tries(&mut desk, tcp(1), KEY).unwrap().status, 403, "not even the right one");
    // Twenty for a conference in a minute, by however many connections.
    for flow in 10..27 {
        assert_eq!(tries(&mut desk, tcp(flow), "pencil").unwrap().status, 401, "{flow}");
    }
    for key in ["pencil", KEY] {
        let refused = tries(&mut desk, tcp(30), key).unwrap();
        assert_eq!(refused.status, 403);
        assert!(refused.headers.get("Warning").unwrap().contains("Too many wrong conference keys"));
    }
    desk.waits(Duration::from_secs(61));
    desk.done.clear();
    assert!(tries(&mut desk, tcp(30), KEY).is_none());
    heard(&mut desk);
    // Who is in does not notice.
    for flow in 40..60 {
        tries(&mut desk, tcp(flow), "pencil");
    }
    assert!(desk.asks(tcp(30), "SUBSCRIBE", CONFERENCE, GUEST).is_none());
}

#[test]
fn an_mcu_reaches_them_by_their_connection() {
    let mut desk = desk();
    joins(&mut desk, tcp(1), GUEST);
    let invite = desk.request("INVITE", CHAT, GUEST).with_header("Contact", "<sip:192.0.2.99>");
    assert!(desk.sends(tcp(1), &invite).is_none());
    let focus_host::Event::McuInvite { key, .. } = heard(&mut desk) else { panic!() };
    let mcu = McuUri::parse(CHAT).unwrap();
    desk.hear(Event::ForwardInvite { key, mcu, server_uri: MCU.into() });
    let forwarded = desk.request_at(MCU_FLOW);
    assert_eq!(forwarded.headers.get("P-Asserted-Identity").unwrap().as_str(), format!("<sip:{GUEST}>"));
    assert!(forwarded.headers.get("Authorization").is_none());
    let route = forwarded.headers.get("Record-Route").unwrap().to_string();
    let mut accepted = answer(&forwarded, 200, "mcu");
    accepted.headers.set("Contact", format!("<{CHAT}>;isfocus"));
    desk.receives(MCU_FLOW, accepted);
    let to = desk.answer_at(tcp(1)).unwrap().headers.get("To").unwrap().to_string();
    // He speaks in his session, and so does the MCU.
    let mut message = desk.request("MESSAGE", CHAT, GUEST).with_header("Route", route.as_str());
    for (name, value) in [("To", &to), ("Call-ID", &invite.headers.get("Call-ID").unwrap().to_string())] {
        message.headers.set(name, value);
    }
    message.headers.set("From", invite.headers.get("From").unwrap());
    assert!(desk.sends(tcp(1), &message).is_none());
    assert_eq!(desk.request_at(MCU_FLOW).body, message.body);
    let mut bye = desk.request("BYE", "sip:192.0.2.99", GUEST).with_header("Route", route.as_str());
    bye.headers.set("From", to);
    bye.headers.set("To", invite.headers.get("From").unwrap());
    bye.headers.set("Call-ID", invite.headers.get("Call-ID").unwrap());
    desk.receives(MCU_FLOW, bye);
    assert_eq!(desk.request_at(tcp(1)).method.to_string(), "BYE");
}
