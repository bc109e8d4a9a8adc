//! Step 7: `modifyConference` to a conferencing server, and the commands that are declined.

use confab_conference::reason::Reason;
use confab_schema::{
    cccp::{Command, Request},
    conference_info::Role,
    xml::Element,
};

use crate::{answers::*, stage::*};

/// A command as it comes from the wire.
fn read(command: &str) -> Command {
    let document = format!(
        r#"<request xmlns="urn:ietf:params:xml:ns:cccp" xmlns:ci="urn:ietf:params:xml:ns:conference-info"
            xmlns:mscp="http://schemas.microsoft.com/rtc/2005/08/cccpextensions" C3PVersion="1"
            to="{CONFERENCE}" from="sip:ann@example.test" requestId="1">{command}</request>"#
    );
    Request::parse(document.as_bytes()).unwrap().commands.remove(0)
}

fn configure(mcu: &str, entity: &str) -> Command {
    read(&format!(
        r#"<modifyConference mscp:mcuUri="{mcu}"><ci:conference-info entity="{entity}" state="partial">
            <later xmlns="urn:x">kept</later></ci:conference-info></modifyConference>"#
    ))
}

fn unknown(name: &str) -> Command {
    let element = Element::new("urn:ietf:params:xml:ns:cccp", name);
    Command::Unknown { name: name.into(), element }
}

#[test]
fn settings_are_relayed_whole() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    for expect in ["success", "notSupported"] {
        stage.look();
        let command = stage.command(ann, "ann", configure(CHAT, CONFERENCE));
        let done = stage.look();
        assert!(accepted(&done, command));
        assert_eq!(finished(&done, command), None, "the server decides");
        let request = mcu_command(&done);
        let document = String::from_utf8(request.to_bytes().to_vec()).unwrap();
        assert!(document.contains("kept"), "{document}");
        match expect {
            "success" => stage.mcu_succeeds(&request),
            reason => stage.mcu_fails(&request, reason),
        }
        assert_eq!(verdict(&stage.look(), command), Some(expect));
    }
}

#[test]
fn settings_are_relayed_up_to_a_limit() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    let mut relayed = |bytes: usize| {
        let text = "x".repeat(bytes);
        let command = read(&format!(
            r#"<modifyConference mscp:mcuUri="{CHAT}"><ci:conference-info entity="{CONFERENCE}">
                <later xmlns="urn:x">{text}</later></ci:conference-info></modifyConference>"#
        ));
        stage.look();
        let command = stage.command(ann, "ann", command);
        let done = stage.look();
        assert!(accepted(&done, command));
        (mcu_commands(&done).len(), verdict(&done, command).map(str::to_owned))
    };
    assert_eq!(relayed(15 * 1024), (1, None));
    assert_eq!(relayed(16 * 1024), (0, Some("requestTooLarge".into())));
}

#[test]
fn settings_that_are_refused() {
    let check = |who: &str, ready: bool, command: Command, expect: Option<Reason>| {
        let mut stage = Stage::new();
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        if ready {
            stage.mcu_ready();
        }
        stage.look();
        let id = stage.command(if who == "ann" { ann } else { bob }, who, command.clone());
        let done = stage.look();
        assert_eq!(command_refused(&done, id), expect, "{who} {command:?}");
        assert_eq!(mcu_commands(&done).len(), usize::from(expect.is_none()));
    };
    let av = CHAT.replace("chat", "audio-video");
    check("ann", true, configure(CHAT, CONFERENCE), None);
    check("bob", true, configure(CHAT, CONFERENCE), Some(Reason::NotPresenter));
    check("ann", false, configure(CHAT, CONFERENCE), Some(Reason::McuUnavailable));
    check("ann", true, configure(&av, CONFERENCE), Some(Reason::InvalidMcu));
    check("ann", true, configure(CONFERENCE, CONFERENCE), Some(Reason::InvalidMcu));
    check("ann", true, configure(CHAT, ""), Some(Reason::InvalidConferenceEntity));
    check("ann", true, configure(CHAT, CHAT), Some(Reason::InvalidConferenceEntity));
    // The record is the factory's.
    let record =
        read(&format!(r#"<modifyConference><ci:conference-info entity="{CONFERENCE}"/></modifyConference>"#));
    check("ann", true, record, Some(Reason::CommandNotImplemented));
}

#[test]
fn what_is_declined_politely() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    for (name, leader, attendee) in [
        ("modifyConferenceAnnouncements", Ok("notSupported"), Err(Reason::NotPresenter)),
        ("endorseUser", Ok("otherFailure"), Ok("otherFailure")),
        ("modifyEndpoint", Err(Reason::CommandNotImplemented), Err(Reason::CommandNotImplemented)),
    ] {
        for (who, join, expect) in [("ann", ann, leader), ("bob", bob, attendee)] {
            stage.look();
            let command = stage.command(join, who, unknown(name));
            let done = stage.look();
            assert_eq!(accepted(&done, command), expect.is_ok(), "{who} {name}");
            assert_eq!(verdict(&done, command), expect.ok(), "{who} {name}");
            assert_eq!(command_refused(&done, command), expect.err(), "{who} {name}");
        }
    }
    assert_eq!(Reason::CommandNotImplemented.diagnostics(), Some(3004));
    let role = stage.full_document("bob").users.unwrap().users[1].roles[0];
    assert_eq!(role, Role::Attendee);
}

#[test]
fn the_state_comes_without_a_key() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let with_key = Command::GetConferenceWithKey { keys: keys(), certificate: "TUlJQg==".into() };
    let command = stage.command(ann, "ann", with_key);
    assert_eq!(verdict(&stage.look(), command), Some("success"));
}
