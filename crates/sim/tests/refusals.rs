//! Bad input: what each answer is, as tables of bytes in, status and number out, against a whole
//! server. After every table the server serves those who behave as if nothing had been.

#[path = "refusals/bombs.rs"]
mod bombs;
#[path = "refusals/commands.rs"]
mod commands;
#[path = "refusals/documents.rs"]
mod documents;
#[path = "refusals/messages.rs"]
mod messages;
#[path = "refusals/scene.rs"]
mod scene;
#[path = "refusals/strangers.rs"]
mod strangers;
