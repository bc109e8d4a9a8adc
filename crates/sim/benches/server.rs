//! How fast a whole server is, and how much memory it takes: scheduling, joining, and telling many
//! of a change. People are raw SIP over streams within the process, so that what is measured is the
//! server and as little as possible of the other end.
//!
//! `cargo bench -p confab-sim --bench server` measures everything, with words behind `--` only the
//! sections they name, as `make bench BENCH=joining` does. The figures are in `docs/performance.md`.

#[path = "server/bed.rs"]
mod bed;
#[path = "server/caller.rs"]
mod caller;
#[path = "server/joining.rs"]
mod joining;
#[path = "server/memory.rs"]
mod memory;
#[path = "server/participant.rs"]
mod participant;
#[path = "server/report.rs"]
mod report;
#[path = "server/scheduling.rs"]
mod scheduling;
#[path = "server/telling.rs"]
mod telling;

use std::pin::Pin;

/// What a section does.
type Section = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Everything there is to measure.
const SECTIONS: [(&str, Section); 5] = [
    ("dialogs", || Box::pin(async { telling::of_one_focus() })),
    ("telling", || {
        Box::pin(async {
            telling::of_a_whole_server().await;
            telling::of_pipes_alone().await;
        })
    }),
    ("scheduling", || Box::pin(scheduling::measure())),
    ("joining", || Box::pin(joining::measure())),
    ("memory", || Box::pin(memory::measure())),
];

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == memory::SERVE) {
        return memory::serve().await;
    }
    // Whoever merely runs all targets as tests does not want to wait for measurements.
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    let named = |name: &str| words.iter().any(|word| word == name);
    let all = !SECTIONS.iter().any(|(name, _)| named(name));
    for (name, section) in SECTIONS.iter().filter(|(name, _)| all || named(name)) {
        println!("\n{name}");
        section().await;
    }
}
