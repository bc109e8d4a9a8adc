//! The documents of conferencing: each sample is printed as it is read, sloppy prefixes do no
//! harm, and no damaged document brings the reader down.

use confab_machine::{Entropy, Time};
use confab_schema::{
    Malformed,
    cccp::{self, Command, Request, Response, ResultBody, connection_value},
    composing,
    conf_invite::ConfInvite,
    conference_info::{
        self, AdmissionPolicy, ConferenceInfo, EndpointStatus, JoiningMethod, MediaFilter, Role, State, View,
    },
    imdn::Imdn,
    mcu_control::{FOCUS_URL, Health, MCU_CONTROL_URL, MCU_SERVER_URI},
    uri::{ConferenceUri, McuType},
    xml::Element,
};

const FOCUS: &str = "sip:vivian@example.test;gruu;opaque=app:conf:focus:id:5F0D6A3BC1E24788";

/// Reads a document and prints it again.
type Reprint = fn(&[u8]) -> Result<Vec<u8>, Malformed>;

const REQUEST: Reprint = |document| Ok(Request::parse(document)?.to_bytes().to_vec());
const RESPONSE: Reprint = |document| Ok(Response::parse(document)?.to_bytes().to_vec());
const INFO: Reprint = |document| Ok(ConferenceInfo::parse(document)?.to_bytes(View::Microsoft).to_vec());
const PLAIN: Reprint = |document| Ok(ConferenceInfo::parse(document)?.to_bytes(View::Rfc4575).to_vec());
const HEALTH: Reprint = |document| Ok(Health::parse(document)?.to_bytes().to_vec());
const INVITE: Reprint = |document| Ok(ConfInvite::parse(document)?.to_bytes().to_vec());
const IMDN: Reprint = |document| Ok(Imdn::parse(document)?.to_bytes().to_vec());
const ELEMENT: Reprint = |document| Ok(Element::parse(document)?.to_bytes().to_vec());

macro_rules! samples {
    ($($reprint:ident $name:literal,)*) => {
        /// Every sample of conferencing, with what reads it.
        const SAMPLES: &[(&str, &str, Reprint)] =
            &[$(($name, include_str!(concat!("../samples/", $name, ".xml")), $reprint),)*];
    };
}

samples! {
    REQUEST "cccp-capabilities-request",
    RESPONSE "cccp-capabilities-response",
    RESPONSE "cccp-mcu-types-response",
    REQUEST "cccp-add-conference-request",
    RESPONSE "cccp-add-conference-response",
    REQUEST "cccp-provision-request",
    RESPONSE "cccp-provision-response",
    REQUEST "cccp-join-request",
    RESPONSE "cccp-join-response",
    REQUEST "cccp-dial-out-request",
    RESPONSE "cccp-dial-in-response",
    REQUEST "cccp-delete-user-request",
    RESPONSE "cccp-delete-user-pending",
    RESPONSE "cccp-delete-user-failure",
    REQUEST "cccp-roles-request",
    REQUEST "cccp-lock-request",
    REQUEST "cccp-lobby-request",
    REQUEST "cccp-several-request",
    REQUEST "cccp-modify-request",
    REQUEST "cccp-modify-mcu-request",
    REQUEST "cccp-mute-request",
    REQUEST "cccp-mute-all-request",
    REQUEST "cccp-key-request",
    RESPONSE "cccp-endorse-failure",
    RESPONSE "cccp-conferences-response",
    INFO "conference-info-full",
    INFO "conference-info-partial",
    INFO "conference-info-voices",
    INFO "conference-info-calls",
    PLAIN "conference-info-rfc4575",
    HEALTH "mcu-health",
    INVITE "conf-invite",
    IMDN "imdn",
}

/// The sample as it is on the wire: without line breaks and indentation.
fn sample(name: &str) -> String {
    let (_, text, _) = SAMPLES.iter().find(|sample| sample.0 == name).expect(name);
    text.lines().map(str::trim).fold(String::new(), |mut wire, line| {
        if !wire.is_empty() && !wire.ends_with('>') {
            wire.push(' ');
        }
        wire + line
    })
}

