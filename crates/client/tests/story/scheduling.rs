//! Steps 1 and 2: the Focus Factory.

use confab_client::{Command, ConferenceChange, NewConference, Observation, Outcome, Undertaking};
use confab_machine::Time;
use confab_schema::{
    cccp,
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType},
};
use confab_sip::{Method, Request};

use crate::desk::*;

const FACTORY: &str = "sip:vivian@example.test;gruu;opaque=app:conf:focusfactory";

fn only_command(request: &Request) -> cccp::Command {
    let mut document = cccp::Request::parse(&request.body).unwrap();
    assert_eq!((document.from.as_str(), document.to.as_str()), ("sip:vivian@example.test", FACTORY));
    assert_eq!(document.commands.len(), 1);
    document.commands.remove(0)
}

fn new_conference() -> NewConference {
    NewConference {
        subject: "Plans".to_owned(),
        invitees: vec![(user("bob"), Role::Attendee), (user("carol"), Role::Presenter)],
        media: vec![McuType::Chat],
        admission: AdmissionPolicy::ClosedAuthenticated,
        expires: Some(Time::from_unix_secs(1_800_000_000)),
    }
}

#[test]
fn learns_what_is_there() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::GetCapabilities);
    let service = desk.request(&Method::Service);
    assert_eq!(service.uri.to_string(), FACTORY);
    assert!(matches!(only_command(&service), cccp::Command::GetConferencingCapabilities));
    let body = c3p(
        &service,
        "success",
        r#"<getConferencingCapabilities capability-version="1"><mcu-types><mcuType>chat</mcuType></mcu-types></getConferencingCapabilities>"#,
    );
    desk.reply(&service, 200, &[], &body);
    assert_eq!(desk.said(), [Observation::Capabilities { version: 1, media: vec![McuType::Chat] }]);
}

#[test]
fn creates_a_conference_with_an_id_of_its_own() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Create(new_conference()));
    let service = desk.request(&Method::Service);
    let cccp::Command::AddConference { info, .. } = only_command(&service) else {
        panic!("no addConference")
    };
    let description = info.description.unwrap();
    let id = description.conference_id.unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)),
        "{id}"
    );
    assert_eq!(description.subject.as_deref(), Some("Plans"));
    assert_eq!(description.admission, Some(AdmissionPolicy::ClosedAuthenticated));
    assert_eq!(description.expiry, Some(Time::from_unix_secs(1_800_000_000)));
    let users = info.users.unwrap().users;
    assert_eq!(users.iter().map(|user| user.roles[0]).collect::<Vec<_>>(), [Role::Attendee, Role::Presenter]);
    assert_eq!(info.view.unwrap().entity_views[0].entity, "chat");

    let uri = format!("sip:vivian@example.test;gruu;opaque=app:conf:focus:id:{id}");
    let inside = format!(
        r#"<addConference><conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="{uri}" state="full" version="1"/></addConference>"#
    );
    let body = c3p(&service, "success", &inside);
    desk.reply(&service, 200, &[], &body);
    assert_eq!(desk.said(), [Observation::Created { conference: ConferenceUri::parse(&uri).unwrap() }]);
}

