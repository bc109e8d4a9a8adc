//! The IM MCU in whole conferences: Focus on one side, people on the other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod dial_out;
mod handover;
mod membership;
mod messages;
mod model;
#[path = "../common/room.rs"]
#[allow(dead_code, reason = "the house serves other media too")]
mod room;
mod timers;
