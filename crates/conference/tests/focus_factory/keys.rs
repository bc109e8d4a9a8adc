//! Conference keys, as the Focus Factory takes, makes and shows them.

use confab_conference::{
    conference_key::{ConferenceKey, SealedKey},
    focus_factory::{NewKey, adds_one},
};

use super::*;

/// An `addConference`, or the inside of a `modifyConference`, with this admission policy and key.
fn keyed(admission: &str, key: &str) -> String {
    format!(
        "{ID}<msci:conference-key>{key}</msci:conference-key><msci:admission-policy>{admission}</msci:admission-policy>"
    )
}

#[test]
fn a_conference_for_everybody_has_a_key() {
    let given = |key| Some(NewKey::Given(ConferenceKey::parse(key).unwrap()));
    let described = |inside: &str| format!("<ci:conference-description>{inside}</ci:conference-description>");
    let mut held = record();
    (held.admission, held.conference_key) = (AdmissionPolicy::Anonymous, Some(SealedKey(vec![1])));
    let added = |description: &str| say(&add_conference(description, "", CHAT), None).new_key;
    assert_eq!(added(&keyed("anonymous", "crayon")), given("crayon"));
    assert_eq!(added(&keyed("anonymous", "")), Some(NewKey::Fresh));
    assert_eq!(added(&keyed("openAuthenticated", "crayon")), given("crayon"), "for a later change");
    assert_eq!(added(&keyed("openAuthenticated", "")), None);
    fails(&add_conference(&keyed("anonymous", "1234567"), "", CHAT), None, "requestMalformed");

    let factory = FactoryUri::parse(FACTORY).unwrap();
    let changed = |inside: &str, key: Option<&str>| {
        let request = modify(r#"version="1""#, &described(inside));
        let key = key.and_then(ConferenceKey::parse);
        let known = Known { existing: Some(held.clone()), key, ..Known::default() };
        let outcome = answer(now(), &user(ANN), &factory, &request, &known, &policy()).unwrap();
        let Some(Write::Modify(record)) = outcome.write else { panic!("{inside}") };
        assert_eq!(record.conference_key, held.conference_key, "the shell seals, and only a new one");
        outcome.new_key
    };
    assert_eq!(changed(ID, Some("crayon")), None);
    assert_eq!(changed(&keyed("anonymous", "pencil"), Some("crayon")), given("pencil"));
    assert_eq!(changed(ID, None), Some(NewKey::Fresh), "the one it has cannot be opened any more");
    assert_eq!(changed(&keyed("openAuthenticated", ""), None), None);
}

#[test]
fn a_deployment_may_forbid_anonymous_people() {
    let factory = FactoryUri::parse(FACTORY).unwrap();
    let policy = MeetingPolicy { allow_anonymous: false, ..policy() };
    let inside = keyed("anonymous", "crayon");
    let description = format!("<ci:conference-description>{inside}</ci:conference-description>");
    for request in [add_conference(&inside, "", CHAT), modify(r#"version="1""#, &description)] {
        let existing = (!adds_one(&request)).then(record);
        let known = Known { existing, ..Known::default() };
        let outcome = answer(now(), &user(ANN), &factory, &request, &known, &policy).unwrap();
        assert_eq!((outcome.write, outcome.new_key), (None, None));
        assert_eq!(outcome.response.failure_reason(), Some("unauthorized"));
    }
}

#[test]
fn the_organizer_reads_the_key_and_whether_it_is_going_on() {
    let factory = FactoryUri::parse(FACTORY).unwrap();
    let key = ConferenceKey::parse("crayon");
    for going_on in [true, false] {
        let active = record().uri;
        let active = going_on.then_some(active).into_iter().collect();
        let known = Known {
            existing: Some(record()),
            conferences: vec![(&record()).into()],
            room: 4096,
            key: key.clone(),
            active,
            held: 0,
        };
        let read = |command: &str| {
            let request = request(command);
            let outcome = answer(now(), &user(ANN), &factory, &request, &known, &policy()).unwrap();
            let response = Response::parse(&outcome.response.to_bytes()).unwrap();
            match response.results[0].body.clone() {
                ResultBody::Conference(info) => info.description.unwrap(),
                ResultBody::Conferences(all) => all[0].description.clone().unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let one =
            read(r#"<getConference><conferenceKeys msci:conference-id="3E1C92F04C68"/></getConference>"#);
        assert_eq!((one.conference_key.as_deref(), one.is_active), (Some("crayon"), Some(going_on)));
        let all = read("<getConferences/>");
        assert_eq!((all.conference_key, all.is_active), (None, Some(going_on)), "a summary tells no secret");
    }
}

#[test]
fn keys_and_endorsements_are_declined() {
    let with_key = request(
        r#"<getConference><conferenceKeys msci:conference-id="3E1C92F04C68"/><msci:encryption-key><msci:x509-certificate>TUlJQg==</msci:x509-certificate></msci:encryption-key></getConference>"#,
    );
    assert_eq!(wanted_record(&user(ANN), &with_key), ConferenceUri::parse(CONFERENCE).ok());
    fails(&with_key, Some(&record()), "otherFailure");
    fails(&with_key, None, "conferenceDoesntExist");
    fails(&request("<getEncryptionKey/>"), None, "otherFailure");
    fails(&request("<endorseUser/>"), None, "otherFailure");
}
