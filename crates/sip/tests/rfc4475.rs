//! The torture messages of RFC 4475: what a parser is to do with each of the 49.

use std::path::PathBuf;

use bytes::Bytes;
use confab_sip::{Malformed, MediaType, Message, Request, Scheme, Uri, multipart};

/// Well-formed: §3.1.1, and of §3.2 to §3.4 what only a transaction, an application or an older
/// element has something to say about.
const WELL_FORMED: [&str; 29] = [
    "wsinv",
    "intmeth",
    "esc01",
    "escnull",
    "esc02",
    "lwsdisp",
    "longreq",
    "dblreq",
    "semiuri",
    "transports",
    "mpart01",
    "unreason",
    "noreason",
    "badbranch",
    "unkscm",
    "novelsc",
    "unksm2",
    "bext01",
    "invut",
    "regaut01",
    "bcast",
    "zeromf",
    "cparam01",
    "cparam02",
    "regescrt",
    "sdp01",
    "inv2543",
    // Not valid, but the fault is in a header nobody need look at; see below.
    "baddate",
    "regbadct",
];

/// Malformed (§3.1.2, §3.3): the status to refuse it with, and the sentence.
const MALFORMED: [(&str, u16, &str); 20] = [
    ("badinv01", 400, r#"Via: "" is not a parameter's name"#),
    ("clerr", 400, "Content-Length: says 9999 bytes, but 154 follow"),
    ("ncl", 400, r#"Content-Length: "-999" is not a number of bytes"#),
    ("scalar02", 400, r#"Max-Forwards: "300" is no number below 256"#),
    ("scalarlg", 400, r#"CSeq: "9292394834772304023312 OPTIONS" has no number below 2^31"#),
    ("quotbal", 400, r#"To: "\"Mr. J. User <sip:j.user@example.com>" has no scheme"#),
    ("ltgtruri", 400, r#"request line: "<sip:user@example.com>" has no scheme"#),
    ("lwsruri", 400, r#"request line: ends in "lr SIP/2.0" instead of SIP/2.0"#),
    ("lwsstart", 400, r#"request line: ends in "sip:user@example.com  SIP/2.0" instead of SIP/2.0"#),
    ("trws", 400, r#"request line: ends in "SIP/2.0  " instead of SIP/2.0"#),
    ("escruri", 400, "request line: has a URI with headers, which only a link may have"),
    ("badaspec", 400, r#"To: " sip:t.watson@example.org " has no scheme"#),
    ("baddn", 400, "message: has no empty line behind its headers"),
    ("badvers", 505, r#"request line: ends in "SIP/7.0" instead of SIP/2.0"#),
    ("mismatch01", 400, "CSeq: names INVITE in a request that is OPTIONS"),
    ("mismatch02", 400, "CSeq: names INVITE in a request that is NEWMETHOD"),
    ("bigcode", 400, r#"status line: "4294967301" is not a status from 100 to 699"#),
    ("insuf", 400, "From: is missing"),
    ("multi01", 400, "CSeq: is there twice, with different values"),
    ("mcl01", 400, "Content-Length: is there twice, with different values"),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rfc4475")
}

fn parse(name: &str) -> Result<Message, Malformed> {
    let bytes = std::fs::read(folder().join(name).with_extension("dat")).expect("the message is there");
    Message::parse(Bytes::from(bytes))
}

fn message(name: &str) -> Message {
    parse(name).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

fn request(name: &str) -> Request {
    match message(name) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("{name} is a response"),
    }
}

#[test]
fn each_message_has_its_verdict() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "dat"));
    let mut files: Vec<_> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let mut judged: Vec<_> = WELL_FORMED.into_iter().chain(MALFORMED.map(|(name, ..)| name)).collect();
    files.sort();
    judged.sort();
    assert_eq!(files, judged);
}

#[test]
fn well_formed_ones_are_read_and_printed_equivalently() {
    for name in WELL_FORMED {
        let read = message(name);
        assert_eq!(Message::parse(read.to_bytes()).as_ref(), Ok(&read), "{name}");
    }
}

#[test]
fn malformed_ones_are_told_and_requests_can_be_answered() {
    for (name, status, sentence) in MALFORMED {
        let fault = parse(name).unwrap_err();
        assert_eq!((fault.status(), fault.to_string().as_str()), (status, sentence), "{name}");
        let is_response = ["scalarlg", "bigcode"].contains(&name);
        assert_eq!(fault.partial().is_none(), is_response, "{name}");
        assert!(fault.partial().is_none_or(|partial| partial.headers.get("Via").is_some()), "{name}");
    }
}

/// §3.1.2.15 in the RFC has the empty line that its archive lacks.
#[test]
fn display_names_with_commas_must_be_quoted() {
    let mut bytes = std::fs::read(folder().join("baddn.dat")).unwrap();
    bytes.extend_from_slice(b"\r\n");
    let fault = Message::parse(Bytes::from(bytes)).unwrap_err().to_string();
    assert!(
        fault.starts_with("From: ") && fault.ends_with("has a display name that ought to be quoted"),
        "{fault}"
    );
}

/// §3.1.2.12, §3.1.2.13, §3.2.1: the fault shows when the header is looked at.
#[test]
fn faults_of_optional_headers_are_visible() {
    assert_eq!(message("baddate").headers().get("Date").unwrap(), &"Fri, 01 Jan 2010 16:00:00 EST");
    let contact = message("regbadct").headers().contacts().unwrap_err().to_string();
    assert!(contact.starts_with("Contact: "), "{contact}");
    assert_eq!(message("badbranch").headers().top_via().unwrap().unique_branch(), None);
}

/// §3.1.1.1
#[test]
fn folds_and_blanks_are_taken_in() {
    let wsinv = request("wsinv");
    let headers = &wsinv.headers;
    assert_eq!(wsinv.uri.to_string(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    assert_eq!(headers.to().unwrap().to_string(), "<sip:vivekg@chair-dnrc.example.com>;tag=1918181833n");
    let from = headers.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some(r#"J Rosenberg \""#));
    assert_eq!(from.tag(), Some("98asjd8"));
    assert_eq!((headers.max_forwards(), headers.cseq().unwrap().number), (Ok(Some(68)), 9));
    let vias: Vec<_> = headers.vias().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
            "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
            "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
        ]
    );
    assert_eq!(headers.get("Subject").unwrap(), &"");
    assert_eq!(headers.get("NewFangledHeader").unwrap(), &"newfangled value continued newfangled value");
    let [contact] = &headers.contacts().unwrap()[..] else { panic!("one contact") };
    assert_eq!(contact.display_name.as_deref(), Some(r#"Quoted string """#));
    assert_eq!(contact.params.to_string(), ";newparam=newvalue;secondparam;q=0.33");
    assert!(headers.routes().unwrap()[0].uri.has_param("lr"));
    assert_eq!(wsinv.body.len(), 150);
}

/// §3.1.1.2 to §3.1.1.5: escapes mean something in URIs and nothing elsewhere.
#[test]
fn unusual_characters_stay_what_they_are() {
    let intmeth = request("intmeth");
    assert_eq!(intmeth.method.as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(intmeth.headers.cseq().unwrap().method, intmeth.method);
    assert_eq!(intmeth.uri.password.as_deref(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(intmeth.headers.to().unwrap().display_name.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(intmeth.headers.from().unwrap().params.get("fromParam''~+*_!.-%"), Some("работающий"));
    assert_eq!(intmeth.headers.get("extensionHeader-!.%*+_`'~").unwrap(), &"\u{feff}大停電");

    let esc01 = request("esc01");
    assert_eq!(esc01.uri.user.as_deref(), Some("sips%3Auser%40example.com"));
    assert_eq!(esc01.headers.to().unwrap().uri.aor(), "sip:user@example.com");
    assert_eq!(esc01.headers.contacts().unwrap()[0].uri.params.get("n%61me"), Some("v%61lue%25%34%31"));

    let null = request("escnull");
    assert_eq!(null.headers.from().unwrap().uri.user.as_deref(), Some("null-%00-null"));
    assert_eq!(null.headers.contacts().unwrap().len(), 2);

    let esc02 = request("esc02");
    assert_eq!(esc02.method.as_str(), "RE%47IST%45R");
    assert_eq!(esc02.headers.to().unwrap().display_name.as_deref(), Some("%Z%45"));
    assert_eq!(esc02.headers.contacts().unwrap().len(), 2);
}

/// §3.1.1.8 and §3.1.1.11: the body ends where Content-Length says.
#[test]
fn bodies_end_where_they_should() {
    assert!(request("dblreq").body.is_empty());
    let mpart = request("mpart01");
    let kind: MediaType = mpart.headers.content_type().unwrap();
    let parts = multipart::parse(&kind, &mpart.body).unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].body, "Hello");
}

/// §3.1.1.9, §3.3.2 to §3.3.4, §3.3.12, §3.3.13
#[test]
fn uris_are_split_in_the_right_places() {
    let semi = request("semiuri").uri;
    assert_eq!((semi.user.as_deref(), semi.host.as_str()), (Some("user;par=u%40example.net"), "example.com"));
    assert_eq!(request("unkscm").uri.scheme, Scheme::Other("nobodyknowsthisscheme".into()));
    assert_eq!(request("novelsc").uri.to_string(), "soap.beep://192.0.2.103:3002");
    let unksm2 = request("unksm2");
    assert_eq!(unksm2.headers.from().unwrap().uri.to_string(), "http://www.example.com");
    assert_eq!(unksm2.headers.contacts().unwrap()[0].uri.scheme, Scheme::Other("name".into()));

    let contact = |name: &str| request(name).headers.contacts().unwrap().remove(0);
    let outside = contact("cparam01");
    assert!(outside.params.has("unknownparam") && !outside.uri.has_param("unknownparam"));
    let inside = contact("cparam02");
    assert!(!inside.params.has("unknownparam") && inside.uri.has_param("unknownparam"));
    let headers = contact("regescrt").uri.headers;
    assert_eq!(headers.as_deref(), Some("Route=%3Csip:sip.example.com%3E"));
}

/// §3.1.1.10, §3.1.1.12, §3.1.1.13, §3.3.11, §3.4.1
#[test]
fn other_details() {
    let vias = message("transports").headers().vias().unwrap();
    let transports: Vec<_> = vias.iter().map(|via| via.transport.as_str()).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    let reason = |name: &str| match message(name) {
        Message::Response(response) => response.reason,
        Message::Request(_) => panic!("{name} is a request"),
    };
    assert!(reason("unreason").starts_with("= 2**3 * 5**2 но сто девяносто"));
    assert_eq!(reason("noreason"), "");
    assert_eq!(message("zeromf").headers().max_forwards(), Ok(Some(0)));
    let old = request("inv2543");
    assert_eq!(old.headers.from().unwrap().tag(), None);
    assert_eq!(old.headers.top_via().unwrap().branch(), None);
    let to: Uri = old.headers.to().unwrap().uri;
    assert_eq!(to.to_string(), "sip:+16505552222@ss1.example.net");
}
