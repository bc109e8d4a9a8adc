//! Stories of one conference on the A/V MCU.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../common/room.rs"]
#[allow(dead_code, reason = "the house serves other media too")]
mod room;

mod calling;
mod gates;
mod joining;
mod records;
