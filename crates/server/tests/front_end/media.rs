//! Step 8: INVITEs to an MCU, which wait for the Focus' word.

use confab_conference::reason::Reason;
use confab_schema::uri::McuUri;
use confab_server::{
    focus_host,
    front_end::{Action, Event},
};
use confab_sip::{Flow, Method, Request, Response, ServerKey, Transport};

use crate::desk::{CHAT, Desk, MCU, MCU_FLOW, answer, tcp};

/// Ann's INVITE to the chat, which the Focus was asked about.
fn invite(desk: &mut Desk) -> (Request, ServerKey) {
    let invite = desk
        .request("INVITE", CHAT, "ann@example.test")
        .with_header("P-Asserted-Identity", "<sip:eve@example.test>");
    desk.receives(tcp(1), invite.clone());
    let Some(Action::ToFocus { event, .. }) = desk.done.pop() else { panic!("{:?}", desk.done) };
    let focus_host::Event::McuInvite { key, user, mcu } = *event else { panic!("{event:?}") };
    assert_eq!((user.user(), mcu), ("ann", McuUri::parse(CHAT).unwrap()));
    desk.is_quiet();
    assert!(desk.at(MCU_FLOW).is_empty(), "the MCU hears nothing before the Focus has spoken");
    (invite, key)
}

fn cancel(desk: &mut Desk, invite: &Request) {
    let mut cancel = invite.clone();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", format!("{} CANCEL", invite.headers.cseq().unwrap().number));
    desk.receives(tcp(1), cancel);
}

fn let_pass(desk: &mut Desk, key: &ServerKey) {
    desk.hear(Event::ForwardInvite {
        key: key.clone(),
        mcu: McuUri::parse(CHAT).unwrap(),
        server_uri: MCU.into(),
    });
}

/// The final answers to Ann by method.
fn answers(desk: &mut Desk) -> Vec<(Method, u16)> {
    let messages = desk.at(tcp(1));
    let responses = messages.into_iter().filter_map(|message| match message {
        confab_sip::Message::Response(response) if response.status >= 200 => Some(response),
        _ => None,
    });
    responses.map(|response| (response.headers.cseq().unwrap().method, response.status)).collect()
}

#[test]
fn it_goes_on_with_the_identity_we_vouch_for() {
    let mut desk = Desk::open();
    let (_, key) = invite(&mut desk);
    let_pass(&mut desk, &key);
    let there = desk.request_at(MCU_FLOW);
    let asserted: Vec<String> =
        there.headers.all("P-Asserted-Identity").map(|value| value.to_string()).collect();
    assert_eq!(asserted, ["<sip:ann@example.test>"]);
    assert_eq!(there.uri.to_string(), CHAT);
    assert_eq!(there.headers.record_routes().unwrap().len(), 1, "inside needs no address of its own");
    desk.receives(MCU_FLOW, answer(&there, 200, "mcu"));
    assert_eq!(answers(&mut desk), [(Method::Invite, 200)]);
    let_pass(&mut desk, &key);
    assert!(desk.is_quiet(), "said twice it is done once");
}

#[test]
fn the_focus_refuses() {
    let mut desk = Desk::open();
    let (_, key) = invite(&mut desk);
    desk.hear(Event::RefuseInvite { key: key.clone(), reason: Reason::NotJoined });
    let refused = desk.answer_at(tcp(1)).unwrap();
    assert_eq!(refused.status, Reason::NotJoined.sip_status());
    assert!(refused.headers.get("Warning").unwrap().contains(Reason::NotJoined.sentence()));
    let_pass(&mut desk, &key);
    assert!(desk.is_quiet());
}

#[test]
fn given_up_while_the_focus_thinks() {
    let mut desk = Desk::open();
    let (asked, key) = invite(&mut desk);
    cancel(&mut desk, &asked);
    let mut answered = answers(&mut desk);
    answered.sort_by_key(|(_, status)| *status);
    assert_eq!(answered, [(Method::Cancel, 200), (Method::Invite, 487)]);
    let_pass(&mut desk, &key);
    desk.hear(Event::RefuseInvite { key, reason: Reason::NotJoined });
    assert!(desk.is_quiet(), "the Focus' word comes too late");
}

