//! What every subscriber is told, read off the wire: no version is skipped. A change follows the
//! version before it; only a full document may jump, and never back (RFC 4575 §4.4).

use std::collections::BTreeMap;

use bytes::Bytes;
use confab_schema::conference_info::{CONTENT_TYPE, ConferenceInfo, State};
use confab_sip::{
    Message, Method,
    frame::{Frame, Framer},
};

/// What has been told in each dialog, and what was wrong with it.
#[derive(Default)]
pub struct Versions {
    framers: BTreeMap<usize, Framer>,
    known: BTreeMap<(usize, String), Known>,
    /// The number of the last SUBSCRIBE of each dialog that was answered.
    answered: BTreeMap<(usize, String), u32>,
    faults: Vec<String>,
}

/// The last that was told.
struct Known {
    version: u32,
    /// The number of the request that told it; none, if it was in an answer.
    number: u32,
}

impl Versions {
    /// The server wrote this on a stream.
    pub fn stream(&mut self, line: usize, bytes: &[u8]) {
        let framer = self.framers.entry(line).or_insert_with(|| Framer::new(confab_sip::MAX_MESSAGE));
        framer.push(bytes);
        let mut whole = Vec::new();
        while let Ok(Some(frame)) = framer.next() {
            whole.extend(if let Frame::Message(bytes) = frame { Some(bytes) } else { None });
        }
        for bytes in whole {
            self.datagram(line, &bytes);
        }
    }

    /// The server sent this, whether or not it arrives.
    pub fn datagram(&mut self, line: usize, bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else {
            self.faults.push("the server wrote what is no SIP".into());
            return;
        };
        let headers = message.headers();
        let told = match &message {
            Message::Request(request) => matches!(request.method, Method::Notify | Method::Benotify),
            Message::Response(response) => response.status == 200,
        };
        let is_state = headers.content_type().is_some_and(|kind| &*kind.kind == CONTENT_TYPE);
        let (Ok(call_id), Ok(cseq), true, true) = (headers.call_id(), headers.cseq(), told, is_state) else {
            return;
        };
        let dialog = (line, call_id.to_string());
        let number = match message {
            Message::Request(_) => cseq.number,
            Message::Response(_) => {
                let answered = self.answered.entry(dialog.clone()).or_default();
                if cseq.number <= *answered {
                    // The same answer may go out again, even after that to a later SUBSCRIBE.
                    return;
                }
                *answered = cseq.number;
                0
            }
        };
        match ConferenceInfo::parse(message.body()) {
            Ok(document) => self.told(dialog, number, document.state, document.version),
            Err(malformed) => self.faults.push(format!("a document cannot be read: {malformed}")),
        }
    }

    fn told(&mut self, dialog: (usize, String), number: u32, state: State, version: u32) {
        let before = self.known.get(&dialog);
        if number > 0 && before.is_some_and(|known| number <= known.number) {
            // It is sent again, for want of an answer.
            return;
        }
        let fits = match (before, state) {
            (None, State::Full) => true,
            (None, _) => false,
            (Some(known), State::Full) => version >= known.version,
            (Some(known), State::Partial) => version == known.version + 1,
            (Some(_), State::Deleted) => true,
        };
        if !fits {
            let before = before.map(|known| known.version);
            self.faults.push(format!("{dialog:?}: {state:?} version {version} after {before:?}"));
        }
        let number = number.max(before.map_or(0, |known| known.number));
        self.known.insert(dialog, Known { version, number });
    }

    /// What was wrong since this was last asked.
    pub fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_document_may_jump() {
        use State::{Full, Partial};
        for (told, faults) in [
            (&[(0, Full, 1), (1, Partial, 2), (2, Partial, 3)][..], 0),
            (&[(0, Full, 1), (1, Partial, 3)], 1),
            (&[(0, Full, 1), (1, Partial, 2), (1, Partial, 2)], 0),
            (&[(0, Full, 1), (1, Partial, 2), (2, Partial, 2)], 1),
            (&[(0, Full, 1), (1, Full, 9), (0, Full, 9), (2, Partial, 10)], 0),
            (&[(0, Full, 9), (1, Full, 8)], 1),
            (&[(1, Partial, 1)], 1),
        ] {
            let mut versions = Versions::default();
            for (number, state, version) in told {
                versions.told((1, "call".into()), *number, *state, *version);
            }
            assert_eq!(versions.take_faults().len(), faults, "{told:?}");
        }
    }
}
