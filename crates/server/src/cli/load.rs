//! `confab load`: the load generator is a program of its own, so that what it needs is no part of the server.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

/// The name of the program, beside this one.
const PROGRAM: &str = "confab-load";

/// What it is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Options of the load generator.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

/// Becomes the load generator.
///
/// # Errors
/// If it is not beside this program.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("this program does not know where it lies")?;
    let program = own.with_file_name(PROGRAM);
    let error = Command::new(&program).args(&arguments.options).exec();
    Err(error).with_context(|| {
        format!("{} cannot be started; `cargo build --release -p {PROGRAM}` makes it", program.display())
    })
}
