//! Invariant 5: XML text is made in `schema`, SIP text in `sip`, SQL in `store`, nowhere else.

use crate::{
    none,
    source::{Source, is_word},
    tree::TREE,
};

/// Tests may write every language.
const TESTS: [&str; 2] = ["crates/sim/", "interop/"];

fn production_outside(owner: &str) -> impl Iterator<Item = &'static Source> {
    let own = format!("crates/{owner}/");
    TREE.sources_in(&["crates/"]).filter(move |source| {
        !source.path.starts_with(&own) && !TESTS.iter().any(|folder| source.path.starts_with(folder))
    })
}

/// The lines of strings in which `is_one` finds something.
fn strings_where(source: &Source, is_one: impl Fn(&str) -> bool) -> Vec<String> {
    let strings = source.production_strings();
    let lines = strings.lines().enumerate().filter(|(_, line)| is_one(line));
    lines.map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim())).collect()
}

#[test]
fn sql_is_written_only_in_store() {
    let words = [
        "SELECT ",
        "INSERT INTO ",
        "INSERT OR ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE INDEX ",
        "DROP TABLE ",
        "PRAGMA ",
    ];
    let is_sql = |line: &str| {
        words.iter().any(|word| line.contains(word)) || (line.contains("UPDATE ") && line.contains(" SET "))
    };
    let mut findings: Vec<String> =
        production_outside("store").flat_map(|source| strings_where(source, is_sql)).collect();
    let files = TREE
        .files
        .iter()
        .filter(|path| path.ends_with(".sql") && !path.starts_with("crates/store/migrations/"));
    findings.extend(files.cloned());
    none("SQL stands in crates/store alone; give the trait `Store` a verb:", &findings);
}

#[test]
fn xml_is_written_only_in_schema() {
    let mut findings: Vec<String> =
        production_outside("schema").flat_map(|source| strings_where(source, is_xml)).collect();
    let files = TREE.files.iter().filter(|path| {
        path.starts_with("crates/") && path.ends_with(".xml") && !path.starts_with("crates/schema/samples/")
    });
    findings.extend(files.filter(|path| !TESTS.iter().any(|folder| path.starts_with(folder))).cloned());
    none("XML text is made in crates/schema alone, from typed values:", &findings);
}

#[test]
fn sip_is_written_only_in_sip() {
    let findings: Vec<String> = production_outside("sip")
        .flat_map(|source| strings_where(source, |line| line.contains("SIP/2.0")))
        .collect();
    none("SIP text is made in crates/sip alone, from typed values:", &findings);
}

/// Whether a line looks like XML: a declaration, an end tag, or a tag. SIP's `<sip:ann@…>` is none.
fn is_xml(line: &str) -> bool {
    let is_tag = |rest: &str| {
        let name = rest.trim_start_matches(|char: char| is_word(char) || char == '-');
        rest.starts_with(|char: char| char.is_ascii_lowercase())
            && (name.starts_with(['>', '/']) || (name.starts_with(' ') && name.contains('=')))
    };
    line.contains("<?xml")
        || line.contains("xmlns")
        || line.contains("<![")
        || line.contains("</")
        || line.match_indices('<').any(|(at, _)| is_tag(&line[at + 1..]))
}

#[test]
fn xml_is_told_from_addresses() {
    let check = |line: &str, xml: bool| assert_eq!(is_xml(line), xml, "{line}");
    check("<conference entity=\\\"{entity}\\\">", true);
    check("<locked/>", true);
    check("<user>", true);
    check("{}</user>", true);
    check("xmlns=\\\"urn:x\\\"", true);
    check("<sip:{sent_by};lr>", false);
    check("<{uri}>;isfocus", false);
    check("<urn:uuid:{}>", false);
    check("a < b", false);
    check("call <URI>", false);
}
