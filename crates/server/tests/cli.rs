//! The real program: each subcommand as a person or a script would run it, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "cli/accounts.rs"]
mod accounts;
#[path = "cli/calling.rs"]
mod calling;
#[path = "../../store/tests/conformance/cluster.rs"]
#[expect(dead_code, reason = "the store's own tests use more of it")]
mod cluster;
#[path = "cli/conferences.rs"]
mod conferences;
#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/database.rs"]
mod database;
#[path = "cli/privacy.rs"]
mod privacy;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/serving.rs"]
mod serving;
#[path = "cli/trying.rs"]
mod trying;
