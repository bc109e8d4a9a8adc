//! Every XML document that crosses a wire, as typed values: one module per namespace.
//!
//! Bytes are read once, at the edge, into types that cannot be wrong; what a document says beyond
//! them is ignored, as C3P demands (MS-CONFBAS §2.2.2.12). Nothing here waits, decides or routes.

#[macro_use]
mod words;

pub mod categories;
pub mod cccp;
pub mod composing;
pub mod conf_invite;
pub mod conference_info;
pub mod date;
pub mod imdn;
pub mod mcu_control;
pub mod pidf;
pub mod presence;
pub mod provisioning;
pub mod publication;
pub mod rlmi;
pub mod roaming;
pub mod uri;
pub mod xml;

pub use xml::Malformed;
