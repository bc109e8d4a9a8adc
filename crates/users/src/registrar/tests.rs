//! The registrar, as clients of several kinds register.

use bytes::Bytes;
use confab_sip::{Message, Transport};

use super::*;

const NOW: Time = Time::from_unix_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn flow(id: u64) -> Flow {
    Flow { id, transport: Transport::Tcp }
}

fn ann() -> UserUri {
    UserUri::parse("sip:ann@example.test").unwrap()
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn request(text: &str) -> Request {
    let text = text.replace('\n', "\r\n") + "\r\n";
    match Message::parse(Bytes::from(text)).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a request"),
    }
}

/// The REGISTER of pidgin-sipe, its form taken from a capture.
fn sipe(cseq: u32, epid: &str, instance: &str) -> Request {
    request(&format!(
        "REGISTER sip:example.test SIP/2.0
Via: SIP/2.0/tcp 192.0.2.7:58640;branch=z9hG4bKDBBBA6603EC3231CFF0{cseq}
From: <sip:ann@example.test>;tag=3987742551;epid={epid}
To: <sip:ann@example.test>
Max-Forwards: 70
CSeq: {cseq} REGISTER
User-Agent: Purple/2.14.12 Sipe/1.25.0 (linux-x86_64)
Call-ID: 9143g6994a1CFEiC509mB39EtB753b76B2x{epid}
Contact: <sip:192.0.2.7:58640;transport=tcp;ms-opaque=d3470f2e1d>;methods=\"INVITE, MESSAGE, INFO, SUBSCRIBE, OPTIONS, BYE, CANCEL, NOTIFY, ACK, REFER, BENOTIFY\";proxy=replace;+sip.instance=\"<urn:uuid:{instance}>\"
Supported: gruu-10, adhoclist, msrtc-event-categories, com.microsoft.msrtc.presence
Event: registration
Allow-Events: presence
ms-keep-alive: UAC;hop-hop=yes
"
    ))
}

const EPID: &str = "7ee3dec9c0de";
const INSTANCE: &str = "c89d4939-c762-5e13-95a1-5f4619450888";
const OTHER: &str = "085e0bd8-031c-5a0d-8d9a-f149aae6954a";
const GRUU: &str = "sip:ann@example.test;opaque=user:epid:OUmdyGLHE16VoV9GGUUIiAAA;gruu";

/// The REGISTER of a telephone.
fn phone(cseq: u32, contact: &str) -> Request {
    request(&format!(
        "REGISTER sip:example.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{cseq}
From: <sip:ann@example.test>;tag=1
To: <sip:ann@example.test>
CSeq: {cseq} REGISTER
Call-ID: phone-1
Contact: {contact}
"
    ))
}

/// A registrar and what it has lost.
struct Fixture {
    registrar: Registrar,
    gone: Vec<Unregistered>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { registrar: Registrar::new("fe.example.test"), gone: Vec::new() }
    }

    fn register(&mut self, now: Time, from: u64, request: &Request) -> Response {
        self.registrar.register(now, flow(from), &ann(), request, &mut self.gone)
    }

    fn flows(&self, to: &str) -> Vec<u64> {
        self.registrar.lookup(NOW, &uri(to)).iter().map(|binding| binding.flow.id).collect()
    }
}

#[test]
fn pidgin_sipe_gets_every_header_it_needs() {
    let mut it = Fixture::new();
    let response = it.register(NOW, 1, &sipe(1, EPID, INSTANCE));
    assert_eq!(response.status, 200);
    let lines: Vec<String> =
        response.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let expect = [
        "Via: SIP/2.0/tcp 192.0.2.7:58640;branch=z9hG4bKDBBBA6603EC3231CFF01",
        "From: <sip:ann@example.test>;tag=3987742551;epid=7ee3dec9c0de",
        "To: <sip:ann@example.test>",
        "CSeq: 1 REGISTER",
        "Call-ID: 9143g6994a1CFEiC509mB39EtB753b76B2x7ee3dec9c0de",
        &format!(
            "Contact: <sip:192.0.2.7:58640;transport=tcp;ms-opaque=d3470f2e1d>;expires=7200;\
             +sip.instance=\"<urn:uuid:{INSTANCE}>\";gruu=\"{GRUU}\""
        ),
        "Expires: 7200",
        "ms-keep-alive: UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300",
        "Allow-Events: vnd-microsoft-provisioning,vnd-microsoft-roaming-contacts,vnd-microsoft-roaming-ACL,\
         presence,presence.wpending,vnd-microsoft-roaming-self,vnd-microsoft-provisioning-v2",
        "Server: RTC/3.5",
        "Supported: adhoclist",
        "Supported: msrtc-event-categories",
        "presence-state: register-action=\"added\"",
    ];
    assert_eq!(lines, expect);
    let again = it.register(NOW + HOUR, 1, &sipe(2, EPID, INSTANCE));
    assert_eq!(
        again.headers.get("presence-state").map(|v| v.as_str()),
        Some("register-action=\"refreshed\"")
    );
    assert_eq!(it.registrar.len(), 1);
}

