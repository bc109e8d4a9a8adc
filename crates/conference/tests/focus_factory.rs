//! Steps 1 and 2: C3P requests as scheduling clients send them, and what the Focus Factory says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "focus_factory/keys.rs"]
mod keys;

use std::time::Duration;

use confab_conference::{
    focus_factory::{
        Known, Outcome, Write, ad_hoc, already_exists, answer, changed_meanwhile, deleted_meanwhile,
        store_failed, wanted_record, wants_all,
    },
    policy::MeetingPolicy,
    reason::Reason,
    record::{ConferenceRecord, ConferenceSummary, Invitee},
};
use confab_machine::Time;
use confab_schema::{
    cccp::{Capabilities, Code, Request, Response, ResultBody},
    conference_info::{AdmissionPolicy, Role},
    date,
    uri::{ConferenceId, ConferenceUri, FactoryUri, McuType, UserUri},
};

const ANN: &str = "sip:ann@example.test";
const FACTORY: &str = "sip:ann@example.test;gruu;opaque=app:conf:focusfactory";
const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
const ID: &str = "<msci:conference-id>3E1C92F04C68</msci:conference-id>";
const CHAT: &str = r#"<msci:entity-view entity="chat"/>"#;

fn now() -> Time {
    date::parse("2026-11-21T04:00:00Z").unwrap()
}

fn policy() -> MeetingPolicy {
    MeetingPolicy {
        max_participants: 100,
        large_meeting: 500,
        max_conferences_per_organizer: 3,
        allow_anonymous: true,
        lobby: false,
        media: vec![McuType::Chat, McuType::AudioVideo],
        default_lifetime_s: 3600,
        empty_limit_s: 600,
        idle_limit_s: 86_400,
    }
}

fn user(uri: &str) -> UserUri {
    UserUri::parse(uri).unwrap()
}

/// A request from Ann to her factory.
fn request(commands: &str) -> Request {
    request_with(ANN, FACTORY, commands)
}

fn request_with(from: &str, to: &str, commands: &str) -> Request {
    let document = format!(
        r#"<?xml version="1.0"?>
<request xmlns="urn:ietf:params:xml:ns:cccp"
    xmlns:mscp="http://schemas.microsoft.com/rtc/2005/08/cccpextensions"
    xmlns:ci="urn:ietf:params:xml:ns:conference-info"
    xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions"
    C3PVersion="1" to="{to}" from="{from}" requestId="17">{commands}</request>"#
    );
    Request::parse(document.as_bytes()).unwrap()
}

fn add_conference(description: &str, users: &str, views: &str) -> Request {
    request(&format!(
        r#"<addConference><ci:conference-info entity="">
            <ci:conference-description>{description}</ci:conference-description>
            <ci:users>{users}</ci:users>
            <msci:conference-view>{views}</msci:conference-view>
        </ci:conference-info></addConference>"#
    ))
}

fn ask(request: &Request, existing: Option<&ConferenceRecord>) -> Result<Outcome, Reason> {
    let factory = FactoryUri::parse(FACTORY).unwrap();
    let known = Known { existing: existing.cloned(), ..Known::default() };
    answer(now(), &user(ANN), &factory, request, &known, &policy())
}

/// The answer to a request that the factory takes; it must survive the wire.
fn say(request: &Request, existing: Option<&ConferenceRecord>) -> Outcome {
    let outcome = ask(request, existing).unwrap();
    let response = &outcome.response;
    assert_eq!(Response::parse(&response.to_bytes()).as_ref(), Ok(response));
    assert_eq!((response.request_id, &response.from, &response.to), (17, &request.to, &request.from));
    assert_eq!(response.results.len(), 1);
    assert_eq!(response.results[0].name, request.commands[0].name());
    outcome
}

/// The record that a request creates.
fn created(request: &Request) -> ConferenceRecord {
    let outcome = say(request, None);
    let Some(Write::Create(record)) = outcome.write else { panic!("{outcome:?}") };
    let ResultBody::Conference(info) = &outcome.response.results[0].body else { panic!("{record:?}") };
    assert_eq!(outcome.response.code, Code::Success);
    assert_eq!((info.entity.clone(), info.version), (record.uri.to_string(), 1));
    *record
}

fn record() -> ConferenceRecord {
    created(&add_conference(ID, "", CHAT))
}

