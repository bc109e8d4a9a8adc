//! Signing on, staying so, and being signed off.

use std::time::Duration;

use confab_client::{Command, Event, Observation, SignOff, Undertaking};
use confab_sip::{Flow, Method, Request, Transport};

use crate::desk::*;

const SHA256: &str = r#"Digest realm="example.test", nonce="n1", qop="auth", algorithm=SHA-256"#;
const MD5: &str = r#"Digest realm="example.test", nonce="n1", qop="auth", algorithm=MD5"#;

fn header(request: &Request, name: &str) -> String {
    request.headers.get(name).map(ToString::to_string).unwrap_or_default()
}

/// The 200 to a REGISTER, with the GRUU.
fn accept(desk: &mut Desk, register: &Request) {
    let contact = register.headers.contacts().unwrap().remove(0);
    let binding = format!(
        r#"<{}>;expires=600;+sip.instance="<urn:uuid:3F9B0E2A-5a1d-5f6e-8b7c-9d0e1f2a3b4c>";gruu="sip:vivian@example.test;opaque=user:epid:abc;gruu""#,
        contact.uri
    );
    let headers = [
        ("Contact", binding.as_str()),
        ("Expires", "7200"),
        ("ms-keep-alive", "UAS; tcp=no; hop-hop=yes; timeout=300"),
    ];
    desk.reply(register, 200, &headers, "");
}

#[test]
fn answers_the_stronger_challenge_and_uses_the_gruu() {
    for (status, challenge, answer) in
        [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")]
    {
        let mut desk = Desk::of("vivian");
        desk.wants(Command::Register);
        let first = desk.request(&Method::Register);
        assert_eq!(first.uri.to_string(), "sip:example.test");
        assert!(header(&first, "Contact").contains("proxy=replace;+sip.instance=\"<urn:uuid:3f9b0e2a-"));
        assert_eq!(header(&first, "Event"), "registration");
        let ntlm = r#"NTLM realm="SIP Communications Service", targetname="fe", version=4"#;
        desk.reply(&first, status, &[(challenge, ntlm), (challenge, MD5), (challenge, SHA256)], "");
        let second = desk.request(&Method::Register);
        assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
        assert_eq!(second.headers.cseq().unwrap().number, 2);
        let credentials = header(&second, answer);
        assert!(
            credentials.contains("SHA-256") && credentials.contains(r#"username="vivian""#),
            "{credentials}"
        );
        assert!(credentials.contains("nc=00000001"), "{credentials}");
        accept(&mut desk, &second);
        assert_eq!(desk.said(), [Observation::Registered { expires: 600 }]);

        // What follows carries credentials from the start, and the GRUU.
        desk.wants(Command::GetCapabilities);
        let service = desk.request(&Method::Service);
        assert!(header(&service, answer).contains("nc=00000002"));
        assert_eq!(header(&service, "Contact"), "<sip:vivian@example.test;opaque=user:epid:abc;gruu>");
    }
}

#[test]
fn a_wrong_password_is_not_tried_twice() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Register);
    let first = desk.request(&Method::Register);
    desk.reply(&first, 401, &[("WWW-Authenticate", MD5)], "");
    let second = desk.request(&Method::Register);
    desk.reply(&second, 401, &[("WWW-Authenticate", MD5)], "");
    desk.nothing_sent();
    let said = desk.said();
    assert!(
        matches!(said.as_slice(), [Observation::Refused { what: Undertaking::Register, refusal }] if refusal.status == 401),
        "{said:?}"
    );
}

#[test]
fn an_aged_nonce_is_replaced() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Register);
    let first = desk.request(&Method::Register);
    desk.reply(&first, 401, &[("WWW-Authenticate", MD5)], "");
    let second = desk.request(&Method::Register);
    accept(&mut desk, &second);
    desk.wants(Command::GetCapabilities);
    let service = desk.request(&Method::Service);
    let stale = r#"Digest realm="example.test", nonce="n2", qop="auth", algorithm=MD5, stale=TRUE"#;
    desk.reply(&service, 401, &[("WWW-Authenticate", stale)], "");
    let again = desk.request(&Method::Service);
    assert!(header(&again, "Authorization").contains(r#"nonce="n2""#));
}

#[test]
fn refreshes_keeps_the_connection_alive_and_signs_off() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Register);
    let first = desk.request(&Method::Register);
    accept(&mut desk, &first);
    desk.said();
    desk.wait(Duration::from_secs(299));
    assert_eq!(desk.keep_alives, 0);
    desk.wait(Duration::from_secs(2));
    assert_eq!(desk.keep_alives, 1);
    desk.nothing_sent();
    // Registered for 600 seconds: refreshed 30 seconds before.
    desk.wait(Duration::from_secs(270));
    let refresh = desk.request(&Method::Register);
    assert_eq!(header(&refresh, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(refresh.headers.cseq().unwrap().number, 2);
    accept(&mut desk, &refresh);
    assert_eq!(desk.said(), []);

    desk.wants(Command::Unregister);
    let last = desk.request(&Method::Register);
    assert_eq!(last.headers.expires(), Some(0));
    desk.reply(&last, 200, &[], "");
    assert_eq!(desk.said(), [Observation::SignedOff { reason: SignOff::Requested }]);
    desk.wait(Duration::from_secs(10_000));
    desk.nothing_sent();
}

#[test]
fn a_refresh_that_fails_is_tried_until_the_registration_ends() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Register);
    let first = desk.request(&Method::Register);
    accept(&mut desk, &first);
    desk.said();
    desk.wait(Duration::from_secs(570));
    let refresh = desk.request(&Method::Register);
    desk.reply(&refresh, 503, &[], "");
    assert_eq!(desk.said(), []);
    desk.wait(Duration::from_secs(60));
    assert_eq!(desk.said(), [Observation::SignedOff { reason: SignOff::Expired }]);
}

#[test]
fn the_registrar_can_sign_us_off() {
    for (event, reason) in [
        ("unregistered", SignOff::Elsewhere),
        ("rejected", SignOff::Disabled),
        ("deactivated", SignOff::Moved),
    ] {
        let mut desk = Desk::of("vivian");
        desk.wants(Command::Register);
        let register = desk.request(&Method::Register);
        accept(&mut desk, &register);
        desk.said();
        let headers = [
            ("Event", "registration-notify"),
            ("Subscription-State", "terminated;expires=0"),
            ("Content-Type", "text/registration-event"),
        ];
        desk.tell(&register, "NOTIFY", 1, &headers, &format!("deregistered;event={event}"));
        desk.response(200);
        assert_eq!(desk.said(), [Observation::SignedOff { reason }]);
    }
}

#[test]
fn without_a_connection_everything_is_refused() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Register);
    let register = desk.request(&Method::Register);
    accept(&mut desk, &register);
    desk.said();
    desk.event(Event::FlowClosed { flow: FLOW });
    assert_eq!(desk.said(), [Observation::SignedOff { reason: SignOff::Disconnected }]);
    desk.wants(Command::Register);
    let said = desk.said();
    assert!(
        matches!(said.as_slice(), [Observation::Refused { what: Undertaking::Register, .. }]),
        "{said:?}"
    );
    // On another flow all is well again.
    desk.event(Event::Connected { flow: Flow { id: 2, transport: Transport::Tls } });
    desk.wants(Command::Register);
    let register = desk.request(&Method::Register);
    assert!(header(&register, "Contact").starts_with("<sip:192.0.2.1:5070;transport=tls>"));
}
