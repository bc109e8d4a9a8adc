//! The heart of Confab: scheduling, the Focus and the Conferencing Server Factory (RFC 4353).
//!
//! A conference is created and joined in eight steps. Those decided in this crate are here, under
//! the numbers that the whole tree uses:
//!
//! | step | what happens | file |
//! |---|---|---|
//! | 1 | a scheduling client asks the Focus Factory | [`focus_factory`] |
//! | 2 | the factory makes a [`record`] and the SIP URI | [`focus_factory`] |
//! | 3 | a client opens INVITE and SUBSCRIBE dialogs | [`focus`] (`join.rs`) |
//! | 4 | the Focus checks the person against record and [`policy`] | [`focus`] (`join.rs`) |
//! | 5 | the Focus asks for a conferencing server | [`focus`] (`mcu_session.rs`) |
//! | 6 | the Conferencing Server Factory finds one | [`mcu_factory`] |
//! | 7 | the Focus commands it and tells everybody | [`focus`] (`command.rs`, `notify.rs`) |
//! | 8 | the client talks to the conferencing server | the `mcu` crate |
//!
//! Deliberately absent: SIP and HTTP (the shell carries both), every MCU (they are reached only as
//! C3P over the control link), the database (records come in loaded and leave as `Save`).

pub mod conference_key;
pub mod focus;
pub mod focus_factory;
pub mod mcu_factory;
pub mod policy;
pub mod reason;
pub mod record;
