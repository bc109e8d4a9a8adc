//! Calls between users: proxied, forked, cancelled, and kept together by Record-Route.

use std::time::Duration;

use confab_server::front_end::Event;
use confab_sip::{Flow, Message, Method, Request, Response};

use crate::desk::{Desk, answer, tcp, tls, udp};

/// A desk where Bob is signed in by these connections.
fn with_bob_at(flows: &[Flow]) -> Desk {
    let mut desk = Desk::open();
    for (n, flow) in flows.iter().enumerate() {
        assert_eq!(desk.registers(*flow, "bob", &format!("0{n}")).status, 200);
    }
    desk.done.clear();
    desk
}

/// Ann calls Bob.
fn ann_calls(desk: &mut Desk, flow: Flow) -> Request {
    let invite = desk.request("INVITE", "sip:bob@example.test", "ann@example.test");
    desk.receives(flow, invite.clone());
    invite
}

fn statuses(messages: Vec<Message>) -> Vec<u16> {
    let status = |message| match message {
        Message::Response(response) => Some(response.status).filter(|status| *status != 100),
        Message::Request(request) => panic!("a request: {request:?}"),
    };
    messages.into_iter().filter_map(status).collect()
}

/// A request of one end within the dialog of `invite`, as the other end got it, and its 200.
fn within(desk: &mut Desk, method: &str, answered: &Response, from_caller: bool) -> Request {
    let mut request = desk.request(method, "sip:bob@198.51.100.77", "ann@example.test");
    let (from, to) = (answered.headers.get("From").unwrap(), answered.headers.get("To").unwrap());
    let mut routes: Vec<String> =
        answered.headers.all("Record-Route").map(|route| route.to_string()).collect();
    if from_caller {
        routes.reverse();
    }
    let (from, to) = if from_caller { (from, to) } else { (to, from) };
    request.headers.set("From", from.as_str());
    request.headers.set("To", to.as_str());
    request.headers.set("Call-ID", answered.headers.call_id().unwrap().as_str());
    if method == "ACK" {
        let cseq = answered.headers.cseq().unwrap().number;
        request.headers.set("CSeq", format!("{cseq} ACK"));
    }
    for route in routes {
        request.headers.push("Route", route);
    }
    request
}

#[test]
fn the_first_to_answer_wins_and_the_other_stops_ringing() {
    let mut desk = with_bob_at(&[tcp(2), tcp(3)]);
    ann_calls(&mut desk, tcp(1));
    let (two, three) = (desk.request_at(tcp(2)), desk.request_at(tcp(3)));
    assert!(two.uri.host.ends_with(".2") && three.uri.host.ends_with(".3"), "each at its own contact");
    desk.receives(tcp(2), answer(&two, 180, "two"));
    desk.receives(tcp(3), answer(&three, 180, "three"));
    assert_eq!(statuses(desk.at(tcp(1))), [180, 180]);

    desk.receives(tcp(3), answer(&three, 200, "three"));
    let answered = desk.answer_at(tcp(1)).unwrap();
    assert_eq!(answered.headers.to().unwrap().tag(), Some("three"));
    assert_eq!(answered.headers.vias().unwrap().len(), 1, "ours is off");
    let cancel = desk.request_at(tcp(2));
    assert_eq!(
        (cancel.method.clone(), cancel.headers.cseq().unwrap().number),
        (Method::Cancel, two.headers.cseq().unwrap().number)
    );
    desk.receives(tcp(2), Response::to(&cancel, 200));
    desk.receives(tcp(2), answer(&two, 487, "two"));
    assert_eq!(desk.request_at(tcp(2)).method, Method::Ack, "a refusal is acknowledged hop by hop");
    assert!(desk.is_quiet(), "Ann hears nothing of it");

    // His 200 comes again, because her ACK was lost.
    desk.receives(tcp(3), answer(&three, 200, "three"));
    assert_eq!(desk.answer_at(tcp(1)).unwrap(), answered);
    assert!(desk.is_quiet());
}

#[test]
fn both_may_answer_at_once() {
    let mut desk = with_bob_at(&[tcp(2), tcp(3)]);
    ann_calls(&mut desk, tcp(1));
    let (two, three) = (desk.request_at(tcp(2)), desk.request_at(tcp(3)));
    desk.receives(tcp(2), answer(&two, 200, "two"));
    desk.receives(tcp(3), answer(&three, 200, "three"));
    assert_eq!(statuses(desk.at(tcp(1))), [200, 200], "each is a dialog that she must end");
}

#[test]
fn refusals_wait_for_each_other_and_the_best_goes_back() {
    let mut desk = with_bob_at(&[tcp(2), tcp(3)]);
    ann_calls(&mut desk, tcp(1));
    let (two, three) = (desk.request_at(tcp(2)), desk.request_at(tcp(3)));
    desk.receives(tcp(2), answer(&two, 486, "two"));
    assert_eq!(statuses(desk.at(tcp(1))), [] as [u16; 0]);
    desk.receives(tcp(3), answer(&three, 408, "three"));
    assert_eq!(desk.answer_at(tcp(1)).unwrap().status, 486);

    ann_calls(&mut desk, tcp(1));
    desk.at(tcp(2));
    let (_, three) = ((), desk.at(tcp(3)).pop().unwrap());
    let Message::Request(three) = three else { panic!() };
    desk.hear(Event::FlowClosed { flow: tcp(2) });
    desk.receives(tcp(3), answer(&three, 603, "three"));
    assert_eq!(desk.answer_at(tcp(1)).unwrap().status, 603);
}

