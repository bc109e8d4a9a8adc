//! INVITEs without C3P to a conference: held until the Focus has spoken, and retargeted to the MCU it
//! names.

use confab_schema::uri::McuUri;
use confab_server::{
    focus_host,
    front_end::{Action, Event},
};
use confab_sip::{Flow, Message, Method, Request, Response, ServerKey, Transport};

use crate::desk::{CHAT, CONFERENCE, Desk, MCU, MCU_FLOW, answer, tcp};

/// What the Focus has been told since the last look, in order.
fn told(desk: &mut Desk) -> Vec<focus_host::Event> {
    let mut told = Vec::new();
    desk.done.retain(|action| match action {
        Action::ToFocus { event, .. } => {
            told.push(focus_host::Event::clone(event));
            false
        }
        _ => true,
    });
    told
}

/// Ann's INVITE, with an offer, which the Focus has been told of.
fn invite(desk: &mut Desk) -> (Request, ServerKey) {
    let mut invite = desk.request("INVITE", CONFERENCE, "ann@example.test");
    invite.set_body("application/sdp", "v=0\r\nm=message 5060 sip null\r\n".into());
    desk.receives(tcp(1), invite.clone());
    match &told(desk)[..] {
        [focus_host::Event::Request { key, .. }] => (invite, key.clone()),
        other => panic!("{other:?}"),
    }
}

fn let_pass(desk: &mut Desk, key: &ServerKey) {
    let mcu = McuUri::parse(CHAT).unwrap();
    desk.hear(Event::ForwardInvite { key: key.clone(), mcu, server_uri: MCU.into() });
}

fn cancel(desk: &mut Desk, invite: &Request) {
    let mut cancel = invite.clone();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", format!("{} CANCEL", invite.headers.cseq().unwrap().number));
    cancel.set_body("application/sdp", bytes::Bytes::new());
    desk.receives(tcp(1), cancel);
}

fn finals(desk: &mut Desk) -> Vec<(Method, u16)> {
    let responses = desk.at(tcp(1)).into_iter().filter_map(|message| match message {
        Message::Response(response) if response.status >= 200 => Some(response),
        _ => None,
    });
    responses.map(|response| (response.headers.cseq().unwrap().method, response.status)).collect()
}

/// Ann's dialog with the MCU: its 200 as she got it, and our Route.
fn dialog(desk: &mut Desk) -> (Response, String) {
    let (_, key) = invite(desk);
    let_pass(desk, &key);
    let there = desk.request_at(MCU_FLOW);
    assert_eq!(there.uri.to_string(), CHAT, "the MCU is asked under its own name");
    assert_eq!(there.headers.to().unwrap().uri.to_string(), CONFERENCE);
    assert_eq!(there.headers.get("P-Asserted-Identity").unwrap(), &"<sip:ann@example.test>");
    let route = there.headers.get("Record-Route").unwrap().to_string();
    let mut accepted = answer(&there, 200, "mcu");
    accepted.headers.set("Contact", format!("<{CONFERENCE}>;isfocus"));
    accepted.headers.set("Record-Route", route.as_str());
    desk.receives(MCU_FLOW, accepted);
    (desk.answer_at(tcp(1)).unwrap(), route)
}

fn within(desk: &mut Desk, method: &str, dialog: &(Response, String)) -> Request {
    let (answered, route) = dialog;
    let mut request = desk.request(method, CONFERENCE, "ann@example.test");
    request.headers.set("From", answered.headers.get("From").unwrap().as_str());
    request.headers.set("To", answered.headers.get("To").unwrap().as_str());
    request.headers.set("Call-ID", answered.headers.call_id().unwrap().as_str());
    request.with_header("Route", route.as_str())
}

#[test]
fn it_is_retargeted_and_its_dialog_is_with_the_mcu() {
    let mut desk = Desk::open();
    let dialog = dialog(&mut desk);
    assert_eq!(dialog.0.headers.contacts().unwrap()[0].uri.to_string(), CONFERENCE);
    for method in ["MESSAGE", "UPDATE", "BYE"] {
        let request = within(&mut desk, method, &dialog);
        desk.receives(tcp(1), request);
        assert_eq!(desk.request_at(MCU_FLOW).method.as_str(), method);
    }
    let ack = within(&mut desk, "ACK", &dialog);
    desk.receives(tcp(1), ack);
    assert_eq!(desk.request_at(MCU_FLOW).method, Method::Ack);
    assert!(told(&mut desk).is_empty(), "the Focus has no part in it");
}

