//! Who may send what: every SIP method and every C3P command, to everything that takes requests, from
//! everybody there can be. All of it is asked of a running server; the answers are
//! `docs/protocol/who-may.md`, and any difference fails. `CONFAB_UPDATE=1` writes the page anew: read
//! the difference before it is committed.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "who_may/commands.rs"]
mod commands;
#[path = "who_may/line.rs"]
mod line;
#[path = "who_may/methods.rs"]
mod methods;
#[path = "who_may/page.rs"]
mod page;
#[path = "who_may/stage.rs"]
mod stage;

use std::path::Path;

use page::{Row, Section};
use stage::{Asker, Stage, Target};

/// Asks everything of one section.
async fn ask(section: &mut Section, stage: &mut Stage) {
    for row in &mut section.rows {
        let mut scene = stage.begin(&row.asks).await;
        for asker in Asker::ALL {
            // Those without rights change nothing, which shows in what comes after them.
            if section.changes && asker.is_in() {
                stage.end(scene).await;
                scene = stage.begin(&row.asks).await;
            }
            row.cells.push(stage.answer(&mut scene, asker, &row.asks).await);
        }
        stage.end(scene).await;
    }
}

/// What must hold whatever the page says.
fn check(section: &Section, row: &Row) {
    let cell = |asker: Asker| row.cells[asker as usize].as_str();
    let says = |asker, allowed: &[&str]| {
        let cell = cell(asker);
        let allowed = allowed.iter().any(|start| cell.starts_with(start));
        assert!(allowed, "{} / {}: {asker:?} is told {cell}", section.title, row.name);
    };
    // Nothing is done for who has proved nothing, nor in the name of another. What has no answer
    // does nothing either, and a CANCEL is for a request that is there.
    for asker in [Asker::Unauthenticated, Asker::Another] {
        says(asker, &["401", "407", "–", "481"]);
    }
    if section.needs_membership {
        says(Asker::Stranger, &["4", "5", "–"]);
    }
    // Who has not signed in reaches his conference and nothing else.
    if matches!(row.asks.target, Target::Server | Target::User | Target::Factory) {
        says(Asker::Anonymous, &["4", "5", "–"]);
    }
    if section.is_the_organizers {
        for asker in [Asker::Stranger, Asker::Anonymous, Asker::Attendee, Asker::Presenter] {
            says(asker, &["400 3000", "4", "5"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_method_and_command_from_everybody() {
    let mut stage = Stage::set().await;
    let mut sections = methods::sections();
    sections.extend(commands::sections());
    for section in &mut sections {
        ask(section, &mut stage).await;
        section.rows.iter().for_each(|row| check(section, row));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol/who-may.md");
    let page = page::print(&sections);
    if std::env::var_os("CONFAB_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differences: Vec<String> = (written.lines().zip(page.lines()))
        .filter(|(written, told)| written != told)
        .map(|(written, told)| format!("page:   {written}\nserver: {told}"))
        .collect();
    assert!(differences.is_empty(), "the server does not do what the page says:\n{}", differences.join("\n"));
    assert_eq!(written.lines().count(), page.lines().count(), "the page is whole");
}