#[test]
fn given_up_while_the_mcu_thinks() {
    let mut desk = Desk::open();
    let (asked, key) = invite(&mut desk);
    let_pass(&mut desk, &key);
    let there = desk.request_at(MCU_FLOW);
    desk.receives(MCU_FLOW, answer(&there, 180, "mcu"));
    desk.at(tcp(1));
    cancel(&mut desk, &asked);
    let given_up = desk.request_at(MCU_FLOW);
    assert_eq!(given_up.method, Method::Cancel);
    desk.receives(MCU_FLOW, Response::to(&given_up, 200));
    desk.receives(MCU_FLOW, answer(&there, 487, "mcu"));
    assert_eq!(answers(&mut desk), [(Method::Cancel, 200), (Method::Invite, 487)]);
}

#[test]
fn who_is_gone_when_the_focus_speaks_troubles_no_mcu() {
    let mut desk = Desk::open();
    let (_, key) = invite(&mut desk);
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    let_pass(&mut desk, &key);
    assert!(desk.at(MCU_FLOW).is_empty());
}

#[test]
fn an_mcu_that_is_gone_is_told_as_such() {
    let mut desk = Desk::open();
    let (_, key) = invite(&mut desk);
    desk.hear(Event::FlowClosed { flow: MCU_FLOW });
    let_pass(&mut desk, &key);
    desk.hear(Event::McuUnlinked { server_uri: MCU.into() });
    assert_eq!(desk.answer_at(tcp(1)).unwrap().status, Reason::McuUnavailable.sip_status());
}

/// Ann's dialog with the chat: the 200 as she got it, and our Route.
fn dialog(desk: &mut Desk) -> (Response, String) {
    let (_, key) = invite(desk);
    let_pass(desk, &key);
    let there = desk.request_at(MCU_FLOW);
    let route = there.headers.get("Record-Route").unwrap().to_string();
    let mut accepted = answer(&there, 200, "mcu");
    accepted.headers.set("Record-Route", route.as_str());
    desk.receives(MCU_FLOW, accepted);
    (desk.answer_at(tcp(1)).unwrap(), route)
}

/// A request in that dialog, from Ann or to her.
fn within(desk: &mut Desk, method: &str, dialog: &(Response, String), from_ann: bool) -> Request {
    let (answered, route) = dialog;
    let uri = if from_ann { CHAT } else { "sip:ann@198.51.100.1" };
    let mut request = desk.request(method, uri, "ann@example.test");
    let (from, to) = (answered.headers.get("From").unwrap(), answered.headers.get("To").unwrap());
    let (from, to) = if from_ann { (from, to) } else { (to, from) };
    request.headers.set("From", from.as_str());
    request.headers.set("To", to.as_str());
    request.headers.set("Call-ID", answered.headers.call_id().unwrap().as_str());
    request.with_header("Route", route.as_str())
}

#[test]
fn messages_and_the_end_go_along_the_token() {
    let mut desk = Desk::closed();
    assert_eq!(desk.registers(tcp(1), "ann", "01").status, 200);
    desk.done.clear();
    let dialog = dialog(&mut desk);
    // The organizer and her conference's MCU have one address; the token tells them apart.
    for (method, from_ann) in [("MESSAGE", true), ("BYE", false)] {
        let request = within(&mut desk, method, &dialog, from_ann);
        let (near, far) = if from_ann { (tcp(1), MCU_FLOW) } else { (MCU_FLOW, tcp(1)) };
        desk.receives(near, request);
        assert_eq!(desk.request_at(far).method.as_str(), method);
    }
}

#[test]
fn a_dialog_goes_on_with_the_mcu_that_took_it_over() {
    let mut desk = Desk::closed();
    assert_eq!(desk.registers(tcp(1), "ann", "01").status, 200);
    desk.done.clear();
    let dialog = dialog(&mut desk);
    let successor = Flow { id: 98, transport: Transport::Inproc };
    desk.hear(Event::FlowClosed { flow: MCU_FLOW });
    desk.hear(Event::McuLinked { server_uri: "sip:immcu2.inproc".into(), flow: successor });
    let mcu = McuUri::parse(CHAT).unwrap();
    desk.hear(Event::McuMoved { mcu, server_uri: "sip:immcu2.inproc".into() });
    for (method, from_ann) in [("MESSAGE", true), ("MESSAGE", false), ("BYE", false)] {
        let request = within(&mut desk, method, &dialog, from_ann);
        let (near, far) = if from_ann { (tcp(1), successor) } else { (successor, tcp(1)) };
        desk.receives(near, request);
        assert_eq!(desk.request_at(far).method.as_str(), method, "from Ann: {from_ann}");
    }
}
