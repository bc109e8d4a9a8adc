//! Stories: a client against hand-written messages of a server.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

#[path = "story/desk.rs"]
mod desk;
#[path = "story/inviting.rs"]
mod inviting;
#[path = "story/joining.rs"]
mod joining;
#[path = "story/leading.rs"]
mod leading;
#[path = "story/scheduling.rs"]
mod scheduling;
#[path = "story/signing_on.rs"]
mod signing_on;
#[path = "story/talking.rs"]
mod talking;