fn request(name: &str) -> Request {
    Request::parse(sample(name).as_bytes()).expect(name)
}

fn command(name: &str) -> Command {
    request(name).commands.remove(0)
}

fn result(name: &str) -> ResultBody {
    Response::parse(sample(name).as_bytes()).expect(name).results.remove(0).body
}

fn info(name: &str) -> ConferenceInfo {
    ConferenceInfo::parse(sample(name).as_bytes()).expect(name)
}

#[test]
fn every_sample_is_printed_as_it_is_read() {
    for (name, text, reprint) in SAMPLES {
        let wire = sample(name);
        assert_eq!(String::from_utf8(reprint(wire.as_bytes()).unwrap()).unwrap(), wire, "{name}");
        let indented = reprint(text.as_bytes()).unwrap();
        assert_eq!(reprint(&indented).unwrap(), indented, "{name}, indented");
    }
}

#[test]
fn a_scheduled_conference_is_read() {
    let request = request("cccp-add-conference-request");
    assert_eq!((request.request_id, &*request.from), (2, "sip:vivian@example.test"));
    let Command::AddConference { info, connection_info } = &request.commands[0] else { panic!() };
    assert!(connection_info.is_empty());
    let description = info.description.as_ref().unwrap();
    assert_eq!(description.display_text.as_deref(), Some("Numbers & plans"));
    assert_eq!(description.conference_id.as_deref(), Some("5F0D6A3BC1E24788"));
    assert_eq!(description.expiry, Some(Time::from_unix_secs(1_801_418_400)));
    assert_eq!(description.admission, Some(AdmissionPolicy::ClosedAuthenticated));
    let data = description.notification_data.as_ref().unwrap();
    assert_eq!(data.any_child("agenda").and_then(|agenda| agenda.attr("items")), Some("3"));
    assert_eq!(info.conference_state.as_ref().unwrap().locked, Some(false));
    let roles: Vec<_> = info.users.iter().flat_map(|users| &users.users).map(|user| user.roles[0]).collect();
    assert_eq!(roles, [Role::Presenter, Role::Attendee]);
    let views = &info.view.as_ref().unwrap().entity_views;
    assert_eq!(McuType::parse(&views[1].entity), Ok(McuType::AudioVideo));
}

