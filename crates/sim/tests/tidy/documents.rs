//! What the documents promise: paths that exist, tests that exist, steps that agree, deviations
//! that are listed.

use std::collections::BTreeSet;

use crate::{none, source::is_word, tree::TREE};

/// Where every `// Deviation:` has its row.
const DEVIATIONS: &str = "docs/protocol/deviations.md";

/// The texts that people read.
fn documents() -> impl Iterator<Item = (&'static String, String)> {
    let files = TREE.files.iter().filter(|path| path.ends_with(".md"));
    files.map(|path| (path, TREE.text(path).unwrap_or_else(|| panic!("{path} is no text"))))
}

/// What stands between single backticks, with the line's number. Code blocks are left out.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let mut quoted = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            quoted.extend(line.split('`').skip(1).step_by(2).map(|words| (number + 1, words)));
        }
    }
    quoted
}

/// Whether `words` look like a path in this repository; then whether it is one.
fn is_path(document: &str, words: &str) -> Option<bool> {
    let is_name = |char: char| is_word(char) || "./-".contains(char);
    if words.is_empty() || !words.chars().all(is_name) || words.starts_with('/') {
        return None;
    }
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = if folder.is_empty() { words.to_owned() } else { format!("{folder}/{words}") };
    let looks = match words.split_once('/') {
        Some((first, _)) => {
            let folders = TREE.files.iter().filter_map(|path| path.split_once('/'));
            folders.map(|(folder, _)| folder).any(|folder| folder == first) || words.ends_with(".md")
        }
        None => [".md", ".toml"].iter().any(|end| words.ends_with(end) && !words.starts_with('.')),
    };
    looks.then(|| TREE.has(words) || TREE.has(&beside))
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut findings = Vec::new();
    for (document, text) in documents() {
        for (line, words) in quoted(&text) {
            if is_path(document, words) == Some(false) {
                findings.push(format!("{document}:{line}: `{words}` does not exist"));
            }
        }
    }
    none("Paths that documents name exist (invariant 12):", &findings);
}

#[test]
fn the_documents_that_lead_in_exist() {
    let leading = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/join.md",
        "docs/glossary.md",
        DEVIATIONS,
    ];
    let missing: Vec<String> =
        leading.iter().filter(|path| !TREE.has(path)).map(|path| format!("{path} is missing")).collect();
    none("A newcomer finds his way:", &missing);
}

#[test]
fn every_deviation_is_listed() {
    let rows = TREE.text(DEVIATIONS).unwrap_or_default();
    let listed: BTreeSet<&str> =
        quoted(&rows).into_iter().map(|(_, words)| words).filter(|words| words.ends_with(".rs")).collect();
    let deviating: BTreeSet<&str> = TREE
        .sources_in(&["crates/"])
        .filter(|source| source.comments.lines().any(|line| line.trim_start().starts_with("// Deviation:")))
        .map(|source| source.path.as_str())
        .collect();
    let mut findings: Vec<String> = deviating
        .difference(&listed)
        .map(|path| format!("{path} has a `// Deviation:` and no row in {DEVIATIONS}"))
        .collect();
    findings.extend(
        listed
            .difference(&deviating)
            .map(|path| format!("{DEVIATIONS} names {path}, which has no `// Deviation:`")),
    );
    none("Every deviation from a specification is listed (invariant 12):", &findings);
}

#[test]
fn every_proof_names_a_test_that_exists() {
    let functions: BTreeSet<String> =
        TREE.sources.iter().flat_map(|source| source.functions()).map(|(name, ..)| name).collect();
    let mut findings = Vec::new();
    let proofs: Vec<_> = documents().filter(|(path, _)| path.starts_with("docs/proof/")).collect();
    if proofs.is_empty() {
        findings.push("docs/proof/ has no table: what proves that we do what was asked for?".to_owned());
    }
    for (document, text) in proofs {
        findings.extend(proof_findings(document, &text, &functions));
    }
    none("Every sentence asked for has a test that exists:", &findings);
}

