//! INVITEs without C3P: to the Focus alone, and by a medium.

use std::time::Duration;

use confab_conference::focus;
use confab_schema::{cccp, uri::McuType};
use confab_server::focus_host::{Action, Event};
use confab_sip::{Dialog, Method, Request, Response, ServerKey};

use crate::hall::{CONFERENCE, Hall, Leg, flow, header};

const CHAT: &str = "m=message 5060 sip null\r\n";
const VOICE: &str = "m=audio 4000 RTP/AVP 0\r\n";

/// An INVITE of `who` that offers `media`; nothing at all if that is `None`.
fn invite(hall: &mut Hall, who: &str, media: Option<&str>) -> Request {
    let mut request = hall.request(Method::Invite, who, who);
    if let Some(media) = media {
        request.set_body("application/sdp", format!("v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\n{media}").into());
    }
    request
}

fn body(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

fn joins_alone(hall: &mut Hall, who: &str, media: Option<&str>) -> Leg {
    let invite = invite(hall, who, media);
    hall.joins_with(1, who, invite)
}

#[test]
fn who_offers_nothing_joins_the_focus_alone() {
    for media in [None, Some(""), Some("m=audio 0 RTP/AVP 0\r\n")] {
        let mut hall = Hall::new();
        let leg = joins_alone(&mut hall, "bob", media);
        assert_eq!(hall.counted(), Some(1));
        let contact = &leg.answer.headers.contacts().unwrap()[0];
        assert_eq!((contact.uri.to_string().as_str(), contact.params.has("isfocus")), (CONFERENCE, true));
        assert_eq!(&*leg.answer.headers.content_type().unwrap().kind, "application/sdp");
        let answer = body(&leg.answer);
        assert!(answer.starts_with("v=0\r\no=- 0 1 IN IP4 sip.example.test\r\n"), "{answer}");
        assert_eq!(answer.contains("m=audio 0 RTP/AVP 0"), media.is_some_and(|media| !media.is_empty()));
        // He may watch, in the form that RFC 4575 has.
        let watch = hall.subscribes(1, "bob", "");
        let state = String::from_utf8(hall.one_sent_to(&watch).request.body.to_vec()).unwrap();
        assert!(state.contains("<conference-info") && !state.contains("confinfoextensions"), "{state}");
    }
}

#[test]
fn his_dialog_is_renegotiated_without_media() {
    let mut hall = Hall::new();
    let mut leg = joins_alone(&mut hall, "bob", None);
    let mut again = leg.dialog.request(Method::Invite);
    again.set_body("application/sdp", format!("v=0\r\n{CHAT}").into());
    let answer = hall.within(&mut leg, again);
    assert!(
        body(&answer).contains("o=- 0 2 ") && body(&answer).contains("m=message 0 sip null"),
        "{answer:?}"
    );
    let offerless = leg.dialog.request(Method::Invite);
    assert!(body(&hall.within(&mut leg, offerless)).contains("o=- 0 3 "));
    let update = leg.dialog.request(Method::Update);
    let refreshed = hall.within(&mut leg, update);
    assert_eq!((refreshed.status, refreshed.body.len()), (200, 0));
    let mut unreadable = leg.dialog.request(Method::Invite);
    unreadable.set_body("application/sdp", "nonsense".into());
    assert_eq!(hall.within(&mut leg, unreadable).status, 400);
    let bye = leg.dialog.request(Method::Bye);
    assert_eq!(hall.within(&mut leg, bye).status, 200);
    assert_eq!(hall.counted(), Some(0));
}

#[test]
fn his_session_expires_like_any_other() {
    let mut hall = Hall::new();
    let invite = invite(&mut hall, "bob", None)
        .with_header("Supported", "timer")
        .with_header("Session-Expires", "600;refresher=uac");
    let leg = hall.joins_with(1, "bob", invite);
    assert_eq!(leg.answer.headers.get("Session-Expires").unwrap(), &"600;refresher=uac");
    hall.counted();
    hall.waits(Duration::from_secs(570));
    assert_eq!(hall.one_sent_to(&leg).request.method, Method::Bye);
    assert_eq!(hall.counted(), Some(0));
}

#[test]
fn an_instance_that_joins_again_replaces_itself() {
    let mut hall = Hall::new();
    let with_instance = |hall: &mut Hall| {
        let mut invite = invite(hall, "bob", None);
        let contact =
            "<sip:bob@198.51.100.1>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\"";
        invite.headers.set("Contact", contact);
        hall.joins_with(1, "bob", invite)
    };
    let old = with_instance(&mut hall);
    let new = with_instance(&mut hall);
    assert!(header(&hall.one_sent_to(&old).request, "Reason").contains("joined the conference again"));
    assert!(hall.sent_to(&new).is_empty());
}

/// An INVITE that offers media waits for the Focus' word.
fn asks(hall: &mut Hall, from: u64, who: &str, media: &str) -> ServerKey {
    let invite = invite(hall, who, Some(media));
    hall.receives(flow(from), who, invite)
}

/// The chat server comes, and takes whom it is told to.
fn server_takes_all(hall: &mut Hall) {
    let control_url = "http://immcu.inproc/1".to_owned();
    hall.hear(Event::Focus(focus::Event::McuReady { media: McuType::Chat, control_url }));
    let adds: Vec<cccp::Request> = hall
        .done
        .iter()
        .filter_map(|action| match action {
            Action::Focus(focus::Action::CommandMcu { request, .. }) => Some(request.clone()),
            _ => None,
        })
        .collect();
    for request in adds {
        let cccp::Command::AddUser(add) = &request.commands[0] else { continue };
        let body = cccp::ResultBody::AddUser {
            keys: add.keys.clone(),
            user: Box::new(add.user.clone()),
            connection_info: vec![("Mcu-Server-Uri".into(), "sip:immcu.inproc".into())],
        };
        let response = cccp::Response::success(&request, cccp::CommandResult::new("addUser", body));
        hall.hear(Event::Focus(focus::Event::McuAnswered { media: McuType::Chat, response }));
    }
}

#[test]
fn an_offer_of_a_medium_goes_on_to_its_server() {
    let mut hall = Hall::new();
    let key = asks(&mut hall, 1, "bob", &format!("{VOICE}{CHAT}"));
    assert_eq!(hall.counted(), Some(1));
    server_takes_all(&mut hall);
    let passed = hall.done.iter().find_map(|action| match action {
        Action::ForwardInvite { key, mcu, server_uri } => Some((key, mcu.to_string(), server_uri.as_str())),
        _ => None,
    });
    let mcu = CONFERENCE.replace(":focus:", ":chat:");
    assert_eq!(passed, Some((&key, mcu, "sip:immcu.inproc")));
    hall.hear(Event::FlowClosed { flow: flow(1) });
    assert_eq!(hall.counted(), Some(0), "his connection was all he had");
}

#[test]
fn an_offer_without_a_common_medium_is_told_what_there_is() {
    let mut hall = Hall::new();
    let voice = invite(&mut hall, "bob", Some(VOICE));
    let refused = hall.asks(flow(1), "bob", voice);
    assert_eq!(refused.status, 488);
    let (warning, why) =
        (&refused.headers.get("Warning").unwrap(), &refused.headers.get("ms-diagnostics").unwrap());
    assert!(warning.starts_with("304 ") && why.contains("has instant messages"), "{warning} {why}");
    assert_eq!(hall.counted(), None);
}

#[test]
fn who_gives_up_while_the_server_is_waited_for_is_not_in() {
    let mut hall = Hall::new();
    let key = asks(&mut hall, 1, "bob", CHAT);
    hall.counted();
    hall.hear(Event::NotAcknowledged { key });
    assert_eq!(hall.counted(), Some(0));
    hall.forget();
    server_takes_all(&mut hall);
    assert!(!hall.done.iter().any(|action| matches!(action, Action::ForwardInvite { .. })));
}

#[test]
fn nobody_but_him_hears_that_his_connection_closed() {
    let mut hall = Hall::new();
    hall.joins(9, "ann");
    asks(&mut hall, 1, "bob", CHAT);
    assert_eq!(hall.counted(), Some(2));
    hall.hear(Event::FlowClosed { flow: flow(2) });
    assert_eq!(hall.counted(), None);
}

#[test]
fn options_say_that_it_is_a_focus() {
    let mut hall = Hall::new();
    let options = hall.request(Method::Options, "bob", "bob");
    let answer = hall.asks(flow(1), "bob", options);
    let contact = &answer.headers.contacts().unwrap()[0];
    assert_eq!((contact.uri.to_string().as_str(), contact.params.has("isfocus")), (CONFERENCE, true));
    for (name, token) in [
        ("Allow", "INVITE"),
        ("Allow", "SUBSCRIBE"),
        ("Supported", "timer"),
        ("Allow-Events", "conference"),
        ("Accept", "application/sdp"),
    ] {
        assert!(answer.headers.has_token(name, token), "{name}: {token}");
    }
    let invite = invite(&mut hall, "bob", None);
    let answer = hall.asks(flow(1), "bob", invite.clone());
    assert!(Dialog::from_response(&invite, &answer).is_ok());
}
