//! Invariants 2, 4, 7 and 8: the control link is the only way to an MCU, every event passes the
//! one loop, nobody shares a machine, cores have neither locks nor hash order nor a clock.

use std::collections::BTreeSet;

use crate::{none, source::is_word, tree::TREE};

/// The crates of cores, which are machines and documents.
const CORES: [&str; 7] = [
    "crates/client/",
    "crates/conference/",
    "crates/machine/",
    "crates/mcu/",
    "crates/schema/",
    "crates/sip/",
    "crates/users/",
];

/// The calls of `handle` and `handle_timeout` in the shell. The loop calls a whole machine; a
/// machine calls the machines it is made of.
const CALLS: [(&str, &[&str]); 8] = [
    ("crates/server/src/drive.rs", &["machine"]),
    ("crates/server/src/focus_host.rs", &["self.focus"]),
    ("crates/server/src/focus_host/journal.rs", &["host"]),
    ("crates/server/src/focus_host/saved_flow.rs", &["focus"]),
    ("crates/server/src/front_end.rs", &["self.transactions", "self.users"]),
    ("crates/server/src/front_end/forward.rs", &["context.forward"]),
    ("crates/server/src/mcu_host.rs", &["self.0"]),
    ("crates/server/src/mcu_host/sip.rs", &["self.transactions"]),
];

#[test]
fn front_end_and_focus_reach_an_mcu_only_over_the_control_link() {
    let hosts = ["crates/server/src/front_end", "crates/server/src/focus_host"];
    let words = ["mcu_host", "confab_mcu", "McuHost", "McuSip"];
    let found =
        TREE.sources_in(&hosts).flat_map(|source| source.lines_with(&source.production_code(), &words));
    none(
        "Front end and Focus know MCUs only as C3P on the control link (invariant 4):",
        &found.collect::<Vec<_>>(),
    );
}

#[test]
fn only_the_loop_drives_machines() {
    let mut findings = Vec::new();
    for source in TREE.sources_in(&["crates/server/src/"]) {
        let allowed =
            CALLS.iter().find(|(path, _)| *path == source.path).map_or(&[][..], |(_, receivers)| receivers);
        let code = source.production_code();
        for (number, line) in code.lines().enumerate() {
            for call in [".handle(", ".handle_timeout("] {
                let Some(at) = line.find(call) else { continue };
                let receiver = line[..at].rsplit(|char: char| !is_word(char) && char != '.').next().unwrap();
                if !allowed.contains(&receiver) {
                    findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
                }
            }
        }
    }
    let missing = CALLS.iter().filter(|(path, _)| !TREE.has(path));
    findings.extend(missing.map(|(path, _)| format!("{path} is gone: take it out of this test")));
    none(
        "Machines are driven by crates/server/src/drive.rs, or by the machine they are part of (invariant 7):",
        &findings,
    );
}

#[test]
fn a_machine_belongs_to_one_task() {
    let mut machines: BTreeSet<String> = ["dyn Machine", "Conference"].map(str::to_owned).into();
    for source in TREE.sources_in(&["crates/"]) {
        let code = source.production_code();
        let found = code.split("Machine for ").skip(1);
        machines.extend(found.map(|rest| rest.chars().take_while(|char| is_word(*char)).collect::<String>()));
    }
    machines.remove("");
    assert!(machines.contains("Focus") && machines.contains("FrontEnd"), "machines are found: {machines:?}");
    let mut findings = Vec::new();
    for source in TREE.sources_in(&["crates/"]) {
        let code = source.production_code();
        for (number, line) in code.lines().enumerate() {
            let locked = ["Mutex<", "RwLock<"].iter().filter_map(|lock| line.split_once(lock));
            for (_, inside) in locked {
                let inside = inside.trim_start_matches("Box<").trim_start_matches("confab_machine::");
                if machines.iter().any(|name| {
                    inside.strip_prefix(name.as_str()).is_some_and(|rest| !rest.starts_with(is_word))
                }) {
                    findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
                }
            }
        }
    }
    none("A machine belongs to one task and is behind no lock; send it an event (invariant 8):", &findings);
}

#[test]
fn cores_have_no_locks() {
    let words = ["Mutex", "RwLock", "Condvar", "mpsc", "AtomicU", "AtomicI", "AtomicBool", "thread_local"];
    let found =
        TREE.sources_in(&CORES).flat_map(|source| source.lines_with(&source.production_code(), &words));
    none(
        "A core has no locks, channels or atomics: it belongs to one task (invariant 8):",
        &found.collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_depends_on_hash_order() {
    let words = ["HashMap", "HashSet", "RandomState"];
    let found =
        TREE.sources_in(&["crates/", "interop/"]).flat_map(|source| source.lines_with(&source.code, &words));
    none("Nothing depends on hash order: use BTreeMap, BTreeSet or IndexMap:", &found.collect::<Vec<_>>());
}

#[test]
fn only_the_clock_reads_the_clock() {
    let words =
        ["Instant::now", "SystemTime::now", "getrandom", "thread_rng", "OsRng", "SystemRandom", "rand::fill"];
    let sources = TREE.sources_in(&["crates/"]).filter(|source| source.path != "crates/server/src/clock.rs");
    let found = sources.flat_map(|source| source.lines_with(&source.production_code(), &words));
    // A socket gives up after some time by tokio's clock; no machine hears of it.
    let found = found.filter(|finding| !finding.starts_with("crates/server/src/sip_transport/"));
    none(
        "Time and randomness are handed in; crates/server/src/clock.rs alone reads them (invariant 2):",
        &found.collect::<Vec<_>>(),
    );
}