#[test]
fn its_dialog_follows_the_mcu_that_took_it_over() {
    let mut desk = Desk::open();
    let dialog = dialog(&mut desk);
    let successor = Flow { id: 98, transport: Transport::Inproc };
    desk.hear(Event::FlowClosed { flow: MCU_FLOW });
    desk.hear(Event::McuLinked { server_uri: "sip:immcu2.inproc".into(), flow: successor });
    let mcu = McuUri::parse(CHAT).unwrap();
    desk.hear(Event::McuMoved { mcu, server_uri: "sip:immcu2.inproc".into() });
    let message = within(&mut desk, "MESSAGE", &dialog);
    desk.receives(tcp(1), message);
    assert_eq!(desk.request_at(successor).method, Method::Message);
}

#[test]
fn the_focus_may_answer_it_itself() {
    let mut desk = Desk::open();
    let (request, key) = invite(&mut desk);
    desk.hear(Event::Respond { key: key.clone(), response: answer(&request, 200, "focus") });
    assert_eq!(finals(&mut desk), [(Method::Invite, 200)]);
    let_pass(&mut desk, &key);
    cancel(&mut desk, &request);
    desk.at(tcp(1));
    assert!(desk.is_quiet(), "it is answered, so it goes nowhere and nobody gives it up");
}

#[test]
fn the_focus_hears_when_it_is_given_up() {
    let mut desk = Desk::open();
    let (request, key) = invite(&mut desk);
    cancel(&mut desk, &request);
    assert!(matches!(&told(&mut desk)[..], [focus_host::Event::NotAcknowledged { key: of }] if *of == key));
    let mut answered = finals(&mut desk);
    answered.sort_by_key(|(_, status)| *status);
    assert_eq!(answered, [(Method::Cancel, 200), (Method::Invite, 487)]);
    let_pass(&mut desk, &key);
    desk.hear(Event::Respond { key, response: answer(&request, 200, "focus") });
    assert!(desk.is_quiet(), "the Focus' word comes too late");
}

#[test]
fn the_focus_hears_when_its_sender_is_gone() {
    let mut desk = Desk::open();
    let (_, key) = invite(&mut desk);
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    let told = told(&mut desk);
    let gone = |event: &focus_host::Event| match event {
        focus_host::Event::NotAcknowledged { key: of } => *of == key,
        focus_host::Event::FlowClosed { flow } => *flow == tcp(1),
        _ => false,
    };
    assert!(!told.is_empty() && told.iter().all(gone), "{told:?}");
    let_pass(&mut desk, &key);
    assert!(desk.at(MCU_FLOW).is_empty());
}

#[test]
fn a_refer_in_its_dialog_is_for_the_focus() {
    let mut desk = Desk::open();
    let dialog = dialog(&mut desk);
    let refer = within(&mut desk, "REFER", &dialog).with_header("Refer-To", "<sip:bob@example.test>");
    desk.receives(tcp(1), refer);
    match &told(&mut desk)[..] {
        [focus_host::Event::Request { request, .. }] => assert_eq!(request.method, Method::Refer),
        other => panic!("{other:?}"),
    }
    assert!(desk.at(MCU_FLOW).is_empty());
}

