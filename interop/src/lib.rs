//! Foreign clients driven against a real `confab` process: SIPE through libpurple, baresip, linphone and SIPp.
//!
//! A test in `tests/` calls [`namespace::run`] and gets a [`Scratch`]; with it, it starts a [`Server`] and the clients it
//! needs. Everything started is a child of the test, ended by its id, and its log is printed when the test fails. Waiting is
//! always for an event and always with a [`Deadline`]. Nothing here shares code with the crates under test.
//!
//! The functions panic where a test would fail anyway: this crate is a part of tests and of nothing else.

pub mod attack;
pub mod attack_media;
pub mod baresip;
pub mod dns;
pub mod guest;
pub mod linphone;
pub mod mcu;
pub mod meeting;
pub mod namespace;
pub mod ports;
pub mod server;
pub mod sipe;
pub mod sipp;
pub mod sound;
pub mod tap;
pub mod turn;
pub mod voice;
pub mod wire;

mod deadline;
mod process;
mod scratch;
mod tools;

pub use deadline::{Deadline, poll};
pub use process::{Line, Process};
pub use scratch::Scratch;
pub use server::Server;
pub use tools::Tool;