#[test]
fn who_gives_up_is_told_so_and_everybody_stops_ringing() {
    let mut desk = with_bob_at(&[tcp(2), tcp(3)]);
    let invite = ann_calls(&mut desk, tcp(1));
    let (two, _) = (desk.request_at(tcp(2)), desk.request_at(tcp(3)));
    desk.receives(tcp(2), answer(&two, 180, "two"));
    desk.at(tcp(1));
    let mut cancel = invite.clone();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", format!("{} CANCEL", invite.headers.cseq().unwrap().number));
    assert_eq!(desk.sends(tcp(1), &cancel).unwrap().status, 200);
    assert_eq!(desk.request_at(tcp(2)).method, Method::Cancel);
    assert!(desk.at(tcp(3)).is_empty(), "who has not answered anything is not cancelled yet");
    desk.receives(tcp(2), answer(&two, 487, "two"));
    desk.hear(Event::FlowClosed { flow: tcp(3) });
    assert_eq!(desk.answer_at(tcp(1)).unwrap().status, 487);
}

#[test]
fn a_phone_stops_ringing_when_the_caller_is_gone() {
    let mut desk = with_bob_at(&[tcp(2)]);
    ann_calls(&mut desk, tcp(1));
    let two = desk.request_at(tcp(2));
    desk.receives(tcp(2), answer(&two, 180, "two"));
    desk.at(tcp(1));
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    assert_eq!(desk.request_at(tcp(2)).method, Method::Cancel);
}

#[test]
fn nobody_rings_for_ever() {
    let mut desk = with_bob_at(&[tcp(2)]);
    ann_calls(&mut desk, tcp(1));
    let two = desk.request_at(tcp(2));
    desk.receives(tcp(2), answer(&two, 180, "two"));
    desk.at(tcp(1));
    desk.waits(Duration::from_secs(200));
    assert_eq!(desk.request_at(tcp(2)).method, Method::Cancel);
    desk.receives(tcp(2), answer(&two, 487, "two"));
    assert!(desk.answer_at(tcp(1)).unwrap().status >= 400);
}

/// ACK, INFO and BYE go from end to end, whoever sends them, with our Routes taken off.
fn check_dialog(ann: Flow, bob: Flow, record_routes: usize) {
    let mut desk = with_bob_at(&[bob]);
    ann_calls(&mut desk, ann);
    let there = desk.request_at(bob);
    let routes = there.headers.record_routes().unwrap();
    assert_eq!(routes.len(), record_routes, "{ann:?} {bob:?}");
    let transport = |at: usize| routes[at].uri.param("transport").unwrap().to_owned();
    assert_eq!(transport(0), bob.transport.to_string(), "topmost is what Bob can reach");
    assert_eq!(transport(record_routes - 1), ann.transport.to_string(), "lowest is what Ann can reach");
    let mut accepted = answer(&there, 200, "bob");
    accepted.headers.remove("Record-Route");
    for route in there.headers.all("Record-Route") {
        accepted.headers.push("Record-Route", route.clone());
    }
    desk.receives(bob, accepted);
    let answered = desk.answer_at(ann).unwrap();
    let ack = within(&mut desk, "ACK", &answered, true);
    desk.receives(ann, ack);
    let ack = desk.request_at(bob);
    assert_eq!((ack.method.clone(), ack.headers.get("Route")), (Method::Ack, None));
    for (method, from_caller) in [("INFO", true), ("INFO", false), ("BYE", false)] {
        let (near, far) = if from_caller { (ann, bob) } else { (bob, ann) };
        let request = within(&mut desk, method, &answered, from_caller);
        desk.receives(near, request);
        let there = desk.request_at(far);
        assert_eq!(there.headers.get("Route"), None);
        assert_eq!(there.headers.get("Record-Route"), None, "only what begins a dialog is recorded");
        desk.receives(far, Response::to(&there, 200));
        assert_eq!(desk.answer_at(near).unwrap().status, 200);
    }
    assert!(desk.is_quiet());
}

#[test]
fn dialogs_keep_their_way() {
    check_dialog(tcp(1), tcp(2), 1);
    check_dialog(udp(1), udp(2), 1);
    check_dialog(tcp(1), udp(2), 2);
    check_dialog(udp(1), tls(2), 2);
}

#[test]
fn messages_are_not_recorded_and_get_one_answer() {
    let mut desk = with_bob_at(&[tcp(2), tcp(3)]);
    let message = desk.request("MESSAGE", "sip:bob@example.test", "ann@example.test");
    desk.receives(tcp(1), message);
    let (two, three) = (desk.request_at(tcp(2)), desk.request_at(tcp(3)));
    assert_eq!(two.headers.get("Record-Route"), None);
    desk.receives(tcp(2), answer(&two, 200, "two"));
    desk.receives(tcp(3), answer(&three, 200, "three"));
    assert_eq!(statuses(desk.at(tcp(1))), [200]);
    assert!(desk.is_quiet(), "a MESSAGE cannot be cancelled");
}

#[test]
fn a_benotify_is_passed_on_and_forgotten() {
    let mut desk = with_bob_at(&[tcp(2), tcp(3)]);
    desk.waits(Duration::from_secs(60));
    let before = format!("{:?}", desk.machine);
    for _ in 0..3 {
        let benotify = desk.request("BENOTIFY", "sip:bob@example.test", "ann@example.test");
        desk.receives(tcp(1), benotify);
        for flow in [tcp(2), tcp(3)] {
            assert_eq!(desk.request_at(flow).method, Method::Benotify);
        }
    }
    assert_eq!(format!("{:?}", desk.machine), before, "nothing of it is kept");
    desk.waits(Duration::from_secs(300));
    assert!(desk.is_quiet());
}
