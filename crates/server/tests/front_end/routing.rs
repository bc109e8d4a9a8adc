//! Where a request goes.

use std::{collections::BTreeSet, time::Duration};

use confab_server::{
    focus_host,
    front_end::{Action, Event},
};
use confab_sip::{Message, Response};

use crate::desk::{CHAT, CONFERENCE, Desk, FACTORY, tcp};

/// Where a request of Ann's went, in a word.
fn goes(desk: &mut Desk) -> String {
    let mut places = BTreeSet::new();
    for action in std::mem::take(&mut desk.done) {
        places.insert(match action {
            Action::Transmit { message: Message::Response(response), .. } if response.status == 100 => {
                continue;
            }
            Action::Transmit { message: Message::Response(response), flow } => {
                assert_eq!(flow, tcp(1), "an answer goes to who asked");
                response.status.to_string()
            }
            Action::Transmit { message: Message::Request(_), flow } => format!("to {}", flow.id),
            Action::ToFactory { user, .. } | Action::CreateConference { user, .. } => {
                format!("factory for {}", user.user())
            }
            Action::ToFocus { event, .. } => match *event {
                focus_host::Event::Request { sender, .. } => format!("focus for {}", sender.user.user()),
                focus_host::Event::McuInvite { user, .. } => format!("mcu for {}", user.user()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
    }
    places.into_iter().collect::<Vec<_>>().join(", ")
}

#[test]
fn the_target_decides() {
    let mut desk = Desk::open();
    let gruus: Vec<String> = [2, 3]
        .map(|flow| {
            let registered = desk.registers(tcp(flow), "bob", &format!("0{flow}"));
            let contacts = registered.headers.contacts().unwrap();
            let ours = contacts.iter().find(|contact| contact.uri.host.ends_with(&flow.to_string())).unwrap();
            ours.params.unquoted("gruu").expect("an endpoint with an instance has a GRUU")
        })
        .into();
    desk.done.clear();
    for (method, uri, expect) in [
        ("SERVICE", FACTORY, "factory for ann"),
        ("INVITE", FACTORY, "factory for ann"),
        ("MESSAGE", FACTORY, "405"),
        ("INVITE", "sip:conference@example.test", "factory for ann"),
        ("INVITE", CONFERENCE, "focus for ann"),
        ("SUBSCRIBE", CONFERENCE, "focus for ann"),
        ("INFO", CONFERENCE, "focus for ann"),
        ("OPTIONS", CONFERENCE, "focus for ann"),
        ("DANCE", CONFERENCE, "focus for ann"),
        ("INVITE", CHAT, "mcu for ann"),
        ("MESSAGE", CHAT, "481"),
        ("INVITE", "sip:bob@example.test", "to 2, to 3"),
        ("MESSAGE", "sip:BOB@EXAMPLE.test", "to 2, to 3"),
        ("OPTIONS", "sip:bob@example.test", "to 2, to 3"),
        ("DANCE", "sip:bob@example.test", "to 2, to 3"),
        ("INVITE", gruus[0].as_str(), "to 2"),
        ("MESSAGE", gruus[1].as_str(), "to 3"),
        ("INVITE", "sip:cid@example.test", "404"),
        ("INVITE", "sip:bob@elsewhere.test", "404"),
        ("INVITE", "tel:+4255550100", "404"),
        ("OPTIONS", "sip:example.test", "200"),
        ("OPTIONS", "sip:192.0.2.1:5060;transport=tcp", "200"),
        ("OPTIONS", "sip:[2001:db8::1]", "200"),
        ("OPTIONS", "sip:SIP.example.test", "200"),
        ("OPTIONS", "sip:cid@example.test", "404"),
        ("OPTIONS", "sip:bob@elsewhere.test", "404"),
        ("OPTIONS", "sip:elsewhere.test", "404"),
        ("OPTIONS", "sip:notexample.test", "404"),
        ("OPTIONS", "tel:+4255550100", "404"),
        ("MESSAGE", "sip:bob@elsewhere.test", "404"),
        ("DANCE", "sip:bob@elsewhere.test", "404"),
        ("REGISTER", "sip:example.test", "200"),
        ("SUBSCRIBE", "sip:ann@example.test", "489"),
        ("PUBLISH", "sip:ann@example.test", "405"),
    ] {
        let mut request = desk.request(method, uri, "ann@example.test");
        if method == "REGISTER" {
            request.headers.set("To", "<sip:ann@example.test>");
        }
        desk.receives(tcp(1), request);
        assert_eq!(goes(&mut desk), expect, "{method} {uri}");
    }
}

#[test]
fn a_refusal_does_not_tell_who_has_an_account() {
    let mut desk = Desk::closed();
    desk.registers(tcp(1), "ann", "01");
    desk.done.clear();
    for method in ["OPTIONS", "MESSAGE", "INVITE", "INFO"] {
        // Bob has an account and is not signed in; nobody is called Zoe.
        let [bob, zoe] = ["bob", "zoe"].map(|name| {
            let request = desk.request(method, &format!("sip:{name}@example.test"), "ann@example.test");
            let answer = desk.sends(tcp(1), &request).unwrap();
            let told =
                ["Warning", "ms-diagnostics", "Allow"].map(|header| answer.headers.get(header).cloned());
            (answer.status, told)
        });
        assert_eq!(bob.0, 404, "{method}");
        assert_eq!(bob, zoe, "{method}");
    }
}

#[test]
fn what_nobody_may_send_is_refused() {
    type Change = fn(&mut confab_sip::Request);
    let mut desk = Desk::open();
    desk.registers(tcp(2), "bob", "01");
    desk.done.clear();
    let changes: [(&str, Change, &str); 11] = [
        ("sip:bob@example.test", |r| r.headers.set("Max-Forwards", "0"), "483"),
        (CONFERENCE, |r| r.headers.set("Max-Forwards", "0"), "483"),
        ("sip:bob@example.test", |r| r.headers.push("Proxy-Require", "teleport"), "420"),
        ("sip:bob@example.test", |r| r.headers.push("Require", "teleport"), "to 2"),
        (CONFERENCE, |r| r.headers.push("Require", "ms-benotify, teleport"), "420"),
        (CONFERENCE, |r| r.headers.push("Require", "ms-benotify"), "focus for ann"),
        (CHAT, |r| r.headers.push("Require", "teleport"), "420"),
        ("sip:bob@example.test", |r| r.headers.set("From", "<sip:ann@elsewhere.test>;tag=f"), "403"),
        ("sip:bob@example.test", |r| r.headers.set("From", "<tel:+1425>;tag=f"), "403"),
        ("sip:bob@example.test", |r| r.headers.push("Route", "<not a uri"), "400"),
        ("sip:bob@example.test", |r| r.headers.set("Contact", "<<>"), "400"),
    ];
    for (uri, change, expect) in changes {
        let mut request = desk.request("INVITE", uri, "ann@example.test");
        change(&mut request);
        desk.receives(tcp(1), request.clone());
        if expect == "420" {
            let answer = desk.answer_at(tcp(1)).unwrap();
            assert_eq!(
                (answer.status, answer.headers.get("Unsupported").unwrap().as_str()),
                (420, "teleport")
            );
            continue;
        }
        assert_eq!(goes(&mut desk), expect, "{:?}", request.headers);
    }
}

#[test]
fn routes_that_we_did_not_write_lead_nowhere() {
    let mut desk = Desk::open();
    desk.registers(tcp(2), "bob", "01");
    desk.done.clear();
    for route in [
        "<sip:192.0.2.1:5060;transport=tcp;opaque=state:t2-t1-00112233445566778899aabbccddeeff;lr>",
        "<sip:elsewhere.test;lr>",
        "<sip:192.0.2.1:5060;lr>",
        "<sip:192.0.2.1:5061;transport=tls;lr>, <sip:192.0.2.1:5060;lr>",
    ] {
        let request = desk.request("MESSAGE", CONFERENCE, "ann@example.test").with_header("Route", route);
        desk.receives(tcp(1), request);
        assert_eq!(goes(&mut desk), "focus for ann", "{route}");
    }
    let request = desk
        .request("MESSAGE", "sip:bob@example.test", "ann@example.test")
        .with_header("Route", "<sip:192.0.2.1:5060;lr>, <sip:192.0.2.1:5061;lr>");
    desk.receives(tcp(1), request);
    let there = desk.request_at(tcp(2));
    assert_eq!(there.headers.get("Route"), None, "ours are taken off");
    assert_eq!(there.headers.max_forwards().unwrap(), Some(69));
}

#[test]
fn a_focus_reaches_its_people_where_they_came_from_or_are_signed_in() {
    let mut desk = Desk::open();
    desk.registers(tcp(2), "bob", "01");
    desk.done.clear();
    let uri = "sip:bob@example.test";
    let send = |desk: &mut Desk, flow| {
        let request = desk.request("INFO", uri, "ann@example.test");
        let conference = confab_schema::uri::ConferenceUri::parse(CONFERENCE).unwrap();
        desk.hear(Event::Send { conference: conference.into(), id: 7, flow, request });
    };
    send(&mut desk, tcp(2));
    let there = desk.request_at(tcp(2));
    desk.receives(tcp(2), Response::to(&there, 200));
    let [Action::ToFocus { event, .. }] = &desk.done[..] else { panic!("{:?}", desk.done) };
    assert!(matches!(**event, focus_host::Event::Response { id: 7, .. }));
    desk.done.clear();

    // His old connection is gone, and he has come back.
    send(&mut desk, tcp(1));
    desk.request_at(tcp(2));
    desk.hear(Event::FlowClosed { flow: tcp(2) });
    let [Action::ToFocus { event, .. }] = &desk.done[..] else { panic!("{:?}", desk.done) };
    assert!(matches!(**event, focus_host::Event::NoResponse { id: 7 }));
    desk.done.clear();
    desk.waits(Duration::from_secs(60));
    assert!(desk.is_quiet());
}

#[test]
fn a_focus_hears_when_a_connection_or_an_acknowledgement_is_missing() {
    let mut desk = Desk::open();
    let invite = desk.request("INVITE", CONFERENCE, "ann@example.test");
    desk.receives(tcp(1), invite.clone());
    let Some(Action::ToFocus { event, .. }) = desk.done.pop() else { panic!() };
    let focus_host::Event::Request { key, .. } = *event else { panic!() };
    desk.hear(Event::Respond { key: key.clone(), response: crate::desk::answer(&invite, 200, "focus") });
    assert_eq!(desk.answer_at(tcp(1)).unwrap().status, 200);
    desk.waits(Duration::from_secs(40));
    let told = desk.done.iter().any(|action| {
        matches!(action, Action::ToFocus { event, .. } if matches!(&**event, focus_host::Event::NotAcknowledged { key: of } if *of == key))
    });
    assert!(told, "{:?}", desk.done);
    desk.done.clear();

    desk.hear(Event::FlowClosed { flow: tcp(1) });
    let [Action::ToFocus { event, .. }] = &desk.done[..] else { panic!("{:?}", desk.done) };
    assert!(matches!(**event, focus_host::Event::FlowClosed { flow } if flow == tcp(1)));
}
