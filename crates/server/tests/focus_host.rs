//! The host of a Focus as a machine: SIP dialogs in and out, with everything around them played by
//! hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "focus_host/commanding.rs"]
mod commanding;
#[path = "focus_host/ending.rs"]
mod ending;
#[path = "focus_host/hall.rs"]
mod hall;
#[path = "focus_host/joining.rs"]
mod joining;
#[path = "focus_host/plain.rs"]
mod plain;
#[path = "focus_host/referring.rs"]
mod referring;
#[path = "focus_host/restoring.rs"]
mod restoring;
#[path = "focus_host/telling.rs"]
mod telling;
#[path = "focus_host/watching.rs"]
mod watching;
