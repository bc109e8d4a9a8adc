//! The invariants of ARCHITECTURE.md, held by reading the sources and documents of this repository.
//!
//! Each rule is one test. What it finds is said in sentences that name file and line, and what to
//! do instead. The rules read text and know no types: where one is wrong about a line that is
//! right, make the rule more exact; a list of exceptions stands beside the rule that needs one.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/decisions.rs"]
mod decisions;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/languages.rs"]
mod languages;
#[path = "tidy/machines.rs"]
mod machines;
#[path = "tidy/manners.rs"]
mod manners;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

/// Fails with every finding at once.
fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
