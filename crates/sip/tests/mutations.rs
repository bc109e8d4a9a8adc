//! No bytes make the text layer panic, and what it reads it prints so that it reads the same again:
//! tried on real shapes of messages with seeded damage.

use std::{fmt::Display, path::PathBuf, str::FromStr};

use bytes::Bytes;
use confab_machine::Entropy;
use confab_sip::{
    Headers, Malformed, Message, NameAddr, Response, Sdp,
    frame::{Frame, Framer},
    multipart,
};

/// How often each message is damaged.
const ROUNDS: u64 = 300;

/// What parsers trip over.
const POISON: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\r\n ",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"%",
    b"%00",
    b"?",
    b"=",
    b"[",
    b"]",
    b"\0",
    b"\xff",
    b"\xc3",
    "é".as_bytes(),
    b"99999999999999999999",
];

/// Says which damage it was when a test fails.
struct Told {
    name: String,
    round: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} in round {}", self.name, self.round);
        }
    }
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut corpus = Vec::new();
    for folder in ["rfc4475", "samples"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        for entry in std::fs::read_dir(folder).expect("the corpus is there") {
            let path = entry.expect("a file of the corpus").path();
            if path.extension().is_some_and(|end| end == "dat" || end == "sip") {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                corpus.push((name, std::fs::read(&path).expect("a file of the corpus")));
            }
        }
    }
    corpus.sort();
    assert!(corpus.len() > 49);
    corpus
}

fn below(entropy: &mut Entropy, limit: usize) -> usize {
    usize::try_from(entropy.number() % limit.max(1) as u64).expect("it is below a usize")
}

/// Damages `bytes` in one to four places.
fn damage(entropy: &mut Entropy, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..below(entropy, 4) + 1 {
        let at = below(entropy, bytes.len() + 1);
        let end = (at + below(entropy, 40)).min(bytes.len());
        match below(entropy, 6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 if at < bytes.len() => bytes[at] ^= 1 << below(entropy, 8),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let from = below(entropy, other.len());
                let to = (from + below(entropy, 80)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => drop(bytes.splice(at..at, POISON[below(entropy, POISON.len())].iter().copied())),
        }
    }
}

/// Runs `check` on every message of the corpus, as it is and damaged.
fn for_all(check: impl Fn(&mut Entropy, &[u8])) {
    let corpus = corpus();
    for (index, (name, original)) in corpus.iter().enumerate() {
        for round in 0..ROUNDS {
            let _told = Told { name: name.clone(), round };
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&round.to_le_bytes());
            seed[8..16].copy_from_slice(&(index as u64).to_le_bytes());
            let mut entropy = Entropy::from_seed(seed);
            let mut bytes = original.clone();
            if round > 0 {
                let other = below(&mut entropy, corpus.len());
                damage(&mut entropy, &mut bytes, &corpus[other].1);
            }
            check(&mut entropy, &bytes);
        }
    }
}

/// A value that was read is printed so that it reads the same.
fn prints_itself<T: Display + FromStr<Err = Malformed> + PartialEq + std::fmt::Debug>(value: T) {
    let printed = value.to_string();
    assert_eq!(printed.parse::<T>().as_ref(), Ok(&value), "{printed}");
}

fn check_headers(headers: &Headers) {
    let addresses =
        [headers.contacts(), headers.routes(), headers.record_routes(), headers.addresses("Refer-To")];
    let single = [headers.from(), headers.to()].into_iter().flatten();
    for address in addresses.into_iter().flatten().flatten().chain(single) {
        address.uri.aor();
        assert!(address.uri.equivalent(&address.uri), "{address}");
        prints_itself(address.uri.clone());
        prints_itself::<NameAddr>(address);
    }
    headers.vias().into_iter().flatten().for_each(prints_itself);
    headers.top_via().into_iter().for_each(prints_itself);
    headers.cseq().into_iter().for_each(prints_itself);
    headers.content_type().into_iter().for_each(prints_itself);
    headers.expires();
    headers.has_token("Supported", "ms-benotify");
    let mut headers = headers.clone();
    while headers.remove_first("Via").is_some() {}
    assert!(headers.top_via().is_err());
}

#[test]
fn messages() {
    for_all(|_, bytes| match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            assert_eq!(Message::parse(message.to_bytes()).as_ref(), Ok(&message));
            assert!(message.headers().top_via().is_ok() && message.headers().from().is_ok());
            check_headers(message.headers());
            if let Some(kind) = message.headers().content_type() {
                for part in multipart::parse(&kind, message.body()).into_iter().flatten() {
                    check_headers(&part.headers);
                }
            }
        }
        Err(fault) => {
            assert!(fault.to_string().len() < 400, "{fault}");
            if let Some(request) = fault.partial() {
                let mut response = Response::to(request, fault.status());
                response.set_to_tag("x");
                response.to_bytes();
            }
        }
    });
}

#[test]
fn session_descriptions_come_out_as_they_went_in() {
    for_all(|_, bytes| {
        let body = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(bytes, |at| &bytes[at + 4..]);
        if let Ok(sdp) = Sdp::parse(body) {
            assert_eq!(sdp.to_bytes(), body);
            for medium in &sdp.media {
                assert!(!medium.kind().is_empty() && !medium.protocol().is_empty());
                sdp.address(medium);
            }
            sdp.accept_types();
        }
    });
}

/// Decoder and parser agree on where a message ends; else a second one could hide in the first.
fn ends_where_it_is_cut(bytes: Bytes) {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
    if let Ok(message) = Message::parse(bytes.clone()) {
        assert_eq!(head + message.body().len(), bytes.len());
    }
}

#[test]
fn streams_end_or_go_on_but_never_stall() {
    for_all(|entropy, bytes| {
        let mut framer = Framer::new(2000);
        let mut rest = bytes;
        'stream: while !rest.is_empty() {
            let (piece, tail) = rest.split_at(below(entropy, rest.len()) + 1);
            rest = tail;
            framer.push(piece);
            // More frames than bytes would mean that one was told for nothing.
            for _ in 0..bytes.len() + 1 {
                match framer.next() {
                    Ok(Some(Frame::Message(bytes))) => ends_where_it_is_cut(bytes),
                    Ok(Some(_)) => {}
                    Ok(None) => continue 'stream,
                    Err(_) => break 'stream,
                }
            }
            panic!("the framer does not come to an end");
        }
    });
}
