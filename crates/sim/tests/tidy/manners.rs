//! How code is written here: sizes, names of files, no loose ends.

use crate::{none, tree::TREE};

/// Lines of a file at most.
const FILE_LIMIT: usize = 600;
/// Lines of a function at most.
const FUNCTION_LIMIT: usize = 70;

/// Functions that were longer when the rule came, with the length they may not grow beyond.
const LONGER: [(&str, &str, usize); 0] = [];

const CODE: [&str; 2] = ["crates/", "interop/"];

#[test]
fn files_and_functions_stay_small() {
    let mut findings = Vec::new();
    for source in TREE.sources_in(&CODE) {
        let lines = source.text.lines().count();
        if lines > FILE_LIMIT {
            findings.push(format!(
                "{}: {lines} lines, {FILE_LIMIT} are the limit; it is missing a noun",
                source.path
            ));
        }
        for (name, line, lines) in source.functions() {
            let longer = LONGER.iter().find(|(path, function, _)| *path == source.path && *function == name);
            let limit = longer.map_or(FUNCTION_LIMIT, |(_, _, limit)| *limit);
            if lines > limit {
                findings
                    .push(format!("{}:{line}: {name} has {lines} lines, {limit} are the limit", source.path));
            }
        }
    }
    none("Files and functions stay small:", &findings);
}

#[test]
fn modules_are_named_after_their_file_and_say_what_they_are() {
    let mut findings = Vec::new();
    for source in TREE.sources_in(&CODE) {
        if source.path.ends_with("/mod.rs") {
            findings.push(format!("{}: name it after the module", source.path));
        }
        if !source.text.starts_with("//!") {
            findings.push(format!("{}: the first line says what the module is, with `//!`", source.path));
        }
    }
    none("A module is `name.rs`, and its first line says what it is:", &findings);
}

#[test]
fn tests_stand_last() {
    let mut findings = Vec::new();
    for source in TREE.sources_in(&CODE).filter(|source| !source.is_test) {
        let Some((_, after)) = source.code.split_once("#[cfg(test)]\nmod tests {") else { continue };
        let after = after.split_once("\n}").map_or("", |(_, after)| after);
        if !after.trim().is_empty() {
            findings.push(format!("{}: something stands behind the tests", source.path));
        }
    }
    none("Public first, detail below, tests last:", &findings);
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Vec::new();
    for source in TREE.sources_in(&CODE) {
        let code = ["todo!", "unimplemented!", "#[ignore", "dbg!("];
        findings.extend(source.lines_with(&source.code, &code));
    }
    // Halves, so that this file does not hold what it looks for.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    for path in &TREE.files {
        let Some(text) = TREE.text(path).filter(|_| !path.ends_with("Cargo.lock")) else { continue };
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split(|char: char| !char.is_alphanumeric());
            if let Some(mark) = marks.iter().find(|mark| words.any(|word| word == **mark)) {
                findings.push(format!("{path}:{}: {mark}", number + 1));
            }
        }
    }
    none("Nothing is left for later:", &findings);
}

#[test]
fn only_tests_unwrap() {
    let found = TREE
        .sources_in(&CODE)
        .flat_map(|source| source.lines_with(&source.production_code(), &[".unwrap()"]));
    none("Outside tests, `expect` says why it holds:", &found.collect::<Vec<_>>());
}

#[test]
fn tests_wait_for_events() {
    let words = ["thread::sleep", "time::sleep", "sleep(", "sleep_until("];
    let mut findings = Vec::new();
    // A benchmark paces what it measures; it decides nothing.
    for source in TREE.sources_in(&CODE).filter(|source| !source.path.contains("/benches/")) {
        let own = if source.path.starts_with("interop/") { source.code.clone() } else { source.test_code() };
        findings.extend(source.lines_with(&own, &words));
    }
    findings.dedup_by_key(|finding| finding.rsplit_once(':').map(|(place, _)| place.to_owned()));
    none("A test waits for an event with a deadline and never sleeps:", &findings);
}
