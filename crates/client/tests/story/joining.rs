//! Steps 3, 4 and 7: joining, the roster, and how it ends.

use std::time::Duration;

use confab_client::{Command, Ending, Event, Observation, RosterChange, Undertaking};
use confab_schema::{cccp, conference_info::Role, uri::McuType};
use confab_sip::Method;

use crate::desk::*;

fn ended(reason: Ending) -> Observation {
    Observation::Ended { conference: conference(), reason }
}

#[test]
fn joins_subscribes_and_enters_the_chat() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Join { conference: conference() });
    let invite = desk.request(&Method::Invite);
    assert_eq!(invite.uri.to_string(), FOCUS);
    assert_eq!(invite.headers.to().unwrap().uri.to_string(), FOCUS);
    assert_eq!(invite.headers.from().unwrap().epid(), Some("0a1b2c3d4e5f"));
    let document = cccp::Request::parse(&invite.body).unwrap();
    let [cccp::Command::AddUser(add)] = document.commands.as_slice() else { panic!("{document:?}") };
    assert_eq!(add.keys.entity.as_deref(), Some(FOCUS));
    assert_eq!(add.user.entity, "sip:vivian@example.test");
    assert_eq!(add.user.roles, [Role::Attendee]);
    desk.admit(&invite, "presenter");
    assert_eq!(desk.said(), [Observation::Joined { conference: conference(), role: Role::Presenter }]);

    let subscribe = desk.request(&Method::Subscribe);
    for (name, token) in
        [("Event", "conference"), ("Proxy-Require", "ms-benotify"), ("Supported", "com.microsoft.autoextend")]
    {
        assert!(subscribe.headers.has_token(name, token), "{name}: {token}");
    }
    desk.reply(&subscribe, 200, &[DOCUMENT, ("Contact", "<sip:f@192.0.2.9>")], &first_document(7, ""));
    let said = desk.said();
    let [Observation::Roster { version: 7, changes }] = said.as_slice() else { panic!("{said:?}") };
    assert!(matches!(changes.as_slice(), [RosterChange::Snapshot(roster)] if roster.subject() == "Plans"));

    let chat = desk.request(&Method::Invite);
    assert_eq!(chat.uri.to_string(), CHAT);
    assert!(String::from_utf8_lossy(&chat.body).contains("m=message"));
    desk.reply(&chat, 200, &[SDP, ("Contact", "<sip:c@192.0.2.9>")], "v=0\r\n");
    desk.request(&Method::Ack);
    assert_eq!(desk.said(), [Observation::ChatOpened]);
}

#[test]
fn a_refusal_is_told_with_its_sentence() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Join { conference: conference() });
    let invite = desk.request(&Method::Invite);
    let why = r#"3014;source="fe.example.test";reason="The conference is locked.""#;
    desk.reply(&invite, 403, &[("ms-diagnostics", why)], "");
    desk.request(&Method::Ack);
    let said = desk.said();
    let [Observation::Refused { what: Undertaking::Join, refusal }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!((refusal.status, refusal.diagnostics), (403, Some(3014)));
    assert_eq!(refusal.to_string(), "The conference is locked.");
    assert!(desk.client.conference().is_none());
}

#[test]
fn a_200_that_refuses_or_makes_no_sense_is_left_again() {
    for body in ["nonsense", "failure"] {
        let mut desk = Desk::of("vivian");
        desk.wants(Command::Join { conference: conference() });
        let invite = desk.request(&Method::Invite);
        let body = if body == "failure" {
            c3p(&invite, body, "<addUser reason=\"otherFailure\"/>")
        } else {
            body.into()
        };
        desk.reply(&invite, 200, &[("Contact", "<sip:focus@192.0.2.9>")], &body);
        desk.request(&Method::Ack);
        desk.request(&Method::Bye);
        let said = desk.said();
        assert!(
            matches!(said.as_slice(), [Observation::Refused { what: Undertaking::Join, .. }]),
            "{said:?}"
        );
    }
}