#[test]
fn a_user_has_several_endpoints() {
    let mut it = Fixture::new();
    it.register(NOW, 1, &sipe(1, EPID, INSTANCE));
    let response = it.register(NOW, 2, &sipe(1, "b34afb6ebb23", OTHER));
    assert_eq!(response.headers.all("Contact").count(), 2);
    it.register(NOW, 3, &phone(1, "<sip:ann@192.0.2.9:5060>;q=0.5"));
    assert_eq!(it.flows("sip:ann@example.test"), [2, 1, 3]);
    assert_eq!(it.flows("sip:Ann@EXAMPLE.test;user=phone"), [2, 1, 3]);
    assert_eq!(it.flows(GRUU), [1]);
    assert_eq!(it.flows("sip:ann@example.test;opaque=user:epid:nobody;gruu"), [] as [u64; 0]);
    assert_eq!(it.flows("sip:ann@example.test;gruu;opaque=app:conf:focus:id:12345678"), [] as [u64; 0]);
    assert_eq!(it.flows("sip:bob@example.test"), [] as [u64; 0]);
    assert!(it.registrar.has_epid(NOW, &ann(), EPID) && !it.registrar.has_epid(NOW, &ann(), "x"));
}

#[test]
fn a_plain_phone_gets_a_plain_answer() {
    let mut it = Fixture::new();
    let response =
        it.register(NOW, 1, &phone(1, "<sip:ann@192.0.2.9:5060>;expires=90, <sip:ann@192.0.2.9:5062>"));
    assert_eq!(response.status, 200);
    let contacts: Vec<_> = response.headers.all("Contact").map(|value| value.as_str()).collect();
    assert_eq!(contacts, ["<sip:ann@192.0.2.9:5060>;expires=90", "<sip:ann@192.0.2.9:5062>;expires=7200"]);
    assert_eq!(response.headers.get("Server"), None);
    let mut query = phone(2, "x");
    query.headers.remove("Contact");
    assert_eq!(it.register(NOW, 1, &query).headers.all("Contact").count(), 2);
    let response = it.register(NOW, 1, &phone(3, "<sip:ann@192.0.2.9:5060>;expires=0"));
    assert_eq!(response.headers.all("Contact").count(), 1);
    let mut all = phone(4, "*");
    all.headers.set("Expires", "0");
    assert_eq!(it.register(NOW, 1, &all).headers.all("Contact").count(), 0);
    assert!(it.registrar.is_empty());
    assert_eq!(it.gone.len(), 2);
}

#[test]
fn a_phone_with_an_instance_replaces_its_old_contact() {
    let mut it = Fixture::new();
    it.register(NOW, 1, &phone(1, "<sip:ann@192.0.2.9:5060>;+sip.instance=\"<urn:uuid:00-0>\""));
    let response =
        it.register(NOW, 2, &phone(2, "<sip:ann@192.0.2.9:6060>;+sip.instance=\"<urn:uuid:00-0>\""));
    let contacts: Vec<_> = response.headers.all("Contact").map(|value| value.as_str()).collect();
    assert_eq!(contacts, ["<sip:ann@192.0.2.9:6060>;expires=7200;+sip.instance=\"<urn:uuid:00-0>\""]);
    assert_eq!(it.flows("sip:ann@example.test"), [2]);
    assert_eq!(it.gone, []);
}

#[test]
fn bindings_end_with_their_time_or_their_flow() {
    let mut it = Fixture::new();
    it.register(NOW, 1, &sipe(1, EPID, INSTANCE));
    it.register(NOW, 2, &phone(1, "<sip:ann@192.0.2.9:5060>;expires=3600"));
    assert_eq!(it.registrar.deadline(), Some(NOW + HOUR));
    it.registrar.handle_timeout(NOW + HOUR, &mut it.gone);
    assert_eq!(it.gone.len(), 1);
    assert_eq!(it.registrar.deadline(), Some(NOW + 2 * HOUR));
    // A client that came back by another flow stays when the old one closes.
    it.register(NOW, 3, &sipe(2, EPID, INSTANCE));
    it.registrar.flow_closed(flow(1), &mut it.gone);
    assert!(it.registrar.is_registered(NOW, &ann()));
    it.registrar.flow_closed(flow(3), &mut it.gone);
    assert!(!it.registrar.is_registered(NOW, &ann()));
    assert_eq!(it.gone[1].endpoint.epid.as_deref(), Some(EPID));
    assert_eq!(it.registrar.deadline(), None);
}

