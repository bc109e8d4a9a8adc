//! Every C3P command, and the ways it can be sent.

use confab_sim::deployment::DOMAIN;

use super::{
    line::KEY,
    page::{Row, Section},
    stage::{Asks, Body, Scene, Target},
};

/// What a client offers that enters the chat.
pub const SDP: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.7\r\ns=session\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
    m=message 5060 sip null\r\na=accept-types:text/plain\r\n";

/// How C3P begins.
const C3P: &str = r#"xmlns="urn:ietf:params:xml:ns:cccp" xmlns:mscp="http://schemas.microsoft.com/rtc/2005/08/cccpextensions" xmlns:ci="urn:ietf:params:xml:ns:conference-info" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions" C3PVersion="1""#;

/// A command: its name, and what it says.
type Command = (&'static str, fn(&Scene) -> String);

const COMMANDS: [Command; 31] = [
    ("addConference", |scene| add_conference(&scene.fresh)),
    ("modifyConference", |scene| {
        format!(
            r#"<modifyConference><ci:conference-info entity="" version="2"><ci:conference-description><ci:subject>Frost</ci:subject><msci:conference-id>{}</msci:conference-id></ci:conference-description></ci:conference-info></modifyConference>"#,
            scene.id
        )
    }),
    ("modifyConference to an MCU", |scene| {
        format!(
            r#"<modifyConference mscp:mcuUri="{}"><ci:conference-info entity="{}" state="partial"/></modifyConference>"#,
            scene.mcu(),
            scene.focus
        )
    }),
    ("deleteConference", |scene| {
        format!(
            r#"<deleteConference><conferenceKeys confEntity="{}" msci:conference-id="{}"/></deleteConference>"#,
            scene.focus, scene.id
        )
    }),
    ("getConference", |scene| {
        format!(
            r#"<getConference><conferenceKeys confEntity="{}" msci:conference-id="{}"/></getConference>"#,
            scene.focus, scene.id
        )
    }),
    ("getConferences", |_| "<getConferences/>".into()),
    ("getEncryptionKey", |_| "<getEncryptionKey/>".into()),
    ("getAvailableMcuTypes", |_| "<getAvailableMcuTypes/>".into()),
    ("getConferencingCapabilities", |_| "<getConferencingCapabilities/>".into()),
    ("addUser: oneself, to join", join),
    ("addUser: another, to join", |scene| user(scene, None, &person("dan"), None)),
    ("addUser: oneself, dialed in", |scene| {
        user(scene, Some(&scene.mcu()), &scene.sender, Some("dialed-in"))
    }),
    ("addUser: another, dialed in", |scene| {
        user(scene, Some(&scene.mcu()), &person("dan"), Some("dialed-in"))
    }),
    ("addUser: oneself, called", |scene| user(scene, Some(&scene.mcu()), &scene.sender, Some("dialed-out"))),
    ("addUser: another, called", |scene| {
        user(scene, Some(&scene.mcu()), &person("nobody"), Some("dialed-out"))
    }),
    ("deleteUser: oneself", |scene| delete_user(scene, &scene.sender, "")),
    ("deleteUser: the attendee", |scene| delete_user(scene, &person("bob"), "")),
    ("deleteUser: the presenter", |scene| delete_user(scene, &person("pat"), "")),
    ("deleteUser: the organizer", |scene| delete_user(scene, &person("ann"), "")),
    ("deleteUser: the attendee, from an MCU", |scene| {
        delete_user(scene, &person("bob"), &format!(r#" mscp:mcuUri="{}""#, scene.mcu()))
    }),
    ("modifyUserRoles: the attendee to presenter", |scene| roles(scene, "bob", "presenter")),
    ("modifyUserRoles: the presenter to attendee", |scene| roles(scene, "pat", "attendee")),
    ("modifyUserRoles: the organizer to attendee", |scene| roles(scene, "ann", "attendee")),
    ("modifyConferenceLock", |scene| {
        format!(
            r#"<modifyConferenceLock><conferenceKeys confEntity="{}"/><locked>true</locked></modifyConferenceLock>"#,
            scene.focus
        )
    }),
    ("modifyEndpointMedia", |scene| {
        format!(
            r#"<modifyEndpointMedia mscp:mcuUri="{}"><mediaKeys confEntity="{}" userEntity="sip:bob@{DOMAIN}" endpointEntity="{{E}}" mediaId="1"/><ci:media id="1"><ci:status>recvonly</ci:status></ci:media></modifyEndpointMedia>"#,
            scene.mcu(),
            scene.focus
        )
    }),
    ("modifyConferenceAnnouncements", |scene| {
        format!(
            r#"<modifyConferenceAnnouncements><conferenceKeys confEntity="{}"/><enabled>true</enabled></modifyConferenceAnnouncements>"#,
            scene.focus
        )
    }),
    ("endorseUser", |scene| {
        format!(
            r#"<endorseUser><userKeys confEntity="{}" userEntity="sip:dan@{DOMAIN}"/></endorseUser>"#,
            scene.focus
        )
    }),
    ("setLobbyAccess: granted", |scene| lobby_access(scene, "granted")),
    ("setLobbyAccess: denied", |scene| lobby_access(scene, "denied")),
    ("modifyEndpoint", |scene| {
        format!(
            r#"<modifyEndpoint><userKeys confEntity="{}" userEntity="sip:dan@{DOMAIN}"/></modifyEndpoint>"#,
            scene.focus
        )
    }),
    ("teleport, which does not exist", |_| "<mscp:teleport/>".into()),
];

/// A C3P request with this command.
pub fn request(from: &str, to: &str, command: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><request {C3P} from="{from}" to="{to}" requestId="1">{command}</request>"#
    )
}

/// Schedules a conference in which Pat leads, and which everybody may join who knows its key.
pub fn add_conference(id: &str) -> String {
    format!(
        r#"<addConference><ci:conference-info entity=""><ci:conference-description><ci:subject>The harbour</ci:subject><msci:conference-id>{id}</msci:conference-id><msci:conference-key>{KEY}</msci:conference-key><msci:admission-policy>anonymous</msci:admission-policy></ci:conference-description><ci:users><ci:user entity="sip:pat@{DOMAIN}"><ci:roles><ci:entry>presenter</ci:entry></ci:roles></ci:user></ci:users><msci:conference-view><msci:entity-view entity="chat"/></msci:conference-view></ci:conference-info></addConference>"#
    )
}

/// Deletes one.
pub fn delete_conference(id: &str) -> String {
    format!(r#"<deleteConference><conferenceKeys msci:conference-id="{id}"/></deleteConference>"#)
}

/// What a client joins with.
pub fn join(scene: &Scene) -> String {
    user(scene, None, &scene.sender, None)
}

/// The address of somebody who may sign in.
fn person(name: &str) -> String {
    format!("sip:{name}@{DOMAIN}")
}

fn user(scene: &Scene, mcu: Option<&str>, address: &str, method: Option<&str>) -> String {
    let mcu = mcu.map(|mcu| format!(r#" mscp:mcuUri="{mcu}""#)).unwrap_or_default();
    let method = method.map(|method| format!("<ci:joining-method>{method}</ci:joining-method>"));
    format!(
        r#"<addUser{mcu}><conferenceKeys confEntity="{}"/><ci:user entity="{address}"><ci:roles><ci:entry>attendee</ci:entry></ci:roles><ci:endpoint entity="{{E-1}}">{}</ci:endpoint></ci:user></addUser>"#,
        scene.focus,
        method.unwrap_or_default()
    )
}

fn delete_user(scene: &Scene, address: &str, mcu: &str) -> String {
    format!(
        r#"<deleteUser{mcu}><userKeys confEntity="{}" userEntity="{address}"/></deleteUser>"#,
        scene.focus
    )
}

fn roles(scene: &Scene, name: &str, role: &str) -> String {
    format!(
        r#"<modifyUserRoles><userKeys confEntity="{}" userEntity="sip:{name}@{DOMAIN}"/><ci:user-roles><ci:entry>{role}</ci:entry></ci:user-roles></modifyUserRoles>"#,
        scene.focus
    )
}

fn lobby_access(scene: &Scene, access: &str) -> String {
    format!(
        r#"<setLobbyAccess><conferenceKeys confEntity="{}"/><userEntity>sip:dan@{DOMAIN}</userEntity><access>{access}</access></setLobbyAccess>"#,
        scene.focus
    )
}

/// All commands sent in this way.
fn section(title: &'static str, says: &'static str, method: &str, target: Target) -> Section {
    let row = |(name, command): Command| Row {
        name: format!("`{}`{}", name.split([' ', ':', ',']).next().unwrap_or_default(), rest(name)),
        asks: Asks {
            method: method.to_owned(),
            target,
            lines: "",
            content_type: "application/cccp+xml",
            body: Body::Command(command),
        },
        cells: Vec::new(),
    };
    let rows = COMMANDS.into_iter().map(row).collect();
    Section {
        title,
        says,
        first: "command",
        needs_membership: false,
        is_the_organizers: false,
        changes: false,
        rows,
    }
}

/// What stands behind the command's own name.
fn rest(name: &str) -> &str {
    name.split_once([' ', ':', ',']).map_or("", |(first, _)| &name[first.len()..])
}

/// The sections of the page that are about C3P.
pub fn sections() -> Vec<Section> {
    let factory = section(
        "Commands to the organizer's Focus Factory",
        "SERVICE to `sip:ORGANIZER;gruu;opaque=app:conf:focusfactory`. Everybody has a factory of his own; this one is the organizer's.",
        "SERVICE",
        Target::Factory,
    );
    let joining = section(
        "Commands in an INVITE to the Focus",
        "Only joining is done so. Who is in already joins with one more endpoint.",
        "INVITE",
        Target::Focus,
    );
    let focus = section(
        "Commands to the Focus",
        "INFO in one's own dialog with the Focus; who has none writes the dialog of the attendee, every tag of it right.",
        "INFO",
        Target::InFocus,
    );
    let invite = section(
        "Commands in an INVITE to an MCU",
        "Clients send an MCU no commands; the Focus does.",
        "INVITE",
        Target::Mcu,
    );
    let message = section(
        "Commands in a MESSAGE to an MCU",
        "In one's own dialog with the MCU; who has none writes that of the attendee.",
        "MESSAGE",
        Target::InMcu,
    );
    vec![
        Section { is_the_organizers: true, ..factory },
        joining,
        Section { needs_membership: true, changes: true, ..focus },
        Section { needs_membership: true, ..invite },
        Section { needs_membership: true, ..message },
    ]
}
