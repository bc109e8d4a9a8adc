//! Step 8: SIP on the MCU's side: a link to each front end, many conferences.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use confab_machine::{Entropy, FlowNote, Machine, Time, Traced};
use confab_mcu::Event as ConferenceEvent;
use confab_schema::uri::{ConferenceUri, McuUri, OpaqueTarget};
use confab_sip::{
    ClientKey, Flow, Message, Method, Request, Response, ServerKey, TransactionOutput, Transactions, Uri,
};
use tokio::sync::mpsc;

use super::{Delivery, McuHost};
use crate::{
    drive::{self, Performed},
    sip_transport::Flows,
};

/// Transactions under way at once.
const TRANSACTION_LIMIT: usize = 200_000;
/// How long a request waits where no front end is linked: one is opening its link.
const LINK_WAIT: Duration = Duration::from_secs(5);
/// How long the ACK of a 2xx may take: 64 × T1, and a little.
const ACK_WAIT: Duration = Duration::from_secs(40);
/// When who is refused because a conference broke may try again, in seconds.
const RETRY_AFTER: &str = "2";
/// Requests that may wait for a link.
const WAITING_LIMIT: usize = 10_000;

/// What the MCU's SIP side hears.
#[derive(Debug)]
pub enum SipEvent {
    /// A link to a front end stands.
    Linked {
        /// The flow.
        flow: Flow,
    },
    /// A message came from the front end.
    Received {
        /// By this flow.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// The link is gone.
    FlowClosed {
        /// Which.
        flow: Flow,
    },
    /// A conference answers a request.
    Respond {
        /// Its transaction.
        key: ServerKey,
        /// The answer.
        response: Response,
    },
    /// A conference sends a request.
    Send {
        /// Which.
        conference: ConferenceUri,
        /// Its number for the request.
        id: u64,
        /// The way the participant came, while it stands; the newest link otherwise.
        flow: Option<Flow>,
        /// The request.
        request: Request,
    },
    /// A conference is over, or has died, and answers nothing any more.
    Ended {
        /// Which.
        conference: ConferenceUri,
    },
    /// A conference gives an INVITE up.
    Cancel {
        /// Which.
        conference: ConferenceUri,
        /// The number it gave the INVITE.
        id: u64,
    },
}

/// What the MCU's SIP side wants done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every action is a message to send")]
pub enum SipAction {
    /// Send a message.
    Transmit {
        /// By this flow.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// Hand something to a conference.
    ToConference {
        /// Which.
        conference: ConferenceUri,
        /// What.
        event: Box<ConferenceEvent>,
    },
}

impl Traced for SipEvent {
    /// Nothing: the conferences note what matters.
    fn flow_note(&self) -> Option<FlowNote> {
        None
    }
}

impl Traced for SipAction {
    fn flow_note(&self) -> Option<FlowNote> {
        None
    }
}

/// A request of a conference.
struct Outgoing {
    conference: ConferenceUri,
    /// The conference's number for it.
    id: u64,
    request: Request,
}

/// The transactions of an MCU.
pub struct McuSip {
    sent_by: String,
    transactions: Transactions,
    /// The links that stand, the newest last.
    links: Vec<Flow>,
    /// What goes out by the next link, and until when it waits.
    waiting: VecDeque<(Time, Outgoing)>,
    sent: BTreeMap<ClientKey, (ConferenceUri, u64)>,
    keys: BTreeMap<(ConferenceUri, u64), ClientKey>,
    /// The INVITEs that are not answered, and for whom they are.
    received: BTreeMap<ServerKey, (ConferenceUri, Request)>,
    /// Those that were accepted, and until when their ACK may be missed.
    accepted: VecDeque<(Time, ServerKey, ConferenceUri)>,
}

impl McuSip {
    /// An MCU that calls itself `sent_by` in Via.
    pub fn new(sent_by: String, entropy: Entropy) -> McuSip {
        McuSip {
            sent_by,
            transactions: Transactions::new(entropy, TRANSACTION_LIMIT),
            links: Vec::new(),
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            keys: BTreeMap::new(),
            received: BTreeMap::new(),
            accepted: VecDeque::new(),
        }
    }

