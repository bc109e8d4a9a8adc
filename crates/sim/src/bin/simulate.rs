//! `make sim`: tells many stories, on every core, and says which seeds failed.
//!
//! `simulate seeds COUNT [FROM]` tells so many, `simulate seed NUMBER` one of them with all its steps.

use std::{
    panic::catch_unwind,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use confab_server::clock::Clock;
use confab_sim::simulation;

/// So often it is said how far we are.
const PROGRESS: u64 = 1000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let numbers: Option<Vec<u64>> = words.iter().skip(1).map(|word| word.parse().ok()).collect();
    match (words.first(), numbers.as_deref()) {
        (Some(&"seed"), Some([seed])) => one(*seed),
        (Some(&"seeds"), Some([count])) => many(*count, 0),
        (Some(&"seeds"), Some([count, from])) => many(*count, *from),
        _ => {
            eprintln!("simulate seeds COUNT [FROM] | simulate seed NUMBER");
            ExitCode::FAILURE
        }
    }
}

fn one(seed: u64) -> ExitCode {
    let told = simulation::tell(seed);
    println!("{}", told.steps.join("\n"));
    ExitCode::SUCCESS
}

fn many(count: u64, from: u64) -> ExitCode {
    let clock = Clock::start();
    let start = clock.now();
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            if seed > from && (seed - from).is_multiple_of(PROGRESS) {
                eprintln!("{} seeds begun", seed - from);
            }
            if catch_unwind(|| simulation::tell(seed)).is_err() {
                failed.lock().expect("nobody panics while noting a seed").push(seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics while noting a seed");
    failed.sort_unstable();
    let seconds = clock.now().since(start).as_secs_f64();
    println!("{count} seeds in {seconds:.1} s, {:.0} seeds/s", count as f64 / seconds.max(0.001));
    if !failed.is_empty() {
        println!("failed: {failed:?}");
    }
    println!("{} passed, {} failed", count - failed.len() as u64, failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
