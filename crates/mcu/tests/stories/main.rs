//! Stories of one conference on one MCU, in a house that all media share.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod av;
mod im;
mod room;