#[test]
fn nobody_is_reached_after_the_end_of_his_binding() {
    let mut it = Fixture::new();
    it.register(NOW, 1, &phone(1, "<sip:ann@192.0.2.9:5060>;expires=60"));
    let at_end = NOW + Duration::from_secs(60);
    assert_eq!(it.registrar.bindings(at_end, &ann()), []);
    assert!(!it.registrar.is_registered(at_end, &ann()));
}

#[test]
fn refusals() {
    let check = |change: &dyn Fn(&mut Request), status: u16, diagnostic: Option<&str>| {
        let mut it = Fixture::new();
        it.register(NOW, 1, &sipe(5, EPID, INSTANCE));
        let mut request = sipe(6, EPID, INSTANCE);
        change(&mut request);
        let response = it.register(NOW, 2, &request);
        let id = response.headers.get("ms-diagnostics").and_then(|value| value.split(';').next());
        assert_eq!((response.status, id), (status, diagnostic), "{request:?}");
        assert!(response.headers.get("Warning").is_some());
        assert_eq!(it.flows("sip:ann@example.test"), [1], "a refused REGISTER changes nothing");
    };
    check(&|r| r.headers.set("Event", "presence"), 489, Some("4055"));
    check(&|r| r.headers.set("Supported", "msrtc-event-categories"), 421, Some("2057"));
    check(
        &|r| r.headers.set("From", "<sip:ann@example.test>;tag=1;epid=12345678901234567"),
        400,
        Some("4012"),
    );
    check(&|r| r.headers.set("To", "<sip:bob@example.test>"), 403, Some("4004"));
    check(&|r| r.headers.set("From", "<sip:bob@example.test>;tag=1;epid=1"), 403, Some("4004"));
    check(&|r| r.headers.set("Expires", "59"), 423, None);
    check(&|r| r.headers.set("Contact", "*"), 400, None);
    check(&|r| r.headers.set("Contact", "<sip:a"), 400, None);
    check(&|r| r.headers.set("Contact", format!("<sip:{}@b.test>", "a".repeat(MAX_CONTACT))), 400, None);
    check(&|r| r.headers.set("Path", ["<sip:p.test;lr>"; MAX_PATH + 1].join(",")), 400, None);
    check(&|r| r.headers.set("CSeq", "5 REGISTER"), 500, None);
    let nameless = |r: &mut Request| {
        r.headers.set("From", "<sip:ann@example.test>;tag=1");
        r.headers.set("Contact", "<sip:192.0.2.7:1>");
    };
    check(&nameless, 400, Some("4010"));
}

#[test]
fn refusals_carry_what_their_status_demands() {
    let mut it = Fixture::new();
    let mut short = phone(1, "<sip:ann@192.0.2.9:5060>");
    short.headers.set("Expires", "10");
    let response = it.register(NOW, 1, &short);
    assert_eq!(response.headers.get("Min-Expires").map(|v| v.as_str()), Some("60"));
    let mut request = sipe(1, EPID, INSTANCE);
    request.headers.set("Supported", "msrtc-event-categories");
    let response = it.register(NOW, 1, &request);
    assert_eq!(response.headers.get("Require").map(|v| v.as_str()), Some("gruu-10"));
    assert_eq!(
        response.headers.get("ms-diagnostics").map(|v| v.as_str()),
        Some(
            "2057;reason=\"A client of enhanced presence has to support gruu-10.\";source=\"fe.example.test\""
        ),
    );
}

#[test]
fn endpoints_of_a_user_are_limited() {
    let mut it = Fixture::new();
    for number in 0..MAX_ENDPOINTS {
        let contact = format!("<sip:ann@192.0.2.9:{}>", 5000 + number);
        assert_eq!(it.register(NOW, 1, &phone(number as u32 + 1, &contact)).status, 200);
    }
    assert_eq!(it.register(NOW, 1, &phone(90, "<sip:ann@192.0.2.9:6000>")).status, 403);
    assert_eq!(it.register(NOW, 1, &phone(91, "<sip:ann@192.0.2.9:5000>")).status, 200);
    assert_eq!(it.registrar.len(), MAX_ENDPOINTS);
}

#[test]
fn a_path_is_kept_and_repeated() {
    let mut it = Fixture::new();
    let mut request = phone(1, "<sip:ann@192.0.2.9:5060>");
    request.headers.push("Path", "<sip:edge.example.test;lr>");
    let response = it.register(NOW, 1, &request);
    assert_eq!(response.headers.list("Path"), ["<sip:edge.example.test;lr>"]);
    assert_eq!(it.registrar.bindings(NOW, &ann())[0].path, ["<sip:edge.example.test;lr>"]);
}
