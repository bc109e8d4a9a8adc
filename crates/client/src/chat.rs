//! Talking in a conference: the INVITE dialog with its IM conferencing server, MESSAGE both ways,
//! typing and delivery reports. Step 8 (MS-CONFIM, RFC 3428).

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use confab_machine::Time;
use confab_schema::{
    composing::{self, IS_COMPOSING, KEYBOARD_ACTIVITY},
    imdn::{self, Imdn},
    uri::{McuUri, UserUri},
};
use confab_sip::{
    ClientKey, Dialog, Headers, MediaType, Method, Request, Response, Sdp, ServerKey, multipart,
};

use crate::{
    refusal::Refusal,
    user_agent::{Answer, Context, Errand, Purpose},
    vocabulary::{Observation, TextFormat, Undertaking},
};

/// How many messages wait for the chat to open.
const MAX_WAITING: usize = 32;
/// How often the chat is tried again by itself, after [`RETRY_AFTER`] each.
const MAX_RETRIES: u8 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(2);

const SDP: &str = "application/sdp";
/// What we can read, as offered to the server.
const ACCEPT_TYPES: [&str; 5] =
    ["text/plain", "text/html", "multipart/alternative", IS_COMPOSING, imdn::CONTENT_TYPE];

/// The client's part in one conference's chat.
#[derive(Debug)]
pub(crate) struct Chat {
    /// Of the session it belongs to.
    session: u64,
    state: State,
    waiting: VecDeque<String>,
    retries: u8,
    retry_at: Option<Time>,
}

#[derive(Debug)]
enum State {
    /// Where the server is is not known yet.
    Unknown,
    Opening(Option<ClientKey>),
    Open(Box<Dialog>),
    /// Opened again when the server comes up again.
    Closed,
}

impl Chat {
    pub(crate) fn new(session: u64) -> Chat {
        Chat { session, state: State::Unknown, waiting: VecDeque::new(), retries: 0, retry_at: None }
    }

    pub(crate) fn dialog(&self) -> Option<&Dialog> {
        match &self.state {
            State::Open(dialog) => Some(dialog),
            _ => None,
        }
    }

