//! Stories of a Focus, told to the machine alone: no SIP, no HTTP, no database, no clock.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod answers;
mod joining;
mod large;
mod leading;
mod lifecycle;
mod limits;
mod lobby;
mod media;
mod model;
mod plain;
mod referring;
mod refusals;
mod settings;
mod snapshot;
mod stage;
mod telling;
mod voices;
mod watcher;
