//! What a conference on an MCU says in the flow trace: step 8, without any content.

use confab_machine::{Component, FlowNote, Traced};
use confab_sip::{Method, Request, Response};

use crate::{Action, Event, event::sender};

/// This server, where an event or action does not say which: the host knows.
const SELF: Component = Component::ImMcu;
/// The other end of step 8; the front end between passes on what it is given.
pub(crate) const PARTICIPANT: Component = Component::Client;

impl Traced for Event {
    fn flow_note(&self) -> Option<FlowNote> {
        match self {
            // The Focus' end of the control link notes what crosses it.
            Event::Control { .. } => None,
            Event::SipRequest { request, .. } => from_participant(request_summary(request)),
            Event::SipAck { .. } | Event::SipStrayResponse { .. } => None,
            Event::SipCancelled { .. } => from_participant("CANCEL".to_owned()),
            Event::SipResponse { response, .. } => response_note(response),
            Event::SipFailed { .. } => from_participant("no answer".to_owned()),
            Event::SipServerFailed { .. } => from_participant("no ACK".to_owned()),
            // Who speaks, and what ports there are, is no step of a conference.
            Event::MediaOpened { .. } | Event::MediaRefused { .. } | Event::Media(_) => None,
        }
    }
}

impl Traced for Action {
    fn flow_note(&self) -> Option<FlowNote> {
        match self {
            Action::ControlResponse { .. }
            | Action::Notify(_)
            | Action::OpenMedia { .. }
            | Action::Media(_) => None,
            Action::Respond { response, .. } => {
                let method = response.headers.cseq().map(|cseq| cseq.method.to_string()).unwrap_or_default();
                Some(FlowNote::new(8, SELF, PARTICIPANT, format!("{} {method}", response.status)))
            }
            Action::Send { note, .. } => note.clone(),
            Action::Cancel { .. } => Some(FlowNote::new(8, SELF, PARTICIPANT, "CANCEL")),
            Action::Ended => Some(FlowNote::new(7, SELF, Component::Focus, "conference ended")),
        }
    }
}

fn from_participant(summary: String) -> Option<FlowNote> {
    Some(FlowNote::new(8, PARTICIPANT, SELF, summary))
}

fn request_summary(request: &Request) -> String {
    match sender(request) {
        Some(sender) => format!("{} {}", request.method, sender.traced()),
        None => request.method.to_string(),
    }
}

/// Of the answers to a fan-out only the bad ones are told.
fn response_note(response: &Response) -> Option<FlowNote> {
    let method = response.headers.cseq().ok()?.method;
    let is_told = match method {
        Method::Invite => response.status > 100,
        _ => response.status >= 300,
    };
    if is_told { from_participant(format!("{} {method}", response.status)) } else { None }
}