#[test]
fn a_refusal_comes_as_c3p_or_as_sip() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Create(new_conference()));
    let service = desk.request(&Method::Service);
    let body = c3p(&service, "failure", r#"<addConference reason="mcuTypeNotAvailable"/>"#);
    desk.reply(&service, 200, &[], &body);
    let said = desk.said();
    let [Observation::Refused { what: Undertaking::Create, refusal }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!((refusal.status, refusal.token.as_deref()), (200, Some("mcuTypeNotAvailable")));

    desk.wants(Command::Create(new_conference()));
    let service = desk.request(&Method::Service);
    desk.reply(&service, 403, &[], "");
    let said = desk.said();
    let [Observation::Refused { what: Undertaking::Create, refusal }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(refusal.sentence, "The server answered 403 Forbidden.");
}

#[test]
fn changes_and_lists_what_is_hers() {
    let mut desk = Desk::of("vivian");
    let change = ConferenceChange {
        subject: Some("Harbour".into()),
        admission: Some(AdmissionPolicy::Anonymous),
        key: Some("crayon".into()),
        ..ConferenceChange::default()
    };
    desk.wants(Command::ModifyConference { conference: conference(), version: 4, change });
    let service = desk.request(&Method::Service);
    let cccp::Command::ModifyConference { mcu_uri: None, info, .. } = only_command(&service) else {
        panic!("no modifyConference")
    };
    let description = info.description.unwrap();
    assert_eq!((info.version, description.conference_id.as_deref()), (4, Some("3ICYEOLH")));
    assert_eq!(description.conference_key.as_deref(), Some("crayon"));
    assert_eq!(
        (description.subject.as_deref(), info.users),
        (Some("Harbour"), None),
        "who was invited stays"
    );
    let inside = r#"<modifyConference><conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="sip:vivian@example.test;gruu;opaque=app:conf:focus:id:3ICYEOLH" version="5"/></modifyConference>"#;
    let body = c3p(&service, "success", inside);
    desk.reply(&service, 200, &[], &body);
    assert_eq!(desk.said(), [Observation::Modified { conference: conference(), version: 5 }]);

    desk.wants(Command::ListConferences);
    let service = desk.request(&Method::Service);
    assert!(matches!(only_command(&service), cccp::Command::GetConferences));
    let inside = r#"<getConferences><conference-info xmlns="urn:ietf:params:xml:ns:conference-info" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions" entity="sip:vivian@example.test;gruu;opaque=app:conf:focus:id:3ICYEOLH" version="5"><conference-description><subject>Harbour</subject><msci:is-active>true</msci:is-active></conference-description></conference-info></getConferences>"#;
    let body = c3p(&service, "success", inside);
    desk.reply(&service, 200, &[], &body);
    let said = desk.said();
    let [Observation::Conferences(all)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((&all[0].conference, all[0].is_active, &all[0].key), (&conference(), Some(true), &None));

    desk.wants(Command::ListConferences);
    let service = desk.request(&Method::Service);
    let body = c3p(&service, "failure", r#"<getConferences reason="otherFailure"/>"#);
    desk.reply(&service, 200, &[], &body);
    let said = desk.said();
    assert!(
        matches!(said.as_slice(), [Observation::Refused { what: Undertaking::ListConferences, .. }]),
        "{said:?}"
    );
}

#[test]
fn reads_and_deletes_a_record() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::GetConference { conference: conference() });
    let service = desk.request(&Method::Service);
    let cccp::Command::GetConference(keys) = only_command(&service) else { panic!("no getConference") };
    assert_eq!(keys.conference_id.as_deref(), Some("3ICYEOLH"));
    let inside = r#"<getConference><conference-info xmlns="urn:ietf:params:xml:ns:conference-info" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions" entity="" version="2"><conference-description><subject>Plans</subject></conference-description><users><user entity="sip:bob@example.test"><roles><entry>presenter</entry></roles></user></users><msci:conference-view><msci:entity-view entity="chat"/></msci:conference-view></conference-info></getConference>"#;
    let body = c3p(&service, "success", inside);
    desk.reply(&service, 200, &[], &body);
    let said = desk.said();
    let [Observation::Conference(summary)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((summary.version, summary.subject.as_str()), (2, "Plans"));
    assert_eq!(summary.invitees, [(user("bob"), Role::Presenter)]);
    assert_eq!(summary.media, [McuType::Chat]);

    let command = Command::DeleteConference { conference: conference() };
    desk.wants(command.clone());
    let service = desk.request(&Method::Service);
    let body = c3p(&service, "success", "<deleteConference/>");
    desk.reply(&service, 200, &[], &body);
    assert_eq!(desk.said(), [Observation::CommandDone { command, outcome: Outcome::Success }]);
}
