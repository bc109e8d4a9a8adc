//! The flow trace's vocabulary: who told whom what, in which of the eight steps.
//!
//! Machines describe their events and actions with [`Traced`]; the shell's one loop stamps the
//! notes with the time and files them under their conference. Summaries never hold message text,
//! phone numbers, display names or credentials.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Time;

/// A step of the join flow, 1 to 8, as the mission's figure numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Step(u8);

impl Step {
    /// The step with this number.
    ///
    /// # Panics
    /// If `number` is not 1 to 8.
    pub const fn new(number: u8) -> Step {
        assert!(1 <= number && number <= 8, "the join flow has eight steps");
        Step(number)
    }

    /// 1 to 8.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A part of the system, as a column of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Component {
    /// A person's program: scheduling or conferencing client.
    Client,
    /// The SIP front end: registrar, router, proxy.
    FrontEnd,
    /// The Focus Factory.
    FocusFactory,
    /// The conferencing database.
    Store,
    /// The Focus of one conference.
    Focus,
    /// The policy the Focus asks.
    Policy,
    /// The Conferencing Server Factory.
    McuFactory,
    /// The IM conferencing server.
    ImMcu,
    /// The A/V conferencing server.
    AvMcu,
}

impl Component {
    /// The name in our trace.
    pub const fn name(self) -> &'static str {
        match self {
            Component::Client => "client",
            Component::FrontEnd => "FrontEnd",
            Component::FocusFactory => "FocusFactory",
            Component::Store => "store",
            Component::Focus => "Focus",
            Component::Policy => "policy",
            Component::McuFactory => "MCUFactory",
            Component::ImMcu => "IMMCU",
            Component::AvMcu => "AVMCU",
        }
    }

    /// The name of the original's logging component (OCSLogger), so that old runbooks and our
    /// trace can be laid side by side.
    pub const fn ocs_logger_name(self) -> &'static str {
        match self {
            Component::Client | Component::FrontEnd => "SIPStack",
            Component::FocusFactory | Component::Focus | Component::Policy | Component::Store => "S4",
            Component::McuFactory => "MCUFactory",
            Component::ImMcu | Component::AvMcu => "MCUInfra",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an event or an action says in the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowNote {
    /// Who says it.
    pub from: Component,
    /// To whom.
    pub to: Component,
    /// Which of the eight steps it belongs to, if one.
    pub step: Option<Step>,
    /// A few words: `INVITE addUser sip:vivian@example.test`.
    pub summary: String,
}

impl FlowNote {
    /// A note that belongs to step `step` (1 to 8).
    pub fn new(step: u8, from: Component, to: Component, summary: impl Into<String>) -> FlowNote {
        FlowNote { from, to, step: Some(Step::new(step)), summary: summary.into() }
    }
}

/// One line of a conference's trace: a note, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// When.
    pub at: Time,
    /// What.
    #[serde(flatten)]
    pub note: FlowNote,
}

/// An event or action that can say what it means in the trace.
pub trait Traced {
    /// The note, or `None` for what would only be noise there (a timer, a keep-alive).
    fn flow_note(&self) -> Option<FlowNote>;
}