#[test]
fn commands_are_read() {
    let Command::AddUser(join) = command("cccp-join-request") else { panic!() };
    assert_eq!((join.mcu_uri, join.keys.entity.as_deref()), (None, Some(FOCUS)));
    assert_eq!(join.user.endpoints[0].entity, "{0B6A2D61-7D0C-4C55-9E7B-5D1B7A3F9C10}");

    let Command::AddUser(call) = command("cccp-dial-out-request") else { panic!() };
    assert_eq!(call.mcu_uri, Some(FOCUS.replace("focus", "audio-video")));
    let endpoint = &call.user.endpoints[0];
    assert_eq!(endpoint.joining_method, Some(JoiningMethod::DialedOut));
    assert_eq!(endpoint.endpoint_uri.as_deref(), Some("tel:+4930555123"));
    assert_eq!(endpoint.media[0].label.as_deref(), Some("main-audio"));

    let Command::ModifyUserRoles { keys, roles } = command("cccp-roles-request") else { panic!() };
    assert_eq!((&*keys.entity, &*keys.user, roles), (FOCUS, "sip:bob@example.test", vec![Role::Presenter]));

    let Command::DeleteUser { mcu_uri: Some(_), .. } = command("cccp-delete-user-request") else { panic!() };
    let Command::ModifyConferenceLock { locked: true, .. } = command("cccp-lock-request") else { panic!() };

    let Command::ModifyConference { mcu_uri: None, info, whole: None } = command("cccp-modify-request")
    else {
        panic!()
    };
    assert_eq!((info.version, info.view), (4, None));
    assert_eq!(info.description.unwrap().lobby, Some(true));
    let Command::ModifyConference { mcu_uri, whole, .. } = command("cccp-modify-mcu-request") else {
        panic!()
    };
    assert_eq!(mcu_uri, Some(FOCUS.replace("focus", "audio-video")));
    // It is there for a server that knows more than this crate.
    assert!(String::from_utf8(whole.unwrap().to_bytes().to_vec()).unwrap().contains("initialFilters"));
    let Command::GetConferenceWithKey { keys, certificate } = command("cccp-key-request") else { panic!() };
    assert_eq!((keys.conference_id.as_deref(), &*certificate), (Some("5F0D6A3BC1E24788"), "TUlJQg=="));

    let several = request("cccp-several-request");
    let Command::GetConference(keys) = &several.commands[0] else { panic!() };
    assert_eq!(keys.conference_id.as_deref(), Some("5F0D6A3BC1E24788"));
    let Command::SetLobbyAccess { keys, users, granted: false } = &several.commands[5] else { panic!() };
    assert_eq!((keys.entity.as_deref(), users.as_slice()), (None, &["sip:eve@example.test".to_owned()][..]));
    let Command::SetLobbyAccess { keys, users, granted: true } = command("cccp-lobby-request") else {
        panic!()
    };
    assert_eq!((keys.entity.as_deref(), users.len()), (Some(FOCUS), 2));
    let perhaps = sample("cccp-lobby-request").replace("granted", "perhaps");
    assert!(Request::parse(perhaps.as_bytes()).is_err(), "nobody is let in by mistake");
}

#[test]
fn results_are_read() {
    let ResultBody::Capabilities(capabilities) = result("cccp-capabilities-response") else { panic!() };
    assert_eq!((capabilities.version, capabilities.mcu_types), (1, McuType::ALL.to_vec()));
    let ResultBody::Conference(created) = result("cccp-add-conference-response") else { panic!() };
    assert_eq!((&*created.entity, created.version), (FOCUS, 1));
    let ResultBody::Provisioned { connection_info, .. } = result("cccp-provision-response") else { panic!() };
    assert!(connection_value(&connection_info, MCU_CONTROL_URL).is_some());
    let ResultBody::AddUser { user, connection_info, .. } = result("cccp-dial-in-response") else { panic!() };
    assert_eq!(user.endpoints[0].joining_method, Some(JoiningMethod::DialedIn));
    let server = connection_value(&connection_info, &MCU_SERVER_URI.to_lowercase());
    assert_eq!(server, Some("sip:mcu.example.test:5062;transport=tls"));
    let ResultBody::Conferences(all) = result("cccp-conferences-response") else { panic!() };
    assert_eq!(all.len(), 2);
    let Command::AddConference { connection_info, .. } = command("cccp-provision-request") else { panic!() };
    assert!(connection_value(&connection_info, FOCUS_URL).is_some());
}

#[test]
fn a_roster_is_read() {
    let full = info("conference-info-full");
    assert_eq!((full.state, full.version), (State::Full, 1));
    let dora = &full.users.as_ref().unwrap().users[1].endpoints[0];
    assert_eq!(dora.session_type.as_deref(), Some("audio-video"));
    assert_eq!(dora.status, Some(EndpointStatus::Alerting));
    assert_eq!(dora.joining_info.as_ref().unwrap().by.as_deref(), Some("sip:vivian@example.test"));
    assert_eq!(dora.media[0].ingress_filter, Some(MediaFilter::Block));
    let chat = &full.view.as_ref().unwrap().entity_views[1];
    assert_eq!((chat.locked, &*chat.media[0].kind), (Some(true), "chat"));

    let partial = info("conference-info-partial");
    assert_eq!(partial.state, State::Partial);
    assert_eq!(partial.users.unwrap().users[0].state, State::Deleted);
    assert_eq!(partial.view.unwrap().entity_views[0].state, State::Deleted);

    let json = serde_json::to_string(&full).unwrap();
    assert_eq!(serde_json::from_str::<ConferenceInfo>(&json).unwrap(), full);
}

