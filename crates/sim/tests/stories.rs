//! Stories of a whole server, its people, their network and its failing parts, with a naive conference
//! that must agree after every step. `make sim` tells ten thousand.

use confab_sim::simulation::tell;

/// How many stories of each kind are told here; the longer lane is `make sim`.
const SEEDS: u64 = 12;

#[test]
fn a_naive_conference_agrees_after_every_step() {
    for seed in 0..SEEDS {
        tell(seed);
    }
}

#[test]
fn and_in_more_stories() {
    for seed in 1_000_000..1_000_000 + SEEDS {
        tell(seed);
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in [3, 5, 8] {
        let (once, twice) = (tell(seed), tell(seed));
        assert_eq!(once.steps, twice.steps);
        assert_eq!(once.trace, twice.trace);
        assert!(once.trace.len() > 100, "something happened");
    }
}

/// Each file is named by a seed that once failed, and says of what.
#[test]
fn seeds_that_once_failed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut seeds: Vec<u64> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect();
    seeds.sort_unstable();
    for seed in seeds {
        tell(seed);
    }
}
