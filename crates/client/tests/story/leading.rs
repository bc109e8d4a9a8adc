//! Step 7: what leaders command.

use std::time::Duration;

use confab_client::{Command, Ending, Observation, Outcome};
use confab_schema::{
    cccp,
    conference_info::{MediaFilter, Role},
};
use confab_sip::Method;

use crate::desk::*;

fn done(command: &Command) -> Observation {
    Observation::CommandDone { command: command.clone(), outcome: Outcome::Success }
}

#[test]
fn each_command_is_its_document() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("presenter");
    desk.said();
    let bob = user("bob");
    for (command, expect) in [
        (Command::Lock { locked: true }, "modifyConferenceLock"),
        (Command::Promote { user: bob.clone() }, "modifyUserRoles"),
        (Command::Demote { user: bob.clone() }, "modifyUserRoles"),
        (Command::Eject { user: bob.clone() }, "deleteUser"),
        (Command::End, "deleteConference"),
    ] {
        desk.wants(command.clone());
        let info = desk.request(&Method::Info);
        assert_eq!(info.headers.get("Call-ID"), joined.focus.headers.get("Call-ID"));
        let document = cccp::Request::parse(&info.body).unwrap();
        assert_eq!(document.commands[0].name(), expect);
        match (&command, &document.commands[0]) {
            (Command::Promote { .. }, cccp::Command::ModifyUserRoles { keys, roles }) => {
                assert_eq!(
                    (keys.user.as_str(), roles.as_slice()),
                    ("sip:bob@example.test", &[Role::Presenter][..])
                );
            }
            (Command::Lock { .. }, cccp::Command::ModifyConferenceLock { keys, locked }) => {
                assert_eq!((keys.entity.as_deref(), *locked), (Some(FOCUS), true));
            }
            _ => {}
        }
        // First pending, then the final answer by INFO.
        let pending = c3p(&info, "pending", &format!("<{expect}/>"));
        desk.reply(&info, 202, &[], &pending);
        assert_eq!(desk.said(), []);
        let cseq = 10 + document.request_id;
        let answer = c3p_to(&document, "success", &format!("<{expect}/>"));
        desk.tell(&joined.focus, "INFO", cseq, &[("Content-Type", "application/cccp+xml")], &answer);
        desk.response(200);
        assert_eq!(desk.said(), [done(&command)]);
    }
}

#[test]
fn a_voice_is_muted_by_any_phone_of_the_person() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("presenter");
    desk.said();
    let mute = |muted| Command::Mute { user: user("bob"), muted };
    desk.wants(mute(true));
    let said = desk.said();
    let [Observation::CommandDone { outcome: Outcome::Refused(refusal), .. }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(refusal.status, 404, "he has only the chat");
    desk.nothing_sent();
    let people =
        format!(r#"<users state="partial">{}</users>"#, person("bob", "attendee", "full", "audio-video"));
    let headers = [("Event", "conference"), DOCUMENT];
    desk.tell(&joined.subscription, "BENOTIFY", 2, &headers, &info("partial", 2, &people));
    desk.said();
    for (muted, filter) in [(true, MediaFilter::Block), (false, MediaFilter::Unblock)] {
        desk.wants(mute(muted));
        let document = cccp::Request::parse(&desk.request(&Method::Info).body).unwrap();
        let [cccp::Command::ModifyEndpointMedia { mcu_uri, keys, media }] = &document.commands[..] else {
            panic!("{document:?}")
        };
        assert!(
            mcu_uri.as_deref().is_some_and(|uri| uri.contains("app:conf:audio-video:id:")),
            "{mcu_uri:?}"
        );
        assert_eq!((keys.endpoint.as_str(), keys.media.as_str()), ("{bob}", "1"));
        assert_eq!((media.ingress_filter, media.egress_filter), (Some(filter), None));
    }
}

#[test]
fn the_answer_may_come_at_once() {
    let mut desk = Desk::of("vivian");
    desk.join("presenter");
    desk.said();
    let command = Command::Lock { locked: false };
    desk.wants(command.clone());
    let info = desk.request(&Method::Info);
    let answer = c3p(&info, "success", "<modifyConferenceLock/>");
    desk.reply(&info, 200, &[], &answer);
    assert_eq!(desk.said(), [done(&command)]);
}

#[test]
fn refusals_come_as_c3p_as_sip_or_not_at_all() {
    let mut desk = Desk::of("vivian");
    desk.join("attendee");
    desk.said();
    let command = Command::Eject { user: user("nobody") };
    let refused = |desk: &mut Desk, status, token: Option<&str>| {
        let said = desk.said();
        let [Observation::CommandDone { outcome: Outcome::Refused(refusal), .. }] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!((refusal.status, refusal.token.as_deref()), (status, token));
    };
    desk.wants(command.clone());
    let info = desk.request(&Method::Info);
    let answer = c3p(&info, "failure", r#"<deleteUser reason="userDoesntExist"/>"#);
    desk.reply(&info, 200, &[], &answer);
    refused(&mut desk, 200, Some("userDoesntExist"));

    desk.wants(command.clone());
    let info = desk.request(&Method::Info);
    desk.reply(&info, 403, &[("ms-diagnostics", r#"3014;reason="Only leaders may do this.""#)], "");
    refused(&mut desk, 403, None);

    desk.wants(command);
    let info = desk.request(&Method::Info);
    desk.reply(&info, 202, &[], "");
    desk.wait(Duration::from_secs(60));
    refused(&mut desk, 408, None);
    assert!(desk.client.conference().is_some());
}

#[test]
fn the_end_of_the_meeting_is_what_end_wanted() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("presenter");
    desk.said();
    desk.wants(Command::End);
    desk.request(&Method::Info);
    desk.tell(&joined.focus, "BYE", 2, &[], "");
    desk.response(200);
    let ended = Observation::Ended { conference: conference(), reason: Ending::ConferenceEnded };
    assert_eq!(desk.said(), [done(&Command::End), ended]);
}

#[test]
fn commands_need_a_conference() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Lock { locked: true });
    let said = desk.said();
    assert!(
        matches!(said.as_slice(), [Observation::CommandDone { outcome: Outcome::Refused(_), .. }]),
        "{said:?}"
    );
    desk.nothing_sent();
}