#[test]
fn the_plain_view_is_rfc_4575() {
    let plain = info("conference-info-full").to_bytes(View::Rfc4575);
    assert_eq!(String::from_utf8(plain.to_vec()).unwrap(), sample("conference-info-rfc4575"));
}

/// What the documents of real clients and servers do with prefixes.
#[test]
fn sloppy_prefixes_do_no_harm() {
    let check = |name: &str, change: &dyn Fn(String) -> String| {
        let (_, _, reprint) = SAMPLES.iter().find(|sample| sample.0 == name).unwrap();
        let changed = change(sample(name));
        assert_ne!(changed, sample(name));
        let printed = String::from_utf8(reprint(changed.as_bytes()).unwrap()).unwrap();
        assert_eq!(printed, sample(name), "{changed}");
    };
    let no_msci = |text: String| text.replace("msci:", "");
    let no_ci = |text: String| text.replace(&format!(" xmlns=\"{}\"", conference_info::NAMESPACE), "");
    let no_mscp = |text: String| text.replace("mscp:mcuUri", "mcuUri").replace("mscp:", "");
    check("conference-info-full", &no_msci);
    check("conference-info-full", &|text| text.replace("ci:state", "state"));
    check("conference-info-partial", &no_msci);
    check("cccp-add-conference-request", &no_msci);
    check("cccp-add-conference-request", &no_ci);
    check("cccp-join-request", &no_ci);
    check("cccp-dial-out-request", &no_ci);
    check("cccp-dial-out-request", &no_mscp);
    check("cccp-dial-in-response", &no_mscp);
    check("cccp-roles-request", &no_ci);
    check("cccp-several-request", &|text| text.replace("msci:conference-id", "conference-id"));
    check("conference-info-full", &|text| {
        text.replace("<users", "<later xmlns='urn:x'><users/></later><users")
    });
}

/// As pidgin-sipe writes it: prefixes declared where they are used, attributes in any order.
#[test]
fn a_clients_own_form_is_read() {
    let request = Request::parse(
        br#"<?xml version="1.0"?><request xmlns="urn:ietf:params:xml:ns:cccp" C3PVersion="1" to="sip:f" from="sip:a"
        requestId="1"><addConference><ci:conference-info xmlns:ci="urn:ietf:params:xml:ns:conference-info" entity=""
        xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions"><ci:conference-description><ci:subject/>
        <msci:conference-id>0123456789ABCDEF</msci:conference-id></ci:conference-description><msci:conference-view>
        <msci:entity-view entity="chat"/></msci:conference-view></ci:conference-info></addConference></request>"#,
    )
    .unwrap();
    let Command::AddConference { info, .. } = &request.commands[0] else { panic!() };
    let description = info.description.as_ref().unwrap();
    assert_eq!(description.subject.as_deref(), Some(""));
    assert_eq!(description.conference_id.as_deref(), Some("0123456789ABCDEF"));
    assert_eq!(info.view.as_ref().unwrap().entity_views[0].entity, "chat");
}

