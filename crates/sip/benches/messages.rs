//! How fast SIP is read and printed: the messages that make up joining a conference and being told
//! what changes in it; beside that, what merely copying them and finding their lines costs. And how
//! fast a password is proved. `make bench BENCH=messages` runs this; the figures are in
//! `docs/performance.md`.

use bytes::Bytes;
use confab_machine::Time;
use confab_sip::{
    Message, Method, Uri,
    auth::{Algorithm, Challenge, DigestAuthority, Ha1s, Verdict, authorize},
    frame::{Frame, Framer},
};
use divan::{Bencher, counter::BytesCount};

/// The messages, by what they are.
const MESSAGES: [&str; 3] = ["INVITE", "SUBSCRIBE", "BENOTIFY"];

/// A client's INVITE to the conferencing server for IM, with its offer.
const INVITE: &str = include_str!("../tests/samples/invite_im.sip");

/// A client's SUBSCRIBE to a conference.
const SUBSCRIBE: &str = "SUBSCRIBE sip:ann@example.test;gruu;opaque=app:conf:focus:id:4F6D2B90C1 SIP/2.0\r\n\
    Via: SIP/2.0/TLS 192.0.2.7:49152;branch=z9hG4bK5f1c9a\r\n\
    Max-Forwards: 70\r\n\
    From: \"Bob\" <sip:bob@example.test>;tag=3377;epid=aabbccddeeff\r\n\
    To: <sip:ann@example.test;gruu;opaque=app:conf:focus:id:4F6D2B90C1>\r\n\
    Call-ID: 90ab12cd34ef56ab\r\n\
    CSeq: 1 SUBSCRIBE\r\n\
    Contact: <sip:bob@example.test;opaque=user:epid:q7vM3e7_AAAA;gruu>\r\n\
    User-Agent: Probe/1.0\r\n\
    Event: conference\r\n\
    Accept: application/conference-info+xml\r\n\
    Supported: com.microsoft.autoextend\r\n\
    Supported: ms-benotify\r\n\
    Proxy-Require: ms-benotify\r\n\
    Supported: ms-piggyback-first-notify\r\n\
    Expires: 3600\r\n\
    Content-Length: 0\r\n\r\n";

/// A notification's head; what it is about goes behind it.
const BENOTIFY: &str = "BENOTIFY sip:bob@example.test;opaque=user:epid:q7vM3e7_AAAA;gruu SIP/2.0\r\n\
    Via: SIP/2.0/TLS fe.example.test:5061;branch=z9hG4bK957d12ab34cd56ef78\r\n\
    From: <sip:ann@example.test;gruu;opaque=app:conf:focus:id:4F6D2B90C1>;tag=stag44\r\n\
    To: \"Bob\" <sip:bob@example.test>;tag=3377;epid=aabbccddeeff\r\n\
    Call-ID: 90ab12cd34ef56ab\r\n\
    CSeq: 2 BENOTIFY\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:ann@example.test;gruu;opaque=app:conf:focus:id:4F6D2B90C1>;isfocus\r\n\
    Event: conference\r\n\
    Subscription-State: active;expires=3600\r\n\
    Content-Type: application/conference-info+xml\r\n\
    Content-Length: 1024\r\n\r\n";

/// Bytes of a notification about one person.
const BODY: usize = 1024;

fn main() {
    divan::main();
}

fn bytes(message: &str) -> Bytes {
    match message {
        "INVITE" => Bytes::from_static(INVITE.as_bytes()),
        "SUBSCRIBE" => Bytes::from_static(SUBSCRIBE.as_bytes()),
        _ => [BENOTIFY.as_bytes(), &[b'x'; BODY]].concat().into(),
    }
}

fn message(name: &str) -> Message {
    Message::parse(bytes(name)).expect("the samples are SIP")
}

#[divan::bench(args = MESSAGES)]
fn parse(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = bytes(name);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| Message::parse(bytes.clone()));
}

#[divan::bench(args = MESSAGES)]
fn print(bencher: Bencher<'_, '_>, name: &str) {
    let message = message(name);
    bencher.counter(BytesCount::new(message.to_bytes().len())).bench_local(|| message.to_bytes());
}

/// The floor: the same bytes copied.
#[divan::bench(args = MESSAGES)]
fn floor_copy(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = bytes(name);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| bytes.to_vec());
}

/// The floor of reading: where each line ends, and where each header's name does.
#[divan::bench(args = MESSAGES)]
fn floor_lines(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = bytes(name);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.filter_map(|line| line.iter().position(|byte| *byte == b':')).sum::<usize>()
    });
}

/// A client's answer to a challenge is judged.
#[divan::bench(args = ["MD5", "SHA-256"])]
fn prove_by_digest(bencher: Bencher<'_, '_>, algorithm: &str) {
    const URI: &str = "sip:example.test";
    let algorithm = if algorithm == "MD5" { Algorithm::Md5 } else { Algorithm::Sha256 };
    let now = Time::from_unix_secs(1_000_000);
    let mut authority = DigestAuthority::new("example.test", [1; 32]).with_algorithms(vec![algorithm]);
    let challenge = authority.challenge(now, false);
    let challenge = Challenge::parse(&challenge[0]).expect("what is written can be read");
    let ha1s = Ha1s::of("ann", authority.realm(), "wonderland");
    let uri: Uri = URI.parse().expect("it is a URI");
    let mut count = 0;
    let answer = || {
        count += 1;
        authorize(&challenge, &Method::Register, URI, "ann", "wonderland", "0a4f113b", count)
    };
    bencher.with_inputs(answer).bench_local_values(|answer| {
        let verdict = authority.verify(now, &Method::Register, &uri, &answer, &ha1s);
        assert!(matches!(verdict, Verdict::Accepted), "the password is right");
    });
}

/// As from a socket: found in a stream, then read.
#[divan::bench(args = MESSAGES)]
fn frame_and_parse(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = bytes(name);
    let mut framer = Framer::new(confab_sip::MAX_MESSAGE);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        framer.push(&bytes);
        match framer.next() {
            Ok(Some(Frame::Message(message))) => Message::parse(message),
            other => unreachable!("the samples are whole messages, not {other:?}"),
        }
    });
}
