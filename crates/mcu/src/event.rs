//! What a conference on an MCU hears and wants: C3P toward the Focus (step 7), SIP toward
//! participants (step 8).

use confab_machine::FlowNote;
use confab_schema::{cccp, conference_info::ConferenceInfo, uri::UserUri};
use confab_sip::{Flow, Request, Response, ServerKey};

/// What happens to a conference on an MCU.
#[derive(Clone, Debug)]
pub enum Event {
    /// Step 7: the Focus sent a command.
    Control {
        /// The host's name for it, repeated in the answers.
        id: u64,
        /// The command.
        request: cccp::Request,
    },
    /// A SIP request other than ACK and CANCEL.
    SipRequest {
        /// Its transaction.
        key: ServerKey,
        /// Where it came from.
        flow: Flow,
        /// The request. Its sender stands in P-Asserted-Identity, which the front end vouches for.
        request: Request,
    },
    /// The ACK of a 2xx.
    SipAck {
        /// The ACK.
        request: Request,
    },
    /// The INVITE of this transaction was cancelled.
    SipCancelled {
        /// The transaction.
        key: ServerKey,
    },
    /// A request of ours was answered, provisionally or finally. An INVITE may get several 2xx, of
    /// different To tags.
    SipResponse {
        /// The request's number.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// A response that belongs to no request under way, maybe a 2xx to INVITE once more.
    SipStrayResponse {
        /// The response.
        response: Response,
    },
    /// A request of ours was not answered, or could not be sent.
    SipFailed {
        /// The request's number.
        id: u64,
    },
    /// A final response of ours was never acknowledged, or could not be sent.
    SipServerFailed {
        /// The transaction.
        key: ServerKey,
    },
}

/// What a conference on an MCU wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answer a command of the Focus: maybe `pending` first, then finally.
    ControlResponse {
        /// The host's name for the command.
        id: u64,
        /// The answer.
        response: cccp::Response,
    },
    /// Tell the Focus what changed: each changed person with the complete list of his endpoints
    /// here. The version is this MCU's own and counts from 1.
    Notify(Box<ConferenceInfo>),
    /// Answer a SIP request.
    Respond {
        /// Its transaction.
        key: ServerKey,
        /// The answer. The host sees to it that a final one has a To tag.
        response: Response,
    },
    /// Send a SIP request to a participant. ACK and BENOTIFY are sent without a transaction.
    Send {
        /// Its number, for the answer; never used again.
        id: u64,
        /// The way he came; `None` for somebody who is called: through the front end.
        flow: Option<Flow>,
        /// The request, without a Via.
        request: Request,
        /// What the flow trace says. Of the requests of one fan-out only the first has a note.
        note: Option<FlowNote>,
    },
    /// Give up the INVITE of this number.
    Cancel {
        /// The number.
        id: u64,
    },
    /// The conference is over here; the machine can be dropped.
    Ended,
}

/// Who sent a request, as the front end vouches for him.
pub(crate) fn sender(request: &Request) -> Option<UserUri> {
    let addresses = request.headers.addresses("P-Asserted-Identity").ok()?;
    addresses.iter().find_map(|address| UserUri::parse(&address.uri.aor()).ok())
}