    pub(crate) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Open(dialog) => Some(dialog),
            _ => None,
        }
    }

    /// A challenged INVITE was repeated and has another key.
    pub(crate) fn repeated(&mut self, old: &ClientKey, new: &ClientKey) {
        if let State::Opening(Some(key)) = &mut self.state
            && key == old
        {
            key.clone_from(new);
        }
    }

    /// A document named the server; `came_up` says that it was not up before.
    pub(crate) fn available(&mut self, cx: &mut Context<'_>, mcu: &McuUri, came_up: bool) {
        if matches!(self.state, State::Unknown) || came_up && matches!(self.state, State::Closed) {
            self.retries = 0;
            self.open(cx, mcu);
        }
    }

    fn open(&mut self, cx: &mut Context<'_>, mcu: &McuUri) {
        self.retry_at = None;
        match cx.agent.request_to(Method::Invite, &mcu.to_string()) {
            Ok(mut invite) => {
                invite.headers.push("Supported", "ms-sender");
                invite.set_body(SDP, offer(cx));
                self.state =
                    State::Opening(cx.send(invite, Purpose::Session(self.session, Errand::OpenChat)));
            }
            Err(refusal) => self.refused(cx, refusal),
        }
    }

    /// The answer to the INVITE.
    pub(crate) fn opened(&mut self, cx: &mut Context<'_>, sent: &Request, answer: Answer) {
        let response = match answer {
            Ok(response) => response,
            Err(refusal) => return self.refused(cx, refusal),
        };
        if !matches!(self.state, State::Opening(_)) {
            return cx.decline_late(sent, &response);
        }
        let Some(dialog) = cx.acknowledge(sent, &response) else {
            return self.refused(cx, Refusal::local(502, "The answer of the chat makes no dialog."));
        };
        self.state = State::Open(Box::new(dialog));
        self.retries = 0;
        cx.observe(Observation::ChatOpened);
        for text in std::mem::take(&mut self.waiting) {
            self.say(cx, text);
        }
    }

    fn refused(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        self.state = State::Closed;
        let passing = matches!(refusal.status, 408 | 480 | 500 | 503 | 504);
        if passing && self.retries < MAX_RETRIES {
            self.retries += 1;
            self.retry_at = Some(cx.now + RETRY_AFTER);
            return;
        }
        self.refuse_waiting(cx, &refusal);
        cx.observe(Observation::Refused { what: Undertaking::Chat, refusal });
    }

    fn refuse_waiting(&mut self, cx: &mut Context<'_>, refusal: &Refusal) {
        for _ in self.waiting.drain(..) {
            cx.observe(Observation::Refused { what: Undertaking::Say, refusal: refusal.clone() });
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.retry_at
    }

    pub(crate) fn timeout(&mut self, cx: &mut Context<'_>, mcu: Option<&McuUri>) {
        if self.retry_at.is_some_and(|at| at <= cx.now) {
            self.retry_at = None;
            if let Some(mcu) = mcu {
                self.open(cx, mcu);
            }
        }
    }

    /// Sends a message, now or when the chat is open.
    pub(crate) fn say(&mut self, cx: &mut Context<'_>, text: String) {
        let opening = matches!(self.state, State::Unknown | State::Opening(_)) || self.retry_at.is_some();
        let Some(dialog) = self.dialog_mut() else {
            if opening && self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(text);
            } else {
                let refusal = Refusal::local(480, "The chat of this conference is not open.");
                cx.observe(Observation::Refused { what: Undertaking::Say, refusal });
            }
            return;
        };
        let mut message = cx.agent.request_in(dialog, Method::Message);
        message.set_body("text/plain; charset=UTF-8", Bytes::from(text.clone()));
        cx.send(message, Purpose::Session(self.session, Errand::Say { text }));
    }

    /// The server took a message, or did not.
    pub(crate) fn said(&mut self, cx: &mut Context<'_>, text: String, answer: Answer) {
        match answer {
            Ok(response) => {
                let message_id = message_id(&response.headers);
                cx.observe(Observation::MessageAccepted { message_id, text });
            }
            Err(refusal) => {
                let gone = matches!(refusal.status, 408 | 481);
                cx.observe(Observation::Refused { what: Undertaking::Say, refusal });
                if gone && self.dialog().is_some() {
                    // Nobody removed us: the server was lost, and another may take its place.
                    self.close(cx);
                    self.retry_at = Some(cx.now + RETRY_AFTER);
                }
            }
        }
    }

    /// Shows the others that one types. Not worth waiting for an open chat.
    // Deviation: typing goes to the server as KeyboardActivity in INFO, as between two clients.
    pub(crate) fn typing(&mut self, cx: &mut Context<'_>, active: bool) {
        let session = self.session;
        let Some(dialog) = self.dialog_mut() else { return };
        let mut info = cx.agent.request_in(dialog, Method::Info);
        info.set_body(KEYBOARD_ACTIVITY, composing::keyboard_activity(active));
        cx.send(info, Purpose::Session(session, Errand::Typing));
    }

    /// A request of the server in the chat's dialog.
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, key: &ServerKey, request: &Request) {
        match request.method {
            Method::Bye => {
                cx.answer(key, request, 200);
                self.close(cx);
            }
            Method::Invite => match session_answer(cx, &request.body) {
                Some(body) => {
                    let mut response = Response::to(request, 200).with_header("Contact", cx.agent.contact());
                    response.set_body(SDP, body);
                    cx.respond(key, response);
                }
                None => cx.answer(key, request, 488),
            },
            Method::Update => cx.answer(key, request, 200),
            Method::Message | Method::Info | Method::Notify | Method::Benotify => {
                let kind = request.headers.content_type().map(|kind| kind.kind.to_string());
                let understood = match kind.as_deref() {
                    Some(imdn::CONTENT_TYPE) => report(cx, &request.body),
                    Some(IS_COMPOSING | KEYBOARD_ACTIVITY) => typed(cx, request),
                    _ => received(cx, request),
                };
                cx.answer(key, request, if understood { 200 } else { 415 });
            }
            _ => cx.refuse_method(key, request),
        }
    }

    fn close(&mut self, cx: &mut Context<'_>) {
        self.state = State::Closed;
        cx.observe(Observation::ChatClosed);
    }

    /// The conference is over for us.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>) {
        self.retry_at = None;
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(dialog) => cx.bye(*dialog),
            State::Opening(Some(key)) => cx.cancel(&key),
            State::Opening(None) | State::Unknown | State::Closed => {}
        }
        self.refuse_waiting(cx, &Refusal::local(481, "The conference was over before the message was sent."));
    }

    /// The flow is gone, and the dialog with it.
    pub(crate) fn lose(&mut self) {
        self.state = State::Closed;
    }
}