#[test]
fn a_refer_to_a_participant_is_passed_on_and_its_notifications_find_back() {
    let mut desk = Desk::open();
    desk.registers(tcp(2), "bob", "02");
    desk.done.clear();
    let refer = desk
        .request("REFER", "sip:bob@example.test", "ann@example.test")
        .with_header("Contact", "<sip:ann@198.51.100.1:5060;transport=tcp>")
        .with_header("Refer-To", format!("<{CONFERENCE}>"));
    desk.receives(tcp(1), refer);
    let there = desk.request_at(tcp(2));
    assert_eq!(there.headers.get("Refer-To").unwrap().as_str(), format!("<{CONFERENCE}>"));
    let route = there.headers.get("Record-Route").expect("its dialog leads through here").to_string();
    let mut notify = desk.request("NOTIFY", "sip:ann@198.51.100.1:5060", "bob@example.test");
    notify.headers.set("To", there.headers.get("From").unwrap().as_str());
    notify.headers.set("Call-ID", there.headers.call_id().unwrap().as_str());
    desk.at(tcp(1));
    desk.receives(tcp(2), notify.with_header("Event", "refer").with_header("Route", route.as_str()));
    assert_eq!(desk.request_at(tcp(1)).method, Method::Notify);
}

/// The factory that phones call, and a person's own.
const FACTORIES: [&str; 2] =
    ["sip:conference@example.test", "sip:ann@example.test;gruu;opaque=app:conf:focusfactory"];

/// Ann's INVITE to a factory, and its transaction.
fn calls_factory(desk: &mut Desk, factory: &str) -> (Request, ServerKey) {
    let invite = desk.request("INVITE", factory, "ann@example.test");
    desk.receives(tcp(1), invite.clone());
    match desk.done.pop() {
        Some(Action::CreateConference { key, user, request }) => {
            assert_eq!((user.user(), request.method), ("ann", Method::Invite));
            desk.is_quiet();
            (invite, key)
        }
        other => panic!("{other:?}"),
    }
}

fn created(desk: &mut Desk, key: &ServerKey) {
    let conference = Ok(confab_schema::uri::ConferenceUri::parse(CONFERENCE).unwrap());
    desk.hear(Event::Created { key: key.clone(), conference });
}

#[test]
fn an_invite_to_a_factory_makes_a_conference_and_goes_there() {
    for factory in FACTORIES {
        let mut desk = Desk::open();
        let (_, key) = calls_factory(&mut desk, factory);
        created(&mut desk, &key);
        match &desk.done[..] {
            [Action::ToFocus { conference, event }] => {
                assert_eq!(conference.to_string(), CONFERENCE);
                assert!(matches!(&**event, focus_host::Event::Request { key: of, .. } if *of == key));
            }
            other => panic!("{other:?}"),
        }
        desk.done.clear();
        let_pass(&mut desk, &key);
        assert_eq!(desk.request_at(MCU_FLOW).uri.to_string(), CHAT);
    }
}

#[test]
fn a_factory_refuses_and_is_given_up() {
    let mut desk = Desk::open();
    let (request, key) = calls_factory(&mut desk, FACTORIES[0]);
    let conference = Err(Box::new(Response::to(&request, 503)));
    desk.hear(Event::Created { key: key.clone(), conference });
    assert_eq!(finals(&mut desk), [(Method::Invite, 503)]);
    created(&mut desk, &key);
    assert!(desk.is_quiet());

    let (request, key) = calls_factory(&mut desk, FACTORIES[0]);
    cancel(&mut desk, &request);
    let mut answered = finals(&mut desk);
    answered.sort_by_key(|(_, status)| *status);
    assert_eq!(answered, [(Method::Cancel, 200), (Method::Invite, 487)]);
    created(&mut desk, &key);
    assert!(desk.is_quiet(), "nobody is put into it");
}

#[test]
fn a_factory_takes_nothing_else_and_is_nobody() {
    let mut desk = Desk::open();
    for factory in FACTORIES {
        for (method, status) in [("MESSAGE", 405), ("SUBSCRIBE", 405), ("BYE", 405), ("OPTIONS", 200)] {
            let answer = desk.asks(tcp(1), method, factory, "ann@example.test").unwrap();
            assert_eq!(answer.status, status, "{method} {factory}");
            assert!(answer.headers.has_token("Allow", "INVITE"));
            assert_eq!(
                status == 200,
                answer.headers.get("Contact").is_some_and(|it| it.ends_with(";isfocus"))
            );
        }
    }
    let answer = desk.asks(tcp(1), "REGISTER", "sip:example.test", "conference@example.test").unwrap();
    assert_eq!(answer.status, 403);
}
