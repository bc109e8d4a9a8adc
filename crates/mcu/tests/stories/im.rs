//! The IM MCU in whole conferences: Focus on one side, people on the other.

mod dial_out;
mod handover;
mod membership;
mod messages;
pub mod model;
mod timers;