#[test]
fn partial_documents_change_the_roster_and_a_gap_asks_anew() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("presenter");
    desk.said();
    let notify = |desk: &mut Desk, cseq, body: &str| {
        let headers = [DOCUMENT, ("Event", "conference"), ("Subscription-State", "active;expires=3600")];
        desk.tell(&joined.subscription, "BENOTIFY", cseq, &headers, body);
        desk.nothing_sent();
        desk.said()
    };
    // One comes, one goes; the document of version 2 comes twice.
    let second = info(
        "partial",
        2,
        &format!(
            r#"<users state="partial">{}<user entity="sip:bob@example.test" state="deleted"/></users>"#,
            person("carol", "attendee", "full", "chat")
        ),
    );
    let said = notify(&mut desk, 2, &second);
    let [Observation::Roster { version: 2, changes }] = said.as_slice() else { panic!("{said:?}") };
    let [RosterChange::Changed(carol), RosterChange::Left { user: bob }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert!(carol.is_on(McuType::Chat) && carol.role == Role::Attendee);
    assert_eq!(*bob, user("bob"));
    assert_eq!(notify(&mut desk, 3, &second), []);
    let names: Vec<_> = desk.client.roster().unwrap().participants().map(|p| p.user.to_string()).collect();
    assert_eq!(names, ["sip:vivian@example.test", "sip:carol@example.test"]);

    // Lock: told by the Focus' own view.
    let view = format!(
        r#"<msci:conference-view ci:state="partial" xmlns:ci="urn:ietf:params:xml:ns:conference-info"><msci:entity-view ci:state="full" entity="{FOCUS}"><msci:entity-state><msci:locked>true</msci:locked></msci:entity-state></msci:entity-view></msci:conference-view>"#
    );
    let said = notify(&mut desk, 4, &info("partial", 3, &view));
    let locked = RosterChange::Locked { locked: true };
    assert_eq!(said, [Observation::Roster { version: 3, changes: vec![locked] }]);

    // Version 4 is missing.
    let headers = [DOCUMENT, ("Event", "conference"), ("Subscription-State", "active;expires=3600")];
    desk.tell(&joined.subscription, "BENOTIFY", 6, &headers, &info("partial", 5, ""));
    let again = desk.request(&Method::Subscribe);
    assert_eq!(again.headers.get("Call-ID"), joined.subscription.headers.get("Call-ID"));
    assert_eq!(again.headers.cseq().unwrap().number, 2);
    desk.reply(
        &again,
        200,
        &[DOCUMENT, ("Expires", "3600")],
        &first_document(5, &person("dave", "attendee", "full", "focus")),
    );
    let said = desk.said();
    assert!(matches!(said.as_slice(), [Observation::Roster { version: 5, .. }]), "{said:?}");
    assert!(desk.client.roster().unwrap().participant(&user("dave")).is_some());
}

#[test]
fn a_full_document_that_a_partial_one_overtook_is_asked_for_once_more() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("presenter");
    let headers = [DOCUMENT, ("Event", "conference"), ("Subscription-State", "active;expires=3600")];
    let full = [DOCUMENT, ("Expires", "3600")];
    let carol = person("carol", "attendee", "full", "focus");
    // Version 2 is lost. While a full one is on its way, the next change comes, ahead of it.
    desk.tell(&joined.subscription, "BENOTIFY", 3, &headers, &info("partial", 3, ""));
    let again = desk.request(&Method::Subscribe);
    desk.tell(&joined.subscription, "BENOTIFY", 4, &headers, &info("partial", 4, ""));
    desk.nothing_sent();
    desk.reply(&again, 200, &full, &first_document(3, ""));
    let once_more = desk.request(&Method::Subscribe);
    desk.reply(&once_more, 200, &full, &first_document(4, &carol));
    desk.nothing_sent();
    assert!(desk.client.roster().unwrap().participant(&user("carol")).is_some());
}

#[test]
fn notify_is_answered_and_extends_the_subscription() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("attendee");
    let headers = [("Event", "conference"), ("Subscription-State", "active;expires=7200")];
    desk.tell(&joined.subscription, "NOTIFY", 2, &headers, "");
    desk.response(200);
    // Without the NOTIFY it would be refreshed a minute before the hour is over.
    desk.wait(Duration::from_secs(3600));
    desk.nothing_sent();
    desk.wait(Duration::from_secs(3600));
    desk.request(&Method::Subscribe);
}