    fn work(&mut self, now: Time, outputs: Vec<TransactionOutput>, out: &mut Vec<SipAction>) {
        for output in outputs {
            match output {
                TransactionOutput::Transmit { flow, message } => {
                    out.push(SipAction::Transmit { flow, message });
                }
                TransactionOutput::Request { key, flow, request } => {
                    self.arrived(now, key, flow, request, out);
                }
                TransactionOutput::Ack { request, .. } => {
                    if let Some(conference) = conference(&request) {
                        tell(conference, ConferenceEvent::SipAck { request }, out);
                    }
                }
                TransactionOutput::Cancelled { key } => {
                    if let Some((conference, _)) = self.received.get(&key).cloned() {
                        tell(conference, ConferenceEvent::SipCancelled { key }, out);
                    }
                }
                TransactionOutput::Response { key, response } => {
                    let of =
                        if response.status >= 200 { self.forget(&key) } else { self.sent.get(&key).cloned() };
                    if let Some((conference, id)) = of {
                        tell(conference, ConferenceEvent::SipResponse { id, response }, out);
                    }
                }
                TransactionOutput::Failed { key, .. } => {
                    if let Some((conference, id)) = self.forget(&key) {
                        tell(conference, ConferenceEvent::SipFailed { id }, out);
                    }
                }
                TransactionOutput::ServerFailed { key, .. } => {
                    if let Some(at) = self.accepted.iter().position(|(_, accepted, _)| *accepted == key)
                        && let Some((_, key, conference)) = self.accepted.remove(at)
                    {
                        tell(conference, ConferenceEvent::SipServerFailed { key }, out);
                    }
                }
                // A callee whose ACK was lost on its way repeats its 2xx.
                TransactionOutput::StrayResponse { response, .. } => {
                    if let Some(conference) = conference_of(&response) {
                        tell(conference, ConferenceEvent::SipStrayResponse { response }, out);
                    }
                }
            }
        }
    }

    fn arrived(&mut self, now: Time, key: ServerKey, flow: Flow, request: Request, out: &mut Vec<SipAction>) {
        match conference(&request) {
            Some(conference) => {
                if request.method == Method::Invite {
                    self.received.insert(key.clone(), (conference.clone(), request.clone()));
                }
                tell(conference, ConferenceEvent::SipRequest { key, flow, request }, out);
            }
            None => self.respond(now, &key, Response::to(&request, 404), out),
        }
    }

    fn respond(&mut self, now: Time, key: &ServerKey, response: Response, out: &mut Vec<SipAction>) {
        if response.status >= 200
            && let Some((conference, _)) = self.received.remove(key)
            && response.status < 300
        {
            self.accepted.push_back((now + ACK_WAIT, key.clone(), conference));
        }
        while self.accepted.front().is_some_and(|(until, ..)| *until <= now) {
            self.accepted.pop_front();
        }
        let mut outputs = Vec::new();
        self.transactions.respond(now, key, response, &mut outputs);
        self.work(now, outputs, out);
    }

    /// What was left unanswered is refused: nobody waits for minutes, and who tries again meets the successor.
    fn ended(&mut self, now: Time, conference: &ConferenceUri, out: &mut Vec<SipAction>) {
        let left = self.received.iter().filter(|(_, (of, _))| of == conference);
        let left: Vec<(ServerKey, Response)> =
            left.map(|(key, (_, request))| (key.clone(), broken(request))).collect();
        for (key, response) in left {
            self.respond(now, &key, response, out);
        }
    }

    /// Sends a request by this link, or has it wait for one.
    fn send(
        &mut self,
        now: Time,
        link: Option<Flow>,
        outgoing: Outgoing,
        outputs: &mut Vec<TransactionOutput>,
        out: &mut Vec<SipAction>,
    ) {
        let Some(flow) = link else {
            if self.waiting.len() < WAITING_LIMIT {
                return self.waiting.push_back((now + LINK_WAIT, outgoing));
            }
            return tell(outgoing.conference, ConferenceEvent::SipFailed { id: outgoing.id }, out);
        };
        let Outgoing { conference, id, request } = outgoing;
        let unanswered = request.method == Method::Benotify;
        let sent_by = self.sent_by.clone();
        let key = self.transactions.request(now, flow, &sent_by, request, outputs);
        if !unanswered {
            self.sent.insert(key.clone(), (conference.clone(), id));
            self.keys.insert((conference, id), key);
        }
    }

    /// Those that wait and are so come to nothing.
    fn give_up(&mut self, is_one: impl Fn(&(Time, Outgoing)) -> bool, out: &mut Vec<SipAction>) {
        let (over, others) = std::mem::take(&mut self.waiting).into_iter().partition(is_one);
        self.waiting = others;
        let over: VecDeque<(Time, Outgoing)> = over;
        for (_, Outgoing { conference, id, .. }) in over {
            tell(conference, ConferenceEvent::SipFailed { id }, out);
        }
    }

