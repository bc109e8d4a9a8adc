//! What a conference on an MCU hears and wants: C3P toward the Focus (step 7), SIP toward
//! participants (step 8).

use std::net::SocketAddr;

use confab_machine::FlowNote;
use confab_media::session::{self, Kind, LegId};
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
    /// The ports of [`Action::OpenMedia`] are open.
    MediaOpened {
        /// The leg.
        leg: LegId,
        /// Where each flow is received, as participants can reach it: over IPv4 and IPv6 where both are
        /// there. What shares a port is named once.
        addresses: Vec<(Kind, confab_media::Flow, SocketAddr)>,
    },
    /// No port is left for [`Action::OpenMedia`].
    MediaRefused {
        /// The leg.
        leg: LegId,
    },
    /// The data plane says something.
    Media(session::Event),
}

/// What the data plane and its ports say to a medium.
#[derive(Debug)]
pub(crate) enum MediaEvent {
    /// [`Event::MediaOpened`]
    Opened { leg: LegId, addresses: Vec<(Kind, confab_media::Flow, SocketAddr)> },
    /// [`Event::MediaRefused`]
    Refused { leg: LegId },
    /// [`Event::Media`]
    Plane(session::Event),
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
    /// Open ports for a leg, answered by [`Event::MediaOpened`] or [`Event::MediaRefused`] at once. Those
    /// that are open stay. They are closed after [`session::Command::Close`].
    OpenMedia {
        /// The leg.
        leg: LegId,
        /// What is to flow.
        kinds: Vec<Kind>,
        /// RTCP shares the port of RTP.
        multiplexed: bool,
    },
    /// Tell the data plane.
    Media(session::Command),
    /// The conference is over here; the machine can be dropped.
    Ended,
}

/// Who sent a request, as the front end vouches for him.
pub(crate) fn sender(request: &Request) -> Option<UserUri> {
    let addresses = request.headers.addresses("P-Asserted-Identity").ok()?;
    addresses.iter().find_map(|address| UserUri::parse(&address.uri.aor()).ok())
}
