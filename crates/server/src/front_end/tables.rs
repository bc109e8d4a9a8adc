//! How much a server holds, counted: for whoever looks whether something is left over.

use std::fmt;

use tokio::sync::oneshot;

use super::{Action, FrontEnd};

/// How much the tables of a server hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// SIP transactions.
    pub transactions: usize,
    /// Requests of ours without an answer.
    pub requests: usize,
    /// Requests on their way through.
    pub forwards: usize,
    /// Requests that wait for the database.
    pub look_ups: usize,
    /// INVITEs to MCUs that wait for a Focus.
    pub mcu_invites: usize,
    /// MCUs of conferences whose place is known.
    pub mcus: usize,
    /// Conferences with a Focus.
    pub conferences: usize,
    /// Places where MCUs may post.
    pub callbacks: usize,
}

impl Tables {
    /// Whether there is nothing.
    pub fn are_empty(&self) -> bool {
        *self == Tables::default()
    }
}

impl FrontEnd {
    pub(super) fn count(&self, asker: oneshot::Sender<Tables>, out: &mut Vec<Action>) {
        let tables = Tables {
            transactions: self.transactions.count(),
            requests: self.sent.len(),
            forwards: self.forwards.count() + self.held.count(),
            look_ups: self.waiting.len() + self.naming.len(),
            mcu_invites: self.mcu_invites.len(),
            mcus: self.places.count(),
            conferences: 0,
            callbacks: 0,
        };
        out.push(Action::TellTables { asker, tables });
    }
}

/// How much is under way, and nothing of what it is.
impl fmt::Debug for FrontEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontEnd")
            .field("transactions", &self.transactions)
            .field("sent", &self.sent.len())
            .field("forwards", &self.forwards)
            .field("waiting", &self.waiting.len())
            .field("naming", &self.naming.len())
            .field("mcu_invites", &self.mcu_invites.len())
            .field("identities", &self.identities.len())
            .field("conferences", &self.conferences.len())
            .finish_non_exhaustive()
    }
}
