//! The fuzz targets, as part of every test run: each takes its whole corpus as it is, and then
//! twenty thousand damaged copies. A failure tells the seed and the bytes; put them into a file of
//! the corpus, where they stay.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path};

use confab_sim::fuzz::{C3P_SEQUENCE, CCCP, CONFERENCE_INFO, Damage, SDP, SIP, Target};

/// Damaged copies per target.
const ROUNDS: u64 = 20_000;

/// Says what it was when a target panics.
struct Told<'a> {
    target: Target,
    what: String,
    bytes: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} panics at {}:\n{}", self.target.name, self.what, self.bytes.escape_ascii());
        }
    }
}

fn run(target: Target, what: String, bytes: &[u8]) {
    let _told = Told { target, what, bytes };
    (target.run)(bytes);
}

/// The target's own corpus, and the samples of the crate it is about.
fn corpus(target: Target, samples: &[&str]) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = format!("corpus/{}", target.name);
    let mut corpus = Vec::new();
    for folder in samples.iter().copied().chain([own.as_str()]) {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end != "md") {
                corpus.push((path.display().to_string(), fs::read(path).unwrap()));
            }
        }
    }
    // The order of a folder differs from machine to machine; a seed must not.
    corpus.sort();
    assert!(corpus.len() > 3, "{} has a corpus", target.name);
    corpus
}

fn fuzz(target: Target, samples: &[&str]) {
    let corpus = corpus(target, samples);
    for (name, bytes) in &corpus {
        run(target, name.clone(), bytes);
    }
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    for seed in 0..ROUNDS {
        let bytes = Damage::new(seed).of(&corpus);
        run(target, format!("seed {seed}"), &bytes);
    }
}

#[test]
fn sip() {
    fuzz(SIP, &["../sip/tests/samples", "../sip/tests/rfc4475"]);
}

#[test]
fn sdp() {
    fuzz(SDP, &[]);
}

#[test]
fn cccp() {
    fuzz(CCCP, &["../schema/samples"]);
}

#[test]
fn conference_info() {
    fuzz(CONFERENCE_INFO, &["../schema/samples"]);
}

#[test]
fn c3p_sequence() {
    fuzz(C3P_SEQUENCE, &[]);
}
