//! Confab's shell: the sockets, the control link, the roles and the command line around the cores.
//! The cores decide; nothing here does, but what is read from a wire goes in and what is to be done
//! comes out.
//!
//! On the join path, in order: [`sip_transport`] (bytes), [`front_end`] (routing), the Focus
//! Factory's errands in [`focus_factory_host`], [`focus_host`] (a Focus with its dialogs),
//! [`mcu_factory_host`], [`control_link`] and [`mcu_host`]. [`drive`] runs them all.

pub mod admin;
pub mod cli;
pub mod client_host;
pub mod clock;
pub mod config;
pub mod control_link;
pub mod data;
pub mod discovery;
pub mod drive;
pub mod flow_log;
pub mod focus_factory_host;
pub mod focus_host;
pub mod front_end;
pub mod inproc;
pub mod mcu_factory_host;
pub mod mcu_host;
pub mod media_host;
pub mod metrics;
mod offer;
mod open_files;
pub mod private_ca;
mod rarely;
mod refusal;
pub mod roles;
pub mod sip_transport;
pub mod sweeper;
pub mod trust;
pub mod vault;
