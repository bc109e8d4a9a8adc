//! What OCS 2007 R2 clients write, and what they must be able to read: the shapes in `samples/`.

use std::path::PathBuf;

use bytes::Bytes;
use confab_sip::{Message, Method, Request, Response, Sdp, multipart};

fn sample(name: &str) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
    Bytes::from(std::fs::read(path.with_extension("sip")).expect("the sample is there"))
}

fn message(name: &str) -> Message {
    Message::parse(sample(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

fn request(name: &str) -> Request {
    match message(name) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("{name} is a response"),
    }
}

#[test]
fn what_is_forwarded_is_the_same_to_the_byte() {
    for name in ["register", "register_ok", "invite_im", "invite_alternative", "subscribe_ok", "benotify"] {
        assert_eq!(message(name).to_bytes(), sample(name), "{name}");
    }
}

#[test]
fn a_registration_tells_endpoint_and_capabilities() {
    let register = request("register");
    let headers = &register.headers;
    assert_eq!(headers.from().unwrap().epid(), Some("0a1b2c3d4e5f"));
    assert!(headers.has_token("Supported", "gruu-10"));
    let contact = headers.contacts().unwrap().remove(0);
    assert_eq!(contact.uri.param("ms-opaque"), Some("1f2e3d4c5b"));
    assert_eq!(contact.params.get("proxy"), Some("replace"));
    assert_eq!(contact.params.get("+sip.instance"), Some("<urn:uuid:6f1c2a3b-5d4e-5f60-8a7b-9c0d1e2f3a4b>"));
    let granted = message("register_ok").headers().contacts().unwrap().remove(0);
    let gruu = granted.params.get("gruu").unwrap();
    assert_eq!(gruu, "sip:ann@example.test;opaque=user:epid:Oyocb05dYF-Ke5wNHi86SwAA;gruu");
    assert!(gruu.parse::<confab_sip::Uri>().unwrap().has_param("gruu"));
}

#[test]
fn an_invitation_to_the_im_mcu_has_no_branch_and_offers_messages() {
    let invite = request("invite_im");
    assert_eq!(invite.headers.top_via().unwrap().unique_branch(), None);
    assert_eq!(invite.headers.from().unwrap().display_name.as_deref(), Some(r#"Jörg "Jo" Meier"#));
    assert_eq!(invite.uri.param("opaque"), Some("app:conf:chat:id:4F6D2B90C1"));
    let offer = Sdp::parse(&invite.body).unwrap();
    assert_eq!(offer.accept_types()[0], "text/plain");
    assert_eq!(offer.message().unwrap().formats().collect::<Vec<_>>(), ["null"]);
}

#[test]
fn a_guest_writes_the_focus_uri_without_brackets() {
    let invite = request("invite_anonymous");
    let to = invite.headers.to().unwrap();
    assert_eq!(to.uri, invite.uri);
    assert!(to.params.is_empty());
    assert!(invite.headers.has_token("Supported", "timer"));
    let mut answer = Response::to(&invite, 200);
    answer.set_to_tag("x");
    assert_eq!(answer.headers.to().unwrap(), to.with_tag("x"));
}

#[test]
fn an_offer_in_alternatives_is_taken_apart() {
    let invite = request("invite_alternative");
    let parts = multipart::parse(&invite.headers.content_type().unwrap(), &invite.body).unwrap();
    let [fallback, offer] = &parts[..] else { panic!("two parts") };
    assert!(fallback.headers.get("Content-Disposition").unwrap().ends_with("ms-proxy-2007fallback"));
    assert_eq!(Sdp::parse(&fallback.body).unwrap().media[0].port(), 0);
    let offer = Sdp::parse(&offer.body).unwrap();
    assert_eq!(offer.media[0].attribute("encryption"), Some("optional"));
    assert_eq!(offer.address(&offer.media[0]), Some("192.0.2.7"));
}

#[test]
fn a_notification_names_its_way_back() {
    let benotify = request("benotify");
    assert_eq!(benotify.method, Method::Benotify);
    assert_eq!(benotify.headers.vias().unwrap()[1].params.get("received"), Some("192.0.2.10"));
    assert_eq!(benotify.headers.record_routes().unwrap()[0].uri.param("ms-route-sig"), Some("ab_c-"));
    let asserted = benotify.headers.addresses("P-Asserted-Identity").unwrap();
    assert_eq!(asserted[1].uri.aor(), "tel:+14255550100");
}