/// A request that fails with this reason and writes nothing.
fn fails(request: &Request, existing: Option<&ConferenceRecord>, reason: &str) {
    let outcome = say(request, existing);
    assert_eq!(outcome.write, None);
    assert_eq!(outcome.response.code, Code::Failure);
    assert_eq!(outcome.response.failure_reason(), Some(reason));
}

#[test]
fn capabilities() {
    let outcome = say(&request("<getConferencingCapabilities/>"), None);
    let mcu_types = vec![McuType::Chat, McuType::AudioVideo];
    let expect = ResultBody::Capabilities(Capabilities { version: 1, mcu_types: mcu_types.clone() });
    assert_eq!((outcome.write, &outcome.response.results[0].body), (None, &expect));

    let outcome = say(&request(r#"<getAvailableMcuTypes server-mode="14"/>"#), None);
    assert_eq!((outcome.write, &outcome.response.results[0].body), (None, &ResultBody::McuTypes(mcu_types)));
}

#[test]
fn a_conference_is_added() {
    let description = format!(
        "<ci:display-text>What to do</ci:display-text><ci:subject>Plans</ci:subject>{ID}\
         <msci:expiry-time>2026-11-21T11:00:00Z</msci:expiry-time>\
         <msci:admission-policy>closedAuthenticated</msci:admission-policy>\
         <msci:notification-data><a xmlns='urn:x'/></msci:notification-data>\
         <msci:organizer-roaming-data>x</msci:organizer-roaming-data>"
    );
    let invitee =
        |who: &str, roles: &str| format!(r#"<ci:user entity="sip:{who}@example.test">{roles}</ci:user>"#);
    let role = |role: &str| format!("<ci:roles><ci:entry>{role}</ci:entry></ci:roles>");
    let users = [
        invitee("Bob", &role("attendee")),
        invitee("pat", &role("presenter")),
        invitee("eve", ""),
        invitee("bob", &role("presenter")),
        invitee("ann", &role("attendee")),
    ];
    let views = format!(r#"{CHAT}<msci:entity-view entity="audio-video"/>{CHAT}"#);
    let request = add_conference(&description, &users.concat(), &views);
    assert_eq!(wanted_record(&user(ANN), &request), ConferenceUri::parse(CONFERENCE).ok());
    let record = created(&request);
    assert_eq!((record.subject.as_str(), record.description.as_str()), ("Plans", "What to do"));
    assert_eq!(record.expires, date::parse("2026-11-21T11:00:00Z").unwrap());
    assert_eq!(record.admission, AdmissionPolicy::ClosedAuthenticated);
    assert_eq!(record.media, [McuType::Chat, McuType::AudioVideo]);
    assert_eq!((record.version, record.locked, record.last_activated), (1, false, None));
    assert_eq!((record.created, record.updated), (now(), now()));
    assert_eq!(record.notification_data.unwrap().name, "notification-data");
    assert_eq!(record.organizer_data.unwrap().name, "organizer-roaming-data");
    // Each once, as first named; the organizer leads anyway.
    let listed = |who, role| Invitee { user: user(who), role };
    assert_eq!(
        record.participants,
        [
            listed("sip:bob@example.test", Role::Attendee),
            listed("sip:pat@example.test", Role::Presenter),
            listed("sip:eve@example.test", Role::Attendee),
        ]
    );
}

#[test]
fn the_least_a_client_says_is_enough() {
    let record = record();
    assert_eq!(record.uri.to_string(), CONFERENCE);
    assert_eq!(record.admission, AdmissionPolicy::OpenAuthenticated);
    assert_eq!(record.expires, now() + Duration::from_secs(3600));
    assert_eq!((record.subject.as_str(), record.description.as_str()), ("", ""));
    assert!(record.participants.is_empty());
    let locked = request(&format!(
        r#"<addConference><ci:conference-info entity="">
            <ci:conference-description>{ID}</ci:conference-description>
            <ci:conference-state><ci:locked>true</ci:locked></ci:conference-state>
            <msci:conference-view>{CHAT}</msci:conference-view>
        </ci:conference-info></addConference>"#
    ));
    assert!(created(&locked).locked);
}

#[test]
fn identifiers() {
    for good in ["3E1C92F0", "abcdefgh", "3814A82809A34ED0958CFDB60957BDF", &"7".repeat(32)] {
        let id = format!("<msci:conference-id>{good}</msci:conference-id>");
        let uri = created(&add_conference(&id, "", CHAT)).uri;
        assert_eq!(uri.id.as_str(), good, "the client's own is kept");
    }
    for bad in ["", "1234567", &"7".repeat(33), "3E1C92F-", "3E1C 92F0", "３Ｅ１Ｃ９２Ｆ０"] {
        let id = format!("<msci:conference-id>{bad}</msci:conference-id>");
        let request = add_conference(&id, "", CHAT);
        assert_eq!(wanted_record(&user(ANN), &request), None, "{bad}");
        fails(&request, None, "requestMalformed");
    }
    fails(&add_conference("<ci:subject>x</ci:subject>", "", CHAT), None, "requestMalformed");
    let nothing = r#"<addConference><ci:conference-info entity=""/></addConference>"#;
    fails(&request(nothing), None, "requestMalformed");
}

#[test]
fn nothing_is_added_twice() {
    let request = add_conference(ID, "", CHAT);
    fails(&request, Some(&record()), "conferenceExistsAlready");
    assert_eq!(already_exists(&request).failure_reason(), Some("conferenceExistsAlready"));
    assert_eq!(store_failed(&request).failure_reason(), Some("otherFailure"));
    let other_case = add_conference(&ID.to_lowercase(), "", CHAT);
    let wanted = wanted_record(&user(ANN), &other_case).unwrap();
    assert_eq!(wanted, record().uri, "case does not make another conference");
}

#[test]
fn media() {
    let view = |media: &str| format!(r#"<msci:entity-view entity="{media}"/>"#);
    for unknown in ["meeting", "applicationsharing", "phone-conf", "data-conf", "", "CHATS"] {
        let views = [view("chat"), view(unknown)].concat();
        fails(&add_conference(ID, "", &views), None, "mcuTypeNotAvailable");
    }
    fails(&add_conference(ID, "", ""), None, "requestMalformed");
}

#[test]
fn admissions() {
    for (word, admission) in [
        ("openAuthenticated", AdmissionPolicy::OpenAuthenticated),
        ("closedAuthenticated", AdmissionPolicy::ClosedAuthenticated),
        ("anonymous", AdmissionPolicy::Anonymous),
    ] {
        let description = format!("{ID}<msci:admission-policy>{word}</msci:admission-policy>");
        let request = add_conference(&description, "", CHAT);
        assert_eq!(created(&request).admission, admission);
    }
}

#[test]
fn expiries() {
    for (expiry, good) in [
        ("2026-11-21T04:00:01Z", true),
        ("2025-11-21T04:00:00Z", true),
        ("2025-11-21T03:59:59Z", false),
        ("2036-11-18T04:00:00Z", true),
        ("2036-11-18T04:00:01Z", false),
        ("1970-01-01T00:00:00Z", false),
        ("9999-12-31T23:59:59Z", false),
    ] {
        let description = format!("{ID}<msci:expiry-time>{expiry}</msci:expiry-time>");
        let request = add_conference(&description, "", CHAT);
        if good {
            assert_eq!(created(&request).expires, date::parse(expiry).unwrap());
        } else {
            fails(&request, None, "requestMalformed");
        }
    }
}

#[test]
fn sizes() {
    let subject = |length| format!("{ID}<ci:subject>{}</ci:subject>", "x".repeat(length));
    assert_eq!(created(&add_conference(&subject(4096), "", CHAT)).subject.len(), 4096);
    let text = |length| format!("<ci:display-text>{}</ci:display-text>{ID}", "x".repeat(length));
    let data = |name: &str| format!("{ID}<msci:{name}>{}</msci:{name}>", "x".repeat(16 * 1024));
    for description in [subject(4097), text(4097), data("notification-data"), data("organizer-roaming-data")]
    {
        fails(&add_conference(&description, "", CHAT), None, "requestTooLarge");
    }
    let crowd = |size| -> String {
        (0..size).map(|n| format!(r#"<ci:user entity="sip:u{n}@example.test"/>"#)).collect()
    };
    assert_eq!(created(&add_conference(ID, &crowd(1000), CHAT)).participants.len(), 1000);
    fails(&add_conference(ID, &crowd(1001), CHAT), None, "requestTooLarge");
    fails(&add_conference(ID, r#"<ci:user entity="tel:+4930555"/>"#, CHAT), None, "requestMalformed");

    let factory = FactoryUri::parse(FACTORY).unwrap();
    let request = add_conference(ID, "", CHAT);
    for (held, reason) in [(2, None), (3, Some("serverBusy"))] {
        let known = Known { held, ..Known::default() };
        let outcome = answer(now(), &user(ANN), &factory, &request, &known, &policy()).unwrap();
        assert_eq!(outcome.response.failure_reason(), reason, "{held}");
        assert_eq!(outcome.write.is_some(), reason.is_none());
    }
}

#[test]
fn a_conference_is_read() {
    let users = r#"<ci:user entity="sip:pat@example.test"><ci:roles><ci:entry>presenter</ci:entry></ci:roles></ci:user>"#;
    let mut record = created(&add_conference(&format!("<ci:subject>Plans</ci:subject>{ID}"), users, CHAT));
    record.version = 5;
    record.locked = true;
    let by_id = r#"<getConference><conferenceKeys msci:conference-id="3e1c92f04c68"/></getConference>"#;
    let by_uri = format!(r#"<getConference><conferenceKeys confEntity="{CONFERENCE}"/></getConference>"#);
    for keys in [by_id, &by_uri] {
        let request = request(keys);
        assert_eq!(wanted_record(&user(ANN), &request), Some(record.uri.clone()));
        let outcome = say(&request, Some(&record));
        assert_eq!((outcome.write, outcome.response.code), (None, Code::Success));
        let ResultBody::Conference(info) = &outcome.response.results[0].body else { panic!("{keys}") };
        assert_eq!((info.entity.as_str(), info.version), ("", 5));
        let description = info.description.as_ref().unwrap();
        assert_eq!(description.subject.as_deref(), Some("Plans"));
        assert_eq!(description.conference_id.as_deref(), Some("3E1C92F04C68"));
        assert_eq!((description.expiry, description.last_update), (Some(record.expires), Some(now())));
        assert_eq!(info.users.as_ref().unwrap().users[0].roles, [Role::Presenter]);
        assert_eq!(info.view.as_ref().unwrap().entity_views[0].entity, "chat");
        assert_eq!(info.conference_state.as_ref().unwrap().locked, Some(true));
        fails(&request, None, "conferenceDoesntExist");
    }
}

/// `modifyConference` of hers; `inside` is what stands in the `conference-info`.
fn modify(version: &str, inside: &str) -> Request {
    request(&format!(
        r#"<modifyConference><ci:conference-info entity="" {version}>{inside}</ci:conference-info></modifyConference>"#
    ))
}

/// The record as a request that the factory takes leaves it.
fn modified(existing: &ConferenceRecord, inside: &str) -> ConferenceRecord {
    let request = modify(&format!(r#"version="{}""#, existing.version), inside);
    assert_eq!(
        (wanted_record(&user(ANN), &request), wants_all(&request)),
        (Some(existing.uri.clone()), false)
    );
    let outcome = say(&request, Some(existing));
    let Some(Write::Modify(record)) = outcome.write else { panic!("{outcome:?}") };
    let ResultBody::Conference(info) = &outcome.response.results[0].body else { panic!("{record:?}") };
    assert_eq!((info.entity.clone(), info.version), (record.uri.to_string(), existing.version + 1));
    assert_eq!((record.version, record.updated), (existing.version + 1, now()));
    *record
}

#[test]
fn a_conference_is_changed() {
    let earlier = now() - Duration::from_secs(3600);
    let data = "<msci:notification-data><a xmlns='urn:x'/></msci:notification-data>";
    let mut before = created(&add_conference(&format!("<ci:subject>Plans</ci:subject>{ID}{data}"), "", CHAT));
    (before.created, before.updated, before.last_activated) = (earlier, earlier, Some(earlier));
    (before.version, before.locked) = (7, true);

    // What is left out stays.
    let inside = format!("<ci:conference-description>{ID}</ci:conference-description>");
    let same = ConferenceRecord { version: 8, updated: now(), ..before.clone() };
    assert_eq!(modified(&before, &inside), same);

    let inside = format!(
        r#"<ci:conference-description><ci:display-text>Why</ci:display-text><ci:subject>New plans</ci:subject>{ID}
            <msci:expiry-time>2026-12-24T12:00:00Z</msci:expiry-time>
            <msci:admission-policy>closedAuthenticated</msci:admission-policy>
            <msci:organizer-roaming-data>x</msci:organizer-roaming-data></ci:conference-description>
        <ci:conference-state><ci:locked>false</ci:locked></ci:conference-state>
        <ci:users><ci:user entity="sip:eve@example.test"/></ci:users>
        <msci:conference-view><msci:entity-view entity="audio-video"/></msci:conference-view>"#
    );
    let after = modified(&before, &inside);
    assert_eq!((after.subject.as_str(), after.description.as_str()), ("New plans", "Why"));
    assert_eq!(after.expires, date::parse("2026-12-24T12:00:00Z").unwrap());
    assert_eq!((after.admission, after.locked), (AdmissionPolicy::ClosedAuthenticated, false));
    assert_eq!(after.participants, [Invitee { user: user("sip:eve@example.test"), role: Role::Attendee }]);
    assert_eq!(after.media, [McuType::AudioVideo]);
    assert_eq!(after.notification_data, before.notification_data);
    assert!(after.organizer_data.is_some());
    assert_eq!((after.created, after.last_activated), (before.created, before.last_activated));
    // Nobody is invited any more.
    let inside = format!("<ci:conference-description>{ID}</ci:conference-description><ci:users/>");
    assert_eq!(modified(&after, &inside).participants, []);
}

#[test]
fn a_change_needs_the_version_last_seen() {
    let mut record = record();
    record.version = 4;
    let inside = format!("<ci:conference-description>{ID}</ci:conference-description>");
    for stale in ["", r#"version="0""#, r#"version="3""#, r#"version="5""#] {
        fails(&modify(stale, &inside), Some(&record), "otherFailure");
    }
    let right = modify(r#"version="4""#, &inside);
    assert!(say(&right, Some(&record)).write.is_some());
    fails(&right, None, "conferenceDoesntExist");
    // What the factory decided may turn out to be late.
    assert_eq!(changed_meanwhile(&right).failure_reason(), Some("otherFailure"));
    assert_eq!(deleted_meanwhile(&right).failure_reason(), Some("conferenceDoesntExist"));
}

#[test]
fn a_change_keeps_the_rules_of_a_new_conference() {
    let record = record();
    let check = |inside: &str, reason: &str| {
        fails(&modify(r#"version="1""#, inside), Some(&record), reason);
    };
    let describe = |what: &str| format!("<ci:conference-description>{ID}{what}</ci:conference-description>");
    let view = |views: &str| describe("") + &format!("<msci:conference-view>{views}</msci:conference-view>");
    let long = "x".repeat(4097);
    check(&describe(&format!("<ci:subject>{long}</ci:subject>")), "requestTooLarge");
    check(&describe(&format!("<ci:display-text>{long}</ci:display-text>")), "requestTooLarge");
    check(&describe("<msci:expiry-time>2045-01-01T00:00:00Z</msci:expiry-time>"), "requestMalformed");
    check(&describe("<msci:conference-key>short</msci:conference-key>"), "requestMalformed");
    check(&view(""), "requestMalformed");
    check(&view(r#"<msci:entity-view entity="meeting"/>"#), "mcuTypeNotAvailable");
    let tel = r#"<ci:users><ci:user entity="tel:+4930555"/></ci:users>"#;
    check(&(describe("") + tel), "requestMalformed");
    for data in ["notification-data", "organizer-roaming-data"] {
        let data = format!("<msci:{data}>{}</msci:{data}>", "x".repeat(16 * 1024));
        check(&describe(&data), "requestTooLarge");
    }
    // One that expired long ago may be changed in everything else.
    let mut old = record.clone();
    old.expires = date::parse("2024-01-01T00:00:00Z").unwrap();
    let inside = describe("<msci:expiry-time>2024-01-01T00:00:00Z</msci:expiry-time>");
    assert_eq!(modified(&old, &inside).expires, old.expires);
    let mcu = r#"<modifyConference mscp:mcuUri="x"><ci:conference-info entity=""/></modifyConference>"#;
    assert_eq!(ask(&request(mcu), Some(&record)), Err(Reason::NotForAnMcu));
}

#[test]
fn all_her_conferences_are_listed() {
    for command in ["<getConferences/>", r#"<getConferences static="true"/>"#] {
        let request = request(command);
        assert_eq!((wanted_record(&user(ANN), &request), wants_all(&request)), (None, true));
        let mut second = record();
        second.uri =
            ConferenceUri::parse("sip:ann@example.test;gruu;opaque=app:conf:focus:id:SECOND77").unwrap();
        (second.version, second.last_activated) = (3, Some(now()));
        second.organizer_data = Some(confab_schema::xml::Element::new("urn:x", "secret"));
        let conferences = vec![(&record()).into(), (&second).into()];
        let known = Known { conferences, room: 64 * 1024, ..Known::default() };
        let factory = FactoryUri::parse(FACTORY).unwrap();
        let outcome = answer(now(), &user(ANN), &factory, &request, &known, &policy()).unwrap();
        assert_eq!((outcome.write, outcome.response.code), (None, Code::Success));
        let response = Response::parse(&outcome.response.to_bytes()).unwrap();
        let ResultBody::Conferences(all) = &response.results[0].body else { panic!("{response:?}") };
        let seen: Vec<_> = all.iter().map(|info| (info.entity.as_str(), info.version)).collect();
        assert_eq!(seen, [(CONFERENCE, 1), (second.uri.to_string().as_str(), 3)]);
        let description = all[1].description.as_ref().unwrap();
        assert_eq!(description.conference_id.as_deref(), Some("SECOND77"));
        assert_eq!((description.last_activate, description.expiry), (Some(now()), Some(second.expires)));
        assert_eq!(description.admission, Some(AdmissionPolicy::OpenAuthenticated));
        assert_eq!((&description.organizer_data, &all[1].users), (&None, &None), "a summary");
    }
    let ResultBody::Conferences(none) = &say(&request("<getConferences/>"), None).response.results[0].body
    else {
        panic!("there is a list without entries")
    };
    assert!(none.is_empty());
}

#[test]
fn a_long_list_is_cut_where_it_fits() {
    let request = request("<getConferences/>");
    let factory = FactoryUri::parse(FACTORY).unwrap();
    let conferences: Vec<ConferenceSummary> = (0..300)
        .map(|number| {
            let mut one = ConferenceSummary::from(&record());
            let uri = format!("sip:ann@example.test;gruu;opaque=app:conf:focus:id:NUMBER{number:04}");
            one.uri = ConferenceUri::parse(&uri).unwrap();
            // Later ones were changed later; every third has expired.
            one.updated = now() + Duration::from_secs(number);
            one.expires = if number % 3 == 0 { now() } else { now() + Duration::from_secs(60) };
            one.subject = "<ü>".repeat(1000);
            one
        })
        .collect();
    let list = |room: usize| {
        let known = Known { conferences: conferences.clone(), room, ..Known::default() };
        let outcome = answer(now(), &user(ANN), &factory, &request, &known, &policy()).unwrap();
        let document = outcome.response.to_bytes();
        let response = Response::parse(&document).unwrap();
        let ResultBody::Conferences(all) = response.results[0].body.clone() else { panic!("{response:?}") };
        assert_eq!(all.len() + outcome.left_out, 300);
        assert!(document.len() <= room || all.is_empty(), "{} in {room}", document.len());
        let ids = all.iter().map(|info| info.description.as_ref().unwrap().conference_id.clone().unwrap());
        (ids.collect::<Vec<String>>(), document.len(), all)
    };
    let (ids, length, all) = list(60_000);
    assert!(ids.len() < 200 && length > 50_000, "{} in {length}", ids.len());
    assert_eq!(ids[..3], ["NUMBER0299", "NUMBER0298", "NUMBER0296"]);
    let subject = all[0].description.as_ref().unwrap().subject.clone().unwrap();
    assert!(subject.len() <= 256 && subject.starts_with("<ü><ü>") && subject.ends_with('…'), "{subject}");

    let (ids, ..) = list(1024 * 1024);
    assert_eq!(ids.len(), 300);
    assert_eq!((ids[199].as_str(), ids[200].as_str()), ("NUMBER0001", "NUMBER0297"));
    assert_eq!(list(100).0, Vec::<String>::new());
}

#[test]
fn a_conference_is_deleted() {
    let request = request(
        r#"<deleteConference><conferenceKeys msci:conference-id="3E1C92F04C68"/></deleteConference>"#,
    );
    let record = record();
    assert_eq!(wanted_record(&user(ANN), &request), Some(record.uri.clone()));
    let outcome = say(&request, Some(&record));
    assert_eq!(outcome.write, Some(Write::Delete(record.uri)));
    assert_eq!(
        (outcome.response.code, &outcome.response.results[0].body),
        (Code::Success, &ResultBody::Empty)
    );
    fails(&request, None, "conferenceDoesntExist");
}

#[test]
fn keys_that_name_no_conference_of_hers() {
    for keys in [
        "",
        "<conferenceKeys/>",
        r#"<conferenceKeys msci:conference-id="short"/>"#,
        r#"<conferenceKeys confEntity="nonsense"/>"#,
        r#"<conferenceKeys confEntity="sip:bob@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68"/>"#,
    ] {
        for command in ["getConference", "deleteConference"] {
            let request = request(&format!("<{command}>{keys}</{command}>"));
            assert_eq!(wanted_record(&user(ANN), &request), None, "{command} {keys}");
            fails(&request, None, "conferenceDoesntExist");
        }
    }
}

#[test]
fn envelopes() {
    let check = |sender: &str, factory: &str, from: &str, to: &str, expect: Option<Reason>| {
        let request = request_with(from, to, "<getConferencingCapabilities/>");
        let factory = FactoryUri::parse(factory).unwrap();
        let got = answer(now(), &user(sender), &factory, &request, &Known::default(), &policy());
        assert_eq!(got.err(), expect, "{sender} {factory} {from} {to}");
    };
    let bob = "sip:bob@example.test";
    let bobs = "sip:bob@example.test;gruu;opaque=app:conf:focusfactory";
    check(ANN, FACTORY, ANN, FACTORY, None);
    check(ANN, FACTORY, "SIP:Ann@EXAMPLE.test:5061", &FACTORY.to_uppercase(), None);
    check(ANN, FACTORY, bob, FACTORY, Some(Reason::BadFrom));
    check(ANN, FACTORY, "nonsense", FACTORY, Some(Reason::BadFrom));
    check(bob, FACTORY, ANN, FACTORY, Some(Reason::BadFrom));
    check(ANN, FACTORY, ANN, bobs, Some(Reason::BadTo));
    check(ANN, FACTORY, ANN, ANN, Some(Reason::BadTo));
    check(ANN, FACTORY, ANN, CONFERENCE, Some(Reason::BadTo));
    // Honest about himself and the address, and still not the organizer.
    check(bob, FACTORY, bob, FACTORY, Some(Reason::BadFrom));
    assert_eq!((Reason::BadFrom.diagnostics(), Reason::BadTo.diagnostics()), (Some(3000), Some(3001)));
}

#[test]
fn commands_it_does_not_carry_out() {
    let user = r#"<conferenceKeys confEntity="x"/><ci:user entity="sip:ann@example.test"/>"#;
    let keys = r#"<userKeys confEntity="x" userEntity="sip:ann@example.test"/>"#;
    for command in [
        format!("<addUser>{user}</addUser>"),
        format!("<deleteUser>{keys}</deleteUser>"),
        "<modifyConferenceLock><locked>true</locked></modifyConferenceLock>".into(),
        "<orderPizza xmlns='urn:x'/>".into(),
    ] {
        assert_eq!(ask(&request(&command), None), Err(Reason::CommandNotImplemented), "{command}");
    }
    let two = "<getConferencingCapabilities/><getConferencingCapabilities/>";
    assert_eq!(ask(&request(two), None), Err(Reason::C3pUnreadable));
}

#[test]
fn a_call_makes_a_conference_of_defaults() {
    let (now, policy) = (Time::from_unix_secs(1_000_000), policy());
    let organizer = UserUri::parse("sip:ann@example.test").unwrap();
    let id = || ConferenceId::parse("ABCDEFGH12345678").unwrap();
    let record = ad_hoc(now, &organizer, id(), 0, &policy).unwrap();
    assert_eq!((record.organizer(), record.version, record.locked), (&organizer, 1, false));
    assert_eq!(record.media, policy.media);
    assert_eq!(record.admission, AdmissionPolicy::OpenAuthenticated);
    assert_eq!(record.expires, now + Duration::from_secs(policy.default_lifetime_s));
    let full = ad_hoc(now, &organizer, id(), policy.max_conferences_per_organizer, &policy);
    assert_eq!(full, Err(Reason::TooManyConferences));
}