    fn forget(&mut self, key: &ClientKey) -> Option<(ConferenceUri, u64)> {
        let of = self.sent.remove(key)?;
        self.keys.remove(&of);
        Some(of)
    }
}

/// The answer for a conference that cannot give one any more.
fn broken(request: &Request) -> Response {
    Response::to(request, 500).with_header("Retry-After", RETRY_AFTER)
}

/// The conference a request is for: that of the MCU URI it is sent to, or the one itself for those who
/// came by its own URI.
fn conference(request: &Request) -> Option<ConferenceUri> {
    let of = |uri: &Uri| match OpaqueTarget::parse(&uri.to_string()) {
        OpaqueTarget::Mcu(mcu) => Some(mcu.conference),
        OpaqueTarget::Focus(conference) => Some(conference),
        _ => None,
    };
    of(&request.uri).or_else(|| of(&request.headers.to().ok()?.uri))
}

/// The conference that a response is for: the one whose MCU URI its request came from.
fn conference_of(response: &Response) -> Option<ConferenceUri> {
    let from = response.headers.from().ok()?.uri.to_string();
    McuUri::parse(&from).ok().map(|uri| uri.conference)
}

fn tell(conference: ConferenceUri, event: ConferenceEvent, out: &mut Vec<SipAction>) {
    out.push(SipAction::ToConference { conference, event: Box::new(event) });
}

impl Machine for McuSip {
    type Event = SipEvent;
    type Action = SipAction;

    fn handle(&mut self, now: Time, event: SipEvent, out: &mut Vec<SipAction>) {
        let mut outputs = Vec::new();
        match event {
            SipEvent::Linked { flow } => {
                self.links.push(flow);
                for (_, outgoing) in std::mem::take(&mut self.waiting) {
                    self.send(now, Some(flow), outgoing, &mut outputs, out);
                }
            }
            SipEvent::Received { flow, message } => {
                self.transactions.receive(now, flow, message, &mut outputs);
            }
            SipEvent::FlowClosed { flow } => {
                self.transactions.flow_closed(now, flow, &mut outputs);
                self.links.retain(|link| *link != flow);
            }
            SipEvent::Respond { key, response } => return self.respond(now, &key, response, out),
            SipEvent::Ended { conference } => return self.ended(now, &conference, out),
            SipEvent::Send { conference, id, flow, request } => {
                // A link that broke has a successor, on which its dialogs go on.
                let usual = flow.filter(|flow| self.links.contains(flow));
                let link = usual.or_else(|| self.links.last().copied());
                self.send(now, link, Outgoing { conference, id, request }, &mut outputs, out);
            }
            SipEvent::Cancel { conference, id } => {
                self.give_up(|(_, waits)| waits.id == id && waits.conference == conference, out);
                if let Some(key) = self.keys.get(&(conference, id)) {
                    self.transactions.cancel(now, key, &mut outputs);
                }
            }
        }
        self.work(now, outputs, out);
    }

    fn deadline(&self) -> Option<Time> {
        let waiting = self.waiting.front().map(|(until, _)| *until);
        [self.transactions.deadline(), waiting].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<SipAction>) {
        self.give_up(|(until, _)| *until <= now, out);
        let mut outputs = Vec::new();
        self.transactions.handle_timeout(now, &mut outputs);
        self.work(now, outputs, out);
    }
}

/// The hands of the MCU's SIP side.
pub struct McuSipShell {
    /// The flows of this role.
    pub flows: Flows,
    /// The MCU.
    pub host: McuHost,
    /// Its own queue, to answer what no conference here can.
    pub events: mpsc::Sender<SipEvent>,
}

impl drive::Shell<McuSip> for McuSipShell {
    async fn perform(&mut self, _now: Time, action: SipAction) -> Performed<SipEvent> {
        match action {
            SipAction::Transmit { flow, message } => {
                if !self.flows.send(flow, &message) {
                    return Performed::Failed(SipEvent::FlowClosed { flow });
                }
            }
            SipAction::ToConference { conference, event } => {
                let asked = match &*event {
                    ConferenceEvent::SipRequest { key, request, .. } => Some((key.clone(), request.clone())),
                    _ => None,
                };
                let delivery = self.host.deliver(&conference, *event);
                let answer = asked.and_then(|(key, request)| match delivery {
                    Delivery::Unknown => Some((key, Response::to(&request, 481))),
                    // Where it was sent on, nobody waits for this answer. Where not, an INVITE would be waited for for
                    // minutes.
                    Delivery::Elsewhere if request.method == Method::Invite => Some((key, broken(&request))),
                    Delivery::Elsewhere | Delivery::Taken => None,
                });
                if let Some((key, response)) = answer {
                    // Never waits for itself: a full queue means more to do than this answer.
                    let _ = self.events.try_send(SipEvent::Respond { key, response });
                }
            }
        }
        Performed::Done
    }

