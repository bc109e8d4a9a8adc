//! Every SIP method, to everything that takes requests.

use super::{
    commands::{self, SDP},
    page::{Row, Section},
    stage::{Asks, Body, Target},
};

/// The methods there are, and one that is none.
const METHODS: [&str; 19] = [
    "REGISTER",
    "INVITE",
    // Without C3P, as any SIP phone sends it (RFC 4579).
    "INVITE, plain",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "SUBSCRIBE",
    "NOTIFY",
    "MESSAGE",
    "SERVICE",
    "BENOTIFY",
    "REFER",
    "UPDATE",
    "PRACK",
    "PUBLISH",
    "NEGOTIATE",
    "DANCE",
];

/// The rest of a request with this method, as somebody would send it who means it.
fn asks(method: &str, target: Target) -> Asks {
    let conference = matches!(target, Target::Focus | Target::InFocus);
    let cccp = "application/cccp+xml";
    let nothing = ("", "", Body::Nothing);
    let (lines, content_type, body) = match method {
        "INVITE, plain" => ("", "application/sdp", Body::Text(SDP)),
        "INVITE" if target == Target::Focus => ("", cccp, Body::Command(commands::join)),
        "INVITE" | "UPDATE" if conference => nothing,
        "INVITE" => ("", "application/sdp", Body::Text(SDP)),
        "INFO" if conference => (
            "",
            cccp,
            Body::Command(|scene| {
                format!(r#"<getConference><conferenceKeys confEntity="{}"/></getConference>"#, scene.focus)
            }),
        ),
        "INFO" => (
            "",
            "application/xml",
            Body::Text("<KeyboardActivity><status status=\"type\"/></KeyboardActivity>"),
        ),
        "SUBSCRIBE" if conference => {
            ("Event: conference\r\nAccept: application/conference-info+xml\r\n", "", Body::Nothing)
        }
        "SUBSCRIBE" => ("Event: presence\r\nAccept: application/pidf+xml\r\n", "", Body::Nothing),
        "NOTIFY" | "BENOTIFY" => ("Event: conference\r\nSubscription-State: active\r\n", "", Body::Nothing),
        "PUBLISH" => ("Event: presence\r\n", "", Body::Nothing),
        "MESSAGE" => ("", "text/plain", Body::Text("hello")),
        "SERVICE" => ("", cccp, Body::Command(|_| "<getConferences/>".into())),
        "REFER" => ("Refer-To: <sip:dan@example.test>\r\n", "", Body::Nothing),
        "PRACK" => ("RAck: 1 1 INVITE\r\n", "", Body::Nothing),
        _ => nothing,
    };
    let method = method.split(',').next().unwrap_or(method).to_owned();
    Asks { method, target, lines, content_type, body }
}

fn section(title: &'static str, says: &'static str, target: Target) -> Section {
    let row = |method: &str| Row { name: method.to_owned(), asks: asks(method, target), cells: Vec::new() };
    let rows = METHODS.map(row).into();
    Section {
        title,
        says,
        first: "method",
        needs_membership: false,
        is_the_organizers: false,
        changes: false,
        rows,
    }
}

/// The sections of the page that are about SIP.
pub fn sections() -> Vec<Section> {
    let in_focus = section(
        "Methods in a dialog with the Focus",
        "One's own; who has none writes the dialog of the attendee, every tag of it right.",
        Target::InFocus,
    );
    let in_mcu = section(
        "Methods in a dialog with an MCU",
        "The IM MCU's, one's own or the attendee's as above.",
        Target::InMcu,
    );
    vec![
        section("Methods to the server", "To `sip:DOMAIN`.", Target::Server),
        section(
            "Methods to a user",
            "To somebody who is signed in and has nothing to do with the conference.",
            Target::User,
        ),
        section("Methods to the organizer's Focus Factory", "", Target::Factory),
        section("Methods to the Focus", "In no dialog.", Target::Focus),
        section("Methods to an MCU", "To the IM MCU, in no dialog.", Target::Mcu),
        Section { needs_membership: true, ..in_focus },
        Section { needs_membership: true, ..in_mcu },
    ]
}
