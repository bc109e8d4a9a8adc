//! The conferencing servers (MCUs): steps 6 to 8 of the join flow, one conference at a time.
//!
//! What makes an MCU is its medium and [`Mcu::add_conference`], which yields the machine of one
//! conference. Every such machine hears the same [`Event`]s, C3P from the Focus (step 7) and SIP
//! from participants (step 8), and answers with the same [`Action`]s. It knows neither the Focus
//! nor a database nor a socket.
//!
//! - `control.rs`: C3P as verbs, shared by all MCUs;
//! - `conference.rs` and `conference/`: people, dialogs and notifications, shared by all MCUs;
//! - `im.rs` and `im/`: the IM MCU;
//! - `av.rs` and `av/`: the A/V MCU.

mod av;
mod conference;
mod control;
mod event;
mod im;
mod trace;

use confab_machine::{Entropy, Machine};
use confab_schema::uri::{ConferenceUri, McuType};

pub use av::{AvMcu, AvOptions};
pub use event::{Action, Event};
pub use im::ImMcu;

/// A conferencing server of one medium.
pub trait Mcu: Send {
    /// What it serves, as MCU URIs and entity views name it.
    fn media(&self) -> McuType;

    /// Step 6: provisions a conference.
    ///
    /// `entropy` is the conference's own.
    ///
    /// # Errors
    /// A [`Refusal`], which the Focus answers by asking for another server.
    fn add_conference(&mut self, spec: ConferenceSpec, entropy: Entropy) -> Result<Conference, Refusal>;
}

/// One conference on one conferencing server.
pub type Conference = Box<dyn Machine<Event = Event, Action = Action> + Send>;

/// What a conferencing server is told of a conference before anybody is in it.
#[derive(Clone, Debug)]
pub struct ConferenceSpec {
    /// The conference: its Focus' URI. The MCU's own URI follows from it and the medium.
    pub conference: ConferenceUri,
    /// The SIP URI at which this server takes INVITEs, handed out as `Mcu-Server-Uri`.
    pub server_uri: String,
    /// Whether the conference is locked already.
    pub locked: bool,
    /// How much of everything it may hold.
    pub limits: McuLimits,
}

/// How much one conference on one MCU may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McuLimits {
    /// People in it.
    pub participants: usize,
    /// Endpoints of one person, those that are still expected included.
    pub endpoints_per_person: usize,
    /// Requests to participants that have not been answered; a message counts once for each
    /// receiver.
    pub pending: usize,
    /// Bytes of one message.
    pub message_bytes: usize,
}

impl Default for McuLimits {
    /// 250 people (the product's meeting size) with 8 endpoints each, 80 messages under way to all
    /// of them, 64 KiB a message.
    fn default() -> McuLimits {
        McuLimits { participants: 250, endpoints_per_person: 8, pending: 20_000, message_bytes: 64 << 10 }
    }
}

/// Why a conference cannot be provisioned here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The host gave an address of its own that participants could not send to.
    #[error("this conferencing server's own address {0:?} is not a SIP URI")]
    ServerUri(String),
}
