//! Any fuzz target of `crates/sim`, under libFuzzer: the one that `CONFAB_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use confab_sim::fuzz::{ALL, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("CONFAB_FUZZ_TARGET").expect("CONFAB_FUZZ_TARGET names a target");
    let target = ALL.into_iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("{name} is none of {:?}", ALL.map(|target| target.name)))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