    fn note(&mut self, _now: Time, _note: FlowNote) {}
}

#[cfg(test)]
mod tests {
    use confab_sip::{Transport, Uri};

    use super::*;

    const LINK: Flow = Flow { id: 1, transport: Transport::Tls };

    fn bye(id: u64) -> SipEvent {
        let request = Request::new(Method::Bye, Uri::sip("bob", "example.test"))
            .with_header("From", "<sip:chat@example.test>;tag=1")
            .with_header("To", "<sip:bob@example.test>;tag=2")
            .with_header("Call-ID", "call")
            .with_header("CSeq", format!("{id} BYE"));
        let uri = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
        let conference = ConferenceUri::parse(uri).unwrap();
        SipEvent::Send { conference, id, flow: None, request }
    }

    #[test]
    fn what_a_conference_leaves_unanswered_is_refused() {
        let now = Time::from_unix_secs(100);
        let mut sip = McuSip::new("192.0.2.20:5073".into(), Entropy::from_seed([1; 32]));
        let mut out = Vec::new();
        let uri = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
        let mut invite = |number: u32, out: &mut Vec<SipAction>| {
            let request = Request::new(Method::Invite, uri.parse().unwrap())
                .with_header("Via", format!("SIP/2.0/TLS fe;branch=z9hG4bK{number}"))
                .with_header("From", "<sip:bob@example.test>;tag=2")
                .with_header("To", format!("<{uri}>"))
                .with_header("Call-ID", "call")
                .with_header("CSeq", format!("{number} INVITE"))
                .with_header("Content-Length", "0");
            sip.handle(now, SipEvent::Received { flow: LINK, message: request.into() }, out);
        };
        invite(1, &mut out);
        invite(2, &mut out);
        let key = out.iter().find_map(|action| match action {
            SipAction::ToConference { event, .. } => match &**event {
                ConferenceEvent::SipRequest { key, request, .. } => Some((key.clone(), request.clone())),
                _ => None,
            },
            SipAction::Transmit { .. } => None,
        });
        let (key, first) = key.unwrap();
        sip.handle(now, SipEvent::Respond { key, response: Response::to(&first, 200) }, &mut out);
        out.clear();
        let conference = ConferenceUri::parse(uri).unwrap();
        for _ in 0..2 {
            sip.handle(now, SipEvent::Ended { conference: conference.clone() }, &mut out);
        }
        let [SipAction::Transmit { message: Message::Response(response), .. }] = out.as_slice() else {
            panic!("{out:?}")
        };
        assert_eq!((response.status, response.headers.cseq().unwrap().number), (500, 2));
    }

    #[test]
    fn what_is_to_be_sent_waits_for_a_link_but_not_for_ever() {
        let start = Time::from_unix_secs(100);
        let mut sip = McuSip::new("192.0.2.20:5073".into(), Entropy::from_seed([1; 32]));
        let mut out = Vec::new();
        sip.handle(start, bye(1), &mut out);
        sip.handle(start, SipEvent::Linked { flow: LINK }, &mut out);
        assert!(matches!(out.as_slice(), [SipAction::Transmit { flow: LINK, .. }]), "{out:?}");

        out.clear();
        sip.handle(start, SipEvent::FlowClosed { flow: LINK }, &mut out);
        out.clear();
        sip.handle(start, bye(2), &mut out);
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(sip.deadline(), Some(start + LINK_WAIT));
        sip.handle_timeout(start + LINK_WAIT, &mut out);
        let failed = |action: &SipAction| match action {
            SipAction::ToConference { event, .. } => matches!(**event, ConferenceEvent::SipFailed { id: 2 }),
            SipAction::Transmit { .. } => false,
        };
        assert!(out.len() == 1 && failed(&out[0]), "{out:?}");
        sip.handle(start + LINK_WAIT, SipEvent::Linked { flow: LINK }, &mut out);
        assert_eq!(out.len(), 1, "what was given up is not sent");
    }
}