#[test]
fn what_must_not_be_misread_is_refused() {
    let full = sample("conference-info-full");
    let check = |from: &str, to: &str, expect: &str| {
        assert!(full.contains(from));
        let error = ConferenceInfo::parse(full.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(">anonymous<", ">invitedOnly<", "admission policy");
    check("<msci:locked>true", "<msci:locked>perhaps", "true or false");
    check("state=\"full\"", "state=\"some\"", "no state");
    check("version=\"1\"", "version=\"-1\"", "no version");
    check("2027-01-31T", "someday ", "date and time");
    check("<user entity=\"sip:vivian@example.test\"", "<user", "no attribute entity");
    check("<conference-info xmlns=\"urn:ietf", "<conference-info xmlns=\"urn:else", "no conference-info");
}

#[test]
fn the_small_documents_are_read() {
    let invite = ConfInvite::parse(sample("conf-invite").as_bytes()).unwrap();
    assert_eq!(invite.focus_uri, ConferenceUri::parse(FOCUS).unwrap());
    assert_eq!((invite.im_available, invite.audio_available), (true, true));
    let silent = ConfInvite { im_available: false, audio_available: false, ..invite };
    assert_eq!(ConfInvite::parse(&silent.to_bytes()), Ok(silent));
    assert!(
        ConfInvite::parse(b"<Conferencing><focus-uri>sip:ann@example.test</focus-uri></Conferencing>")
            .is_err()
    );
    assert!(ConfInvite::parse(b"<Conferencing/>").is_err());

    let imdn = Imdn::parse(sample("imdn").as_bytes()).unwrap();
    assert_eq!(imdn.recipients[0].uri, "sip:bob@example.test;opaque=user:epid:abc;gruu");
    assert_eq!((imdn.recipients[0].status, imdn.recipients[1].status), (Some(408), None));

    let health = Health::parse(sample("mcu-health").as_bytes()).unwrap();
    assert_eq!((health.media, health.participants), (McuType::Chat, 345));
    assert!(Health::parse(sample("mcu-health").replace("loaded", "idle").as_bytes()).is_err());
}

/// Damages every sample in hundreds of ways: nothing panics, and what is still read is printed in a
/// form that is stable.
#[test]
fn damaged_documents_do_no_harm() {
    const ROUNDS: u32 = 400;
    let mut entropy = Entropy::from_seed(*b"conference documents, damaged...");
    for (name, _, reprint) in SAMPLES {
        let whole = sample(name).into_bytes();
        for round in 0..ROUNDS {
            let mut document = whole.clone();
            for _ in 0..=round % 4 {
                damage(&mut document, &mut entropy);
            }
            let _ = composing::parse(&document);
            for reprint in [*reprint, ELEMENT] {
                if let Ok(printed) = reprint(&document) {
                    let again = reprint(&printed).map(|again| String::from_utf8_lossy(&again).into_owned());
                    let printed = String::from_utf8(printed).expect("the printer writes UTF-8");
                    assert_eq!(again, Ok(printed), "{name} {round}: {}", String::from_utf8_lossy(&document));
                }
            }
        }
    }
}

/// Fragments with which a document is most likely to be misread.
const FRAGMENTS: [&str; 16] = [
    "<",
    ">",
    "</",
    "/>",
    "\"",
    "&",
    "&#0;",
    "&#13;",
    "]]>",
    "<![CDATA[<]]>",
    "<!DOCTYPE a>",
    "<?x?>",
    "<!--x-->",
    " xmlns=\"\"",
    " xmlns:msci=\"urn:x\"",
    "\u{fffd}:",
];

fn damage(document: &mut Vec<u8>, entropy: &mut Entropy) {
    let mut pick = |limit: usize| entropy.number() as usize % limit.max(1);
    let at = pick(document.len());
    let end = (at + 1 + pick(40)).min(document.len());
    match pick(5) {
        0 if at < document.len() => document[at] = pick(256) as u8,
        1 => drop(document.drain(at..end)),
        2 => {
            let copy = document[at..end].to_vec();
            let to = pick(document.len());
            document.splice(to..to, copy);
        }
        3 => document.truncate(at),
        _ => {
            let fragment = FRAGMENTS[pick(FRAGMENTS.len())];
            document.splice(at..at, fragment.bytes());
        }
    }
}

#[test]
fn a_request_to_the_wrong_namespace_says_so() {
    let wrong = sample("cccp-lock-request").replace(cccp::NAMESPACE, "urn:else");
    let error = Request::parse(wrong.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "The request is in the namespace \"urn:else\", not in that of C3P.");
}
