//! Every refusal of a Focus, each by the input that earns it.

use std::collections::BTreeMap;

use confab_conference::{
    focus::{Event, InviteId, JoinId},
    policy::Identity,
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::{
    cccp::{AddUser, Command, ConferenceKeys, Request, UserKeys},
    conference_info::{AdmissionPolicy, ConferenceInfo, Endpoint, JoiningMethod, Role},
    uri::{ConferenceUri, McuType},
    xml::Element,
};

use crate::{answers::*, stage::*};

const OTHER: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:FFFFFFFF";
const OTHER_CHAT: &str = "sip:ann@example.test;gruu;opaque=app:conf:chat:id:FFFFFFFF";
const AV: &str = "sip:ann@example.test;gruu;opaque=app:conf:audio-video:id:3E1C92F04C68";

/// `addUser` as a join, with something changed.
fn joining(change: impl FnOnce(&mut AddUser)) -> Command {
    let Command::AddUser(mut add) = add_user("eve", None, "{eve}", None) else { unreachable!() };
    change(&mut add);
    Command::AddUser(add)
}

#[test]
fn joins() {
    let check = |command: Command, expect: Option<Reason>| {
        let mut stage = Stage::new();
        let join = JoinId(1);
        stage.ask_to_join(join, "eve", Identity::Enterprise, command.clone());
        assert_eq!(join_refused(&stage.look(), join), expect, "{command:?}");
    };
    check(joining(|_| {}), None);
    check(joining(|add| add.keys.entity = Some(CONFERENCE.to_uppercase())), None);
    check(joining(|add| add.user.entity = "SIP:Eve@Example.Test;transport=tls".into()), None);
    check(joining(|add| add.user.endpoints[0].joining_method = Some(JoiningMethod::DialedIn)), None);
    check(joining(|add| add.keys.entity = None), Some(Reason::InvalidConferenceEntity));
    check(joining(|add| add.keys.entity = Some(OTHER.into())), Some(Reason::InvalidConferenceEntity));
    check(joining(|add| add.keys.entity = Some("nonsense".into())), Some(Reason::InvalidConferenceEntity));
    check(joining(|add| add.keys.entity = Some(CHAT.into())), Some(Reason::InvalidConferenceEntity));
    check(joining(|add| add.mcu_uri = Some(CHAT.into())), Some(Reason::NotForAnMcu));
    check(joining(|add| add.user.entity = "sip:bob@example.test".into()), Some(Reason::InvalidTargetUser));
    check(joining(|add| add.user.entity = "tel:+4930555".into()), Some(Reason::InvalidTargetUser));
    check(joining(|add| add.user.endpoints.clear()), Some(Reason::InvalidAddUser));
    check(joining(|add| add.user.endpoints.push(Endpoint::new("{2}"))), Some(Reason::InvalidAddUser));
    check(joining(|add| add.user.endpoints[0].entity.clear()), Some(Reason::InvalidEndpoint));
    check(give_role("eve", Role::Presenter), Some(Reason::InvalidAddUser));
    check(Command::GetConference(keys()), Some(Reason::InvalidAddUser));
}

#[test]
fn envelopes() {
    let check = |change: fn(&mut Request), expect: Option<Reason>| {
        let mut stage = Stage::new();
        let join = JoinId(1);
        let mut request = stage.request("eve", joining(|_| {}));
        change(&mut request);
        let display_name = String::new();
        let identity = Identity::Enterprise;
        stage.hear(Event::Join { join, user: user("eve"), identity, display_name, request });
        assert_eq!(join_refused(&stage.look(), join), expect);

        let eve = stage.join("eve");
        let mut request = stage.request("eve", Command::GetConference(keys()));
        change(&mut request);
        // A join needs exactly one command, an INFO is told that it is not supported.
        let expect = expect.filter(|reason| *reason != Reason::InvalidAddUser);
        let command = stage.command_with(eve, request);
        assert_eq!(command_refused(&stage.look(), command), expect);
    };
    check(|request| request.from = "SIP:EVE@example.test:5060".into(), None);
    check(|request| request.from = "sip:ann@example.test".into(), Some(Reason::BadFrom));
    check(|request| request.from.clear(), Some(Reason::BadFrom));
    check(|request| request.to = OTHER.into(), Some(Reason::BadTo));
    check(|request| request.to = CHAT.into(), Some(Reason::BadTo));
    check(|request| request.to = "sip:ann@example.test".into(), Some(Reason::BadTo));
    check(|request| request.commands.clear(), Some(Reason::InvalidAddUser));
    check(
        |request| {
            let again = request.commands[0].clone();
            request.commands.push(again);
        },
        Some(Reason::InvalidAddUser),
    );
}

#[test]
fn admissions() {
    let check = |who: &str, identity, admission, locked, expires, expect: Option<Reason>| {
        let mut stage = Stage::with(|record, _| {
            (record.admission, record.locked, record.expires) = (admission, locked, expires);
        });
        let join = JoinId(1);
        stage.ask_to_join(join, who, identity, add_user(who, None, "{1}", None));
        assert_eq!(join_refused(&stage.look(), join), expect, "{who} {identity:?} {admission:?} {locked}");
    };
    use AdmissionPolicy::{Anonymous as Key, ClosedAuthenticated as Closed, OpenAuthenticated as Open};
    use Identity::{Anonymous, Enterprise};
    let (later, past) = (Time::from_unix_secs(2_000_000), Time::from_unix_secs(1_000_000));
    check("eve", Enterprise, Open, false, later, None);
    check("eve", Enterprise, Open, false, past, Some(Reason::NoSuchConference));
    check("ann", Enterprise, Open, false, past, Some(Reason::NoSuchConference));
    check("eve", Anonymous, Open, false, later, Some(Reason::AnonymousNotAllowed));
    check("eve", Anonymous, Key, false, later, None);
    check("eve", Anonymous, Key, true, later, Some(Reason::Locked));
    check("eve", Anonymous, Key, false, past, Some(Reason::NoSuchConference));
    check("eve", Enterprise, Closed, false, later, Some(Reason::NotInvited));
    check("bob", Enterprise, Closed, false, later, None);
    check("bob", Enterprise, Open, true, later, Some(Reason::Locked));
    check("ann", Enterprise, Closed, true, later, None);
}

/// One command of Bob's, who attends, or of Ann's, who leads, with the chat server up or not.
fn commands(who: &str, ready: bool, command: Command, expect: Option<Reason>) {
    let mut stage = Stage::with(|record, _| record.media = vec![McuType::Chat]);
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    if ready {
        stage.mcu_ready();
    }
    let join = if who == "ann" { ann } else { bob };
    let id = stage.command(join, who, command.clone());
    let done = stage.look();
    assert_eq!(command_refused(&done, id), expect, "{who} {command:?}");
    assert_eq!(accepted(&done, id), expect.is_none(), "{who} {command:?}");
}

#[test]
fn rights() {
    for (command, refusal) in [
        (give_role("bob", Role::Presenter), Reason::NotPresenter),
        (lock(true), Reason::NotPresenter),
        (eject("ann"), Reason::NotPresenter),
        (Command::DeleteConference(keys()), Reason::NotPresenter),
        (call("eve"), Reason::AttendeeDialOut),
        (call("ann"), Reason::AttendeeDialOut),
    ] {
        commands("bob", true, command.clone(), Some(refusal));
        commands("ann", true, command, None);
    }
    commands("ann", true, give_role("ann", Role::Attendee), Some(Reason::OrganizerLeads));
    commands("ann", true, give_role("ann", Role::Presenter), None);
    for command in [eject("bob"), call("bob"), Command::GetConference(keys())] {
        commands("bob", true, command, None);
    }
    let mut stage = Stage::new();
    stage.join("ann");
    let command = stage.command(JoinId(77), "eve", Command::GetConference(keys()));
    assert_eq!(command_refused(&stage.look(), command), Some(Reason::NotJoined));
}

#[test]
fn dial_outs() {
    let check = |ready, change: fn(&mut AddUser), expect| {
        let Command::AddUser(mut add) = call("eve") else { unreachable!() };
        change(&mut add);
        commands("ann", ready, Command::AddUser(add), expect);
    };
    check(true, |_| {}, None);
    check(false, |_| {}, Some(Reason::McuUnavailable));
    check(true, |add| add.keys.entity = None, Some(Reason::InvalidConferenceEntity));
    check(true, |add| add.mcu_uri = None, Some(Reason::InvalidAddUser));
    for mcu in [AV, OTHER_CHAT, CONFERENCE, "nonsense"] {
        commands(
            "ann",
            true,
            add_user("eve", Some(mcu), "{1}", Some(JoiningMethod::DialedOut)),
            Some(Reason::InvalidMcu),
        );
    }
    check(true, |add| add.user.entity = "tel:+4930555".into(), Some(Reason::InvalidTargetUser));
    check(true, |add| add.user.endpoints.clear(), Some(Reason::InvalidAddUser));
    check(true, |add| add.user.endpoints.push(Endpoint::new("{2}")), Some(Reason::InvalidAddUser));
    check(true, |add| add.user.endpoints[0].entity = "x".repeat(129), Some(Reason::InvalidEndpoint));
    for (method, expect) in [
        (None, Reason::InvalidJoiningMethod),
        (Some(JoiningMethod::FocusOwner), Reason::InvalidJoiningMethod),
        // Nobody dials in for somebody else.
        (Some(JoiningMethod::DialedIn), Reason::InvalidTargetUser),
    ] {
        commands("ann", true, add_user("eve", Some(CHAT), "{1}", method), Some(expect));
    }
}

#[test]
fn calls_into_a_locked_conference() {
    let mut stage = Stage::with(|record, _| record.locked = true);
    let ann = stage.join("ann");
    stage.mcu_ready();
    let command = stage.command(ann, "ann", call("eve"));
    assert_eq!(command_refused(&stage.look(), command), Some(Reason::Locked));
    let command = stage.command(ann, "ann", call("ann"));
    assert!(accepted(&stage.look(), command), "she is in already");
    stage.now = Time::from_unix_secs(2_000_000);
    let command = stage.command(ann, "ann", call("ann"));
    assert_eq!(command_refused(&stage.look(), command), Some(Reason::NoSuchConference));
}

#[test]
fn other_commands() {
    let other_keys = || ConferenceKeys::of(OTHER);
    let other_user = || UserKeys { entity: OTHER.into(), user: "sip:bob@example.test".into() };
    let no_user = || UserKeys { entity: CONFERENCE.into(), user: "bob".into() };
    let entity = Some(Reason::InvalidConferenceEntity);
    let target = Some(Reason::InvalidTargetUser);
    let unknown = Some(Reason::CommandNotImplemented);
    let info = || Box::new(ConferenceInfo::default());
    let delete = |mcu: Option<&str>, keys| Command::DeleteUser { mcu_uri: mcu.map(str::to_owned), keys };
    let strange = Element::new("urn:ietf:params:xml:ns:cccp", "modifyEndpoint");
    for (command, expect) in [
        (Command::GetConference(other_keys()), entity),
        (Command::GetConference(ConferenceKeys::default()), entity),
        (Command::DeleteConference(other_keys()), entity),
        (Command::ModifyConferenceLock { keys: other_keys(), locked: true }, entity),
        (delete(None, other_user()), entity),
        (delete(None, no_user()), target),
        (delete(Some(AV), user_keys("bob")), Some(Reason::InvalidMcu)),
        (Command::ModifyUserRoles { keys: other_user(), roles: vec![Role::Presenter] }, entity),
        (Command::ModifyUserRoles { keys: no_user(), roles: vec![Role::Presenter] }, target),
        (Command::ModifyUserRoles { keys: user_keys("bob"), roles: vec![] }, Some(Reason::InvalidRole)),
        (
            Command::ModifyUserRoles { keys: user_keys("bob"), roles: vec![Role::Presenter, Role::Attendee] },
            Some(Reason::InvalidRole),
        ),
        (Command::GetConferencingCapabilities, unknown),
        (Command::GetAvailableMcuTypes, unknown),
        (Command::GetConferences, unknown),
        (Command::AddConference { info: info(), connection_info: vec![] }, unknown),
        (Command::ModifyConference { mcu_uri: None, info: info(), whole: None }, unknown),
        (Command::Unknown { name: "modifyEndpoint".into(), element: strange }, unknown),
    ] {
        commands("ann", true, command, expect);
    }
}

#[test]
fn invites() {
    let check = |who: &str, conference: &str, media, expect| {
        let mut stage = Stage::new();
        let ann = stage.join("ann");
        stage.mcu_ready();
        stage.command(ann, "ann", call("bob"));
        let invite = InviteId(99);
        let mcu = ConferenceUri::parse(conference).unwrap().mcu(media);
        stage.hear(Event::McuInvited { invite, user: user(who), mcu });
        assert_eq!(invite_refused(&stage.look(), invite), expect, "{who} {conference} {media}");
    };
    check("ann", CONFERENCE, McuType::Chat, None);
    check("ann", OTHER, McuType::Chat, Some(Reason::InvalidMcu));
    check("ann", CONFERENCE, McuType::Meeting, Some(Reason::MediumNotScheduled));
    check("eve", CONFERENCE, McuType::Chat, Some(Reason::NotJoined));
    check("bob", CONFERENCE, McuType::Chat, Some(Reason::NotJoined));
}

/// What each refusal looks like on the wire.
#[test]
fn wires() {
    #[rustfmt::skip]
    let table = [
        (Reason::C3pUnreadable,           400, Some(3006), "requestMalformed"),
        (Reason::BadFrom,                 400, Some(3000), "requestMalformed"),
        (Reason::BadTo,                   400, Some(3001), "requestMalformed"),
        (Reason::InvalidTargetUser,       400, Some(3002), "userDoesntExist"),
        (Reason::InvalidConferenceEntity, 400, Some(3003), "requestMalformed"),
        (Reason::CommandNotImplemented,   501, Some(3004), "notSupported"),
        (Reason::NotForAnMcu,             400, Some(3005), "requestMalformed"),
        (Reason::InvalidAddUser,          400, Some(3007), "requestMalformed"),
        (Reason::InvalidEndpoint,         400, Some(3009), "requestMalformed"),
        (Reason::NoSuchConference,        404, Some(3012), "conferenceDoesntExist"),
        (Reason::InvalidMcu,              404, Some(3013), "otherFailure"),
        (Reason::InvalidRole,             400, Some(3016), "requestMalformed"),
        (Reason::InvalidJoiningMethod,    400, Some(3018), "requestMalformed"),
        (Reason::NotInvited,              403, Some(3014), "unauthorized"),
        (Reason::AnonymousNotAllowed,     403, Some(3014), "unauthorized"),
        (Reason::AnonymousElsewhere,      403, Some(3020), "unauthorized"),
        (Reason::AnonymousNoConference,   403, Some(3021), "unauthorized"),
        (Reason::AnonymousTwice,          403, Some(3014), "unauthorized"),
        (Reason::TooManyKeys,             403, Some(3014), "unauthorized"),
        (Reason::Locked,                  403, Some(3014), "unauthorized"),
        (Reason::Full,                    403, Some(3014), "unauthorized"),
        (Reason::NotPresenter,            403, Some(3014), "unauthorized"),
        (Reason::OrganizerLeads,          403, Some(3014), "unauthorized"),
        (Reason::AttendeeDialOut,         403, Some(3015), "unauthorized"),
        (Reason::NotJoined,               403, Some(3014), "unauthorized"),
        (Reason::McuUnavailable,          480, None,       "otherFailure"),
        (Reason::MediumNotScheduled,      404, Some(3013), "mcuTypeNotAvailable"),
        (Reason::StoreUnavailable,        503, None,       "otherFailure"),
        (Reason::Busy,                    503, None,       "serverBusy"),
    ];
    let mut sentences = BTreeMap::new();
    for (reason, status, number, token) in table {
        assert_eq!(
            (reason.sip_status(), reason.diagnostics(), reason.c3p_token()),
            (status, number, token),
            "{reason:?}"
        );
        assert_eq!(reason.is_public(), number == Some(3004), "{reason:?}");
        // It is put between quotation marks on the wire.
        assert!(!reason.sentence().contains(['"', '\\']), "{reason:?}");
        assert_eq!(sentences.insert(reason.sentence(), reason), None, "each has a sentence of its own");
    }
}

#[test]
fn a_user_of_another_shape_is_still_himself() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.join("bob");
    stage.look();
    let keys = UserKeys { entity: CONFERENCE.to_lowercase(), user: "SIP:BOB@example.test;gruu".into() };
    let command = stage.command(ann, "ann", Command::DeleteUser { mcu_uri: None, keys });
    assert_eq!(verdict(&stage.look(), command), Some("success"));
    assert_eq!(stage.full_document("ann").users.unwrap().users.len(), 1);
}
