//! Keys that somebody presses (RFC 4733), told by INFO to those who ask for them in `Recv-Info`.

use std::time::Duration;

use confab_machine::FlowNote;
use confab_sip::{Method, dtmf};

use super::{Asking, Voices};
use crate::{
    Action,
    conference::{Leg, LegId, Medium, Pending, Room},
    trace::PARTICIPANT,
};

impl Room<Voices> {
    /// Somebody pressed a key. Nobody is told of his own, and when too much is under way it is left out.
    // Deviation: there is no registered Info Package for keys; this one is named as others name theirs.
    pub(super) fn key_pressed(&mut self, author: LegId, key: char, held: Duration, out: &mut Vec<Action>) {
        let Some(user) = self.roster.leg(author).map(|leg| leg.user.clone()) else { return };
        let calls = self.medium.calls.iter();
        let asking = calls.filter(|(id, call)| **id != author && call.wants_keys);
        let receivers: Vec<LegId> = asking.map(|(id, _)| *id).collect();
        if receivers.is_empty() || self.requests.len() + receivers.len() > self.limits.pending {
            return;
        }
        let summary = format!("INFO key of {} to {} others", user.traced(), receivers.len());
        let mut note = Some(FlowNote::new(8, Voices::COMPONENT, PARTICIPANT, summary));
        let sender = format!("<{user}>");
        for leg in receivers {
            let Some(session) = self.roster.leg_mut(leg).and_then(Leg::session_mut) else { continue };
            let mut info = session.dialog.request(Method::Info);
            info.headers.push("Ms-Sender", sender.as_str());
            dtmf::write(&mut info, key, held);
            let flow = session.flow;
            let request = self.send(flow, info, note.take(), out);
            self.requests.insert(request, Pending::Own(Asking::Key { leg }));
        }
    }
}