fn offer(cx: &Context<'_>) -> Bytes {
    Sdp::message_offer(&cx.agent.config.local.to_string(), &ACCEPT_TYPES).to_bytes()
}

/// The answer to a re-INVITE, which refreshes the session and changes nothing.
fn session_answer(cx: &Context<'_>, body: &Bytes) -> Option<Bytes> {
    if body.is_empty() {
        return Some(offer(cx));
    }
    let offer = Sdp::parse(body).ok()?;
    let local = cx.agent.config.local.to_string();
    Sdp::message_answer(&offer, &local, &cx.agent.uri(), &ACCEPT_TYPES).ok().map(|sdp| sdp.to_bytes())
}

/// The server's number for a message.
fn message_id(headers: &Headers) -> Option<u32> {
    headers.get("Message-Id")?.trim().parse().ok()
}

/// Who wrote what the server forwards.
fn sender(request: &Request) -> Option<UserUri> {
    let senders = request.headers.addresses("Ms-Sender").ok()?;
    UserUri::parse(&senders.first()?.uri.aor()).ok()
}

/// Somebody said something. Returns whether it could be read.
fn received(cx: &mut Context<'_>, request: &Request) -> bool {
    let Some(kind) = request.headers.content_type() else { return false };
    let Some((format, text)) = readable(&kind, &request.body) else { return false };
    let message_id = message_id(&request.headers);
    cx.observe(Observation::MessageReceived { from: sender(request), text, format, message_id });
    true
}

/// The text of a body; of alternatives the plain one.
fn readable(kind: &MediaType, body: &Bytes) -> Option<(TextFormat, String)> {
    let text = || String::from_utf8_lossy(body).into_owned();
    match &*kind.kind {
        "text/plain" => Some((TextFormat::Plain, text())),
        "text/html" => Some((TextFormat::Html, text())),
        "multipart/alternative" => {
            let parts = multipart::parse(kind, body).ok()?;
            let mut readable = parts.iter().filter_map(|part| {
                let kind = part.headers.content_type()?;
                (!kind.kind.starts_with("multipart/")).then(|| self::readable(&kind, &part.body))?
            });
            let first = readable.next()?;
            if first.0 == TextFormat::Plain {
                return Some(first);
            }
            Some(readable.find(|(format, _)| *format == TextFormat::Plain).unwrap_or(first))
        }
        _ => None,
    }
}

fn typed(cx: &mut Context<'_>, request: &Request) -> bool {
    let Ok(active) = composing::parse(&request.body) else { return false };
    cx.observe(Observation::Typing { from: sender(request), active });
    true
}

/// A delivery report: nobody missed the message, or these did.
fn report(cx: &mut Context<'_>, body: &Bytes) -> bool {
    let Ok(imdn) = Imdn::parse(body) else { return false };
    let Imdn { message_id, recipients } = imdn;
    let missed =
        recipients.into_iter().filter(|recipient| recipient.status.is_none_or(|status| status >= 300));
    let recipients: Vec<_> = missed.map(|recipient| (recipient.uri, recipient.status)).collect();
    cx.observe(if recipients.is_empty() {
        Observation::MessageDelivered { message_id }
    } else {
        Observation::MessageUndelivered { message_id, recipients }
    });
    true
}