/// What is wrong with the tables of one proof: an empty cell, a test that does not exist. The
/// column of tests is the one whose heading says so.
fn proof_findings(document: &str, text: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut tests_column = None;
    for (number, line) in text.lines().enumerate() {
        let Some(row) = line.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            tests_column = None;
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let place = format!("{document}:{}", number + 1);
        let Some(column) = tests_column else {
            tests_column = cells.iter().position(|cell| cell.to_lowercase().contains("test"));
            if tests_column.is_none() {
                findings.push(format!("{place}: no heading of this table says `test`"));
                tests_column = Some(usize::MAX);
            }
            continue;
        };
        if cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|char| char == '-' || char == ':')) {
            continue;
        }
        if cells.iter().any(|cell| cell.is_empty()) {
            findings.push(format!("{place}: an empty cell"));
        }
        let named: Vec<&str> =
            cells.get(column).into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        if named.is_empty() && column != usize::MAX {
            findings.push(format!("{place}: names no test"));
        }
        for test in named {
            let name = test.rsplit("::").next().unwrap_or(test);
            let exists = if test.contains('/') { TREE.has(test) } else { functions.contains(name) };
            if !exists {
                findings.push(format!("{place}: there is no test `{test}`"));
            }
        }
    }
    findings
}

#[test]
fn proofs_are_read_as_tables() {
    let functions: BTreeSet<String> = ["joins".to_owned()].into();
    let table = "# x\n| asked | test | client |\n|---|:--|---|\n| a | `join::joins` | SIPE |\n| b | `leaves` | |\n| c | later | x |\n";
    let findings = proof_findings("p.md", table, &functions);
    assert_eq!(
        findings,
        ["p.md:5: an empty cell", "p.md:5: there is no test `leaves`", "p.md:6: names no test"]
    );
}

#[test]
fn the_eight_steps_have_the_same_numbers_everywhere() {
    let mut findings = Vec::new();
    let mut check = |path: &str, is_step: &dyn Fn(&str, u8) -> bool| {
        let text = TREE.text(path).unwrap_or_default();
        let steps: Vec<u8> = text
            .lines()
            .flat_map(|line| (1..=9).filter(|step| is_step(line, *step)).collect::<Vec<_>>())
            .collect();
        if steps != [1, 2, 3, 4, 5, 6, 7, 8] {
            findings.push(format!("{path} has the steps {steps:?}"));
        }
    };
    check("docs/join.md", &|line, step| line.starts_with(&format!("## {step}. ")));
    check("crates/conference/src/lib.rs", &|line, step| line.starts_with(&format!("//! | {step} | ")));
    check("crates/sim/tests/join.rs", &|line, step| line.contains(&format!("fn step_{step}_")));
    none("The eight steps have the same numbers everywhere, in order:", &findings);
}

#[test]
fn the_repository_speaks_of_nothing_but_the_product() {
    // Halves, so that this file does not hold what it looks for. A registry's host in a text or
    // script would keep a mirror from being used; a path of one machine helps nobody elsewhere.
    let foreign = [
        concat!("crates", ".io"),
        concat!("registry.npm", "js.org"),
        concat!("registry.yarn", "pkg.com"),
        concat!("py", "pi.org"),
        concat!("files.python", "hosted.org"),
        concat!("proxy.go", "lang.org"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/tmp/con", "fab/"),
        concat!("sit", "ting "),
        concat!("help", "er-"),
    ];
    let mut findings = Vec::new();
    // Cargo writes the registry into its lock by itself.
    for path in TREE.files.iter().filter(|path| !path.ends_with("Cargo.lock")) {
        let Some(text) = TREE.text(path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = foreign.iter().find(|words| line.contains(**words));
            findings.extend(found.map(|words| format!("{path}:{}: {words}", number + 1)));
        }
    }
    none("Texts name no registry's host, no path of one machine, nothing of how they came about:", &findings);
}