#[test]
fn leaving_ends_all_dialogs() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("attendee");
    desk.said();
    desk.wants(Command::Leave);
    let chat = desk.request(&Method::Bye);
    assert_eq!(chat.headers.get("Call-ID"), joined.chat.headers.get("Call-ID"));
    let subscription = desk.request(&Method::Subscribe);
    assert_eq!(subscription.headers.expires(), Some(0));
    let focus = desk.request(&Method::Bye);
    assert_eq!(focus.headers.get("Call-ID"), joined.focus.headers.get("Call-ID"));
    assert_eq!(desk.said(), [ended(Ending::Left)]);
    // The server's own BYE may cross ours.
    desk.tell(&joined.chat, "BYE", 9, &[], "");
    desk.response(200);
    assert!(desk.client.conference().is_none());
}

#[test]
fn how_it_ends_is_told_apart() {
    let gone = info(
        "partial",
        2,
        r#"<users state="partial"><user entity="sip:vivian@example.test" state="deleted"/></users>"#,
    );
    let rejected = ("Subscription-State", "terminated;reason=rejected");
    let noresource = ("Subscription-State", "terminated;reason=noresource");
    let active = ("Subscription-State", "active;expires=3600");
    for (notification, bye, reason) in [
        (Some((active, gone.as_str())), vec![], Ending::Ejected),
        (Some((rejected, "")), vec![], Ending::Ejected),
        (None, vec![("Reason", r#"SIP;cause=403;text="removed""#)], Ending::Ejected),
        (None, vec![("ms-diagnostics", r#"3014;reason="removed""#)], Ending::Ejected),
        (Some((noresource, "")), vec![], Ending::ConferenceEnded),
        (None, vec![], Ending::ConferenceEnded),
    ] {
        let mut desk = Desk::of("vivian");
        let joined = desk.join("attendee");
        if let Some((state, body)) = notification {
            desk.tell(&joined.subscription, "BENOTIFY", 2, &[("Event", "conference"), state, DOCUMENT], body);
        }
        desk.said();
        desk.tell(&joined.focus, "BYE", 2, &bye, "");
        desk.response(200);
        assert_eq!(desk.said(), [ended(reason)]);
    }
}

#[test]
fn a_lost_flow_is_a_lost_conference() {
    let mut desk = Desk::of("vivian");
    desk.join("attendee");
    desk.said();
    desk.event(Event::FlowClosed { flow: FLOW });
    assert_eq!(desk.said(), [ended(Ending::Lost)]);
    desk.nothing_sent();
}

#[test]
fn leaving_before_being_let_in_cancels() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Join { conference: conference() });
    let invite = desk.request(&Method::Invite);
    desk.reply(&invite, 100, &[], "");
    desk.wants(Command::Leave);
    desk.request(&Method::Cancel);
    assert_eq!(desk.said(), [ended(Ending::Left)]);
    // The 200 was quicker.
    let body = c3p(&invite, "success", "<addUser/>");
    desk.reply(&invite, 200, &[("Contact", "<sip:focus@192.0.2.9>")], &body);
    desk.request(&Method::Ack);
    desk.request(&Method::Bye);
    assert_eq!(desk.said(), []);
}

#[test]
fn the_session_timer_is_kept_when_it_is_our_part() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Join { conference: conference() });
    let invite = desk.request(&Method::Invite);
    let body = c3p(&invite, "success", "<addUser/>");
    let headers = [("Contact", "<sip:focus@192.0.2.9>"), ("Session-Expires", "600;refresher=uac")];
    desk.reply(&invite, 200, &headers, &body);
    desk.request(&Method::Ack);
    let subscribe = desk.request(&Method::Subscribe);
    desk.reply(&subscribe, 200, &[("Contact", "<sip:focus@192.0.2.9>"), ("Expires", "3600")], "");
    desk.wait(Duration::from_secs(299));
    desk.nothing_sent();
    desk.wait(Duration::from_secs(1));
    let update = desk.request(&Method::Update);
    assert_eq!(
        update.headers.get("Session-Expires").map(|v| v.to_string()).as_deref(),
        Some("600;refresher=uac")
    );
    desk.reply(&update, 481, &[], "");
    assert_eq!(desk.said().last(), Some(&ended(Ending::Lost)));
}
