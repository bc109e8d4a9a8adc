//! The fuzz targets, as part of every test run: each takes its whole corpus as it is, and then
//! twenty thousand damaged copies (fewer where each takes long). A failure tells the seed and the
//! bytes; put them into a file of the corpus, where they stay.
//!
//! `CONFAB_FUZZ_ROUNDS` and `CONFAB_FUZZ_SEED` choose other seeds: how many, and the first of them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path};

use confab_sim::fuzz::{
    ALL, C3P_SEQUENCE, CCCP, CONFERENCE_INFO, DIGEST, DOCUMENTS, Damage, FRAME, MULTIPART, RTCP, RTP, SDP,
    SERVER_BYTES, SIP, STUN, Target, USERS,
};

/// Damaged copies per target.
const ROUNDS: u64 = 20_000;
/// Damaged copies for a target that runs whole sequences of requests.
const USERS_ROUNDS: u64 = 5_000;
/// Damaged copies for a target that runs a whole server.
const SERVER_ROUNDS: u64 = 500;

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

/// What the environment says instead, if it says anything.
fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}

fn fuzz(target: Target, samples: &[&str], rounds: u64) {
    let corpus = corpus(target, samples);
    for (name, bytes) in &corpus {
        run(target, name.clone(), bytes);
    }
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let first = asked("CONFAB_FUZZ_SEED").unwrap_or_default();
    for seed in first..first + asked("CONFAB_FUZZ_ROUNDS").unwrap_or(rounds) {
        let bytes = Damage::new(seed).of(&corpus);
        run(target, format!("seed {seed}"), &bytes);
    }
}

/// A test for each target: its name, and where samples for it lie beside its own corpus.
macro_rules! targets {
    ($($name:ident: $target:ident, $samples:expr, $rounds:expr;)*) => {
        $(#[test]
        fn $name() {
            assert_eq!(stringify!($name), $target.name);
            fuzz($target, &$samples, $rounds);
        })*

        #[test]
        fn each_target_has_a_test() {
            let mut tested = [$(stringify!($name)),*];
            let mut all = ALL.map(|target| target.name);
            tested.sort_unstable();
            all.sort_unstable();
            assert_eq!(tested, all);
        }
    };
}

targets! {
    sip: SIP, ["../sip/tests/samples", "../sip/tests/rfc4475"], ROUNDS;
    sdp: SDP, [], ROUNDS;
    cccp: CCCP, ["../schema/samples"], ROUNDS;
    conference_info: CONFERENCE_INFO, ["../schema/samples"], ROUNDS;
    c3p_sequence: C3P_SEQUENCE, [], ROUNDS;
    frame: FRAME, [], ROUNDS;
    multipart: MULTIPART, [], ROUNDS;
    digest: DIGEST, [], ROUNDS;
    documents: DOCUMENTS, ["../schema/samples"], ROUNDS;
    users: USERS, [], USERS_ROUNDS;
    rtp: RTP, [], ROUNDS;
    rtcp: RTCP, [], ROUNDS;
    stun: STUN, [], ROUNDS;
    server_bytes: SERVER_BYTES, ["corpus/sip", "../sip/tests/samples", "../sip/tests/rfc4475"], SERVER_ROUNDS;
}
