//! The front end as a machine: messages and look-ups in, messages and errands out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "front_end/anonymous.rs"]
mod anonymous;
#[path = "front_end/calls.rs"]
mod calls;
#[path = "front_end/desk.rs"]
mod desk;
#[path = "front_end/limits.rs"]
mod limits;
#[path = "front_end/links.rs"]
mod links;
#[path = "front_end/media.rs"]
mod media;
#[path = "front_end/plain.rs"]
mod plain;
#[path = "front_end/proof.rs"]
mod proof;
#[path = "front_end/routing.rs"]
mod routing;
