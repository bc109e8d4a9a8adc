//! What the front end knows about its users: accounts, registrations, presence, provisioning.

pub mod account;
mod refusal;
pub mod registrar;
