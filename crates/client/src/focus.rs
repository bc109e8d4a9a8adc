//! One conference, joined: the INVITE dialog with its Focus, and all that hangs on it. Steps 3, 4
//! and 7 (MS-CONFBAS §3.4, RFC 4579 §5).

mod command;
mod subscription;
mod timer;

use bytes::Bytes;
use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Code, ConferenceKeys, ResultBody},
    conference_info::{ConferenceInfo, Endpoint, Role, User},
    uri::{ConferenceUri, McuType},
};
use confab_sip::{ClientKey, Dialog, DialogId, Method, Request, Response, ServerKey};

use crate::{
    chat::Chat,
    refusal::{Diagnostics, Refusal},
    roster::{Applied, Roster},
    user_agent::{Answer, Context, Errand, Purpose, Sent},
    vocabulary::{Command, Ending, Observation, Undertaking},
};
use command::Commands;
use subscription::Subscription;
use timer::SessionTimer;

/// The conference a client is in, or on its way into.
#[derive(Debug)]
pub(crate) struct Session {
    /// Tells answers to this session's requests from those to an earlier one's.
    number: u64,
    conference: ConferenceUri,
    /// The INVITE that has no final answer yet.
    joining: Option<ClientKey>,
    dialog: Option<Dialog>,
    subscription: Subscription,
    roster: Roster,
    chat: Chat,
    commands: Commands,
    timer: SessionTimer,
    /// What the notifications said about how it ends, before the BYE.
    foretold: Option<Ending>,
    over: bool,
}

/// Which dialog of a session a request belongs to.
enum Leg {
    Focus,
    Subscription,
    Chat,
}

impl Session {
    /// Step 3: INVITE with `addUser`. Asks to be an attendee, as clients of this kind do; the
    /// Focus grants what the person is.
    pub(crate) fn join(cx: &mut Context<'_>, number: u64, conference: ConferenceUri) -> Session {
        let mut session = Session {
            number,
            conference,
            joining: None,
            dialog: None,
            subscription: Subscription::default(),
            roster: Roster::default(),
            chat: Chat::new(number),
            commands: Commands::default(),
            timer: SessionTimer::default(),
            foretold: None,
            over: false,
        };
        let focus = session.conference.to_string();
        match cx.agent.request_to(Method::Invite, &focus) {
            Ok(mut request) => {
                let user = User {
                    roles: vec![Role::Attendee],
                    endpoints: vec![Endpoint::new(cx.agent.entropy.guid())],
                    ..User::new(cx.agent.config.user.to_string())
                };
                let add = AddUser { mcu_uri: None, keys: session.keys(), user };
                let (_, body) = cx.agent.cccp(&focus, cccp::Command::AddUser(add));
                request.headers.push("Supported", "ms-sender");
                request.headers.push("Supported", "timer");
                request.set_body(cccp::CONTENT_TYPE, body);
                session.joining = cx.send(request, session.purpose(Errand::Join));
            }
            Err(refusal) => session.refuse(cx, refusal),
        }
        session
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn conference(&self) -> &ConferenceUri {
        &self.conference
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether we are in.
    pub(crate) fn is_joined(&self) -> bool {
        self.dialog.is_some()
    }

    /// Whether it can be dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    fn purpose(&self, errand: Errand) -> Purpose {
        Purpose::Session(self.number, errand)
    }

    fn keys(&self) -> ConferenceKeys {
        ConferenceKeys { entity: Some(self.conference.to_string()), conference_id: None }
    }

    pub(crate) fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        match command {
            Command::Say { text } => self.chat.say(cx, text),
            Command::Typing { active } => self.chat.typing(cx, active),
            Command::Leave => self.end(cx, Ending::Left),
            command => self.lead(cx, command),
        }
    }

    /// An answer to one of this session's requests.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>, errand: Errand, sent: &Request, answer: Answer) {
        match errand {
            Errand::Join => self.joined(cx, sent, answer),
            Errand::Subscribe => self.subscribed(cx, sent, answer),
            Errand::Command { request_id } => self.command_answered(cx, request_id, answer),
            Errand::Refresh => self.refreshed(cx, answer),
            Errand::OpenChat => self.chat.opened(cx, sent, answer),
            Errand::Say { text } => self.chat.said(cx, text, answer),
            Errand::Typing => {}
        }
    }

    /// Step 4: let in, or not.
    fn joined(&mut self, cx: &mut Context<'_>, sent: &Request, answer: Answer) {
        self.joining = None;
        let response = match answer {
            Ok(response) => response,
            Err(refusal) => return self.refuse(cx, refusal),
        };
        let role = match granted(&response) {
            Ok(role) => role,
            Err(refusal) => {
                cx.decline_late(sent, &response);
                return self.refuse(cx, refusal);
            }
        };
        let Some(dialog) = cx.acknowledge(sent, &response) else {
            return self.refuse(cx, Refusal::local(502, "The answer of the Focus makes no dialog."));
        };
        self.dialog = Some(dialog);
        self.timer.agreed(cx.now, &response.headers);
        cx.observe(Observation::Joined { conference: self.conference.clone(), role });
        self.subscribe(cx);
    }

    fn refuse(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        self.over = true;
        cx.observe(Observation::Refused { what: Undertaking::Join, refusal });
    }

    /// Whether a request belongs to one of this session's dialogs; if so it is dealt with.
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, key: &ServerKey, request: &Request) -> bool {
        let Some(leg) = self.leg(request) else { return false };
        let dialog = match leg {
            Leg::Focus => self.dialog.as_mut(),
            Leg::Subscription => self.subscription.dialog.as_mut(),
            Leg::Chat => self.chat.dialog_mut(),
        };
        if let Some(Err(status)) = dialog.map(|dialog| dialog.accept(request)) {
            cx.answer(key, request, status);
            return true;
        }
        match leg {
            Leg::Focus => self.focus_request(cx, key, request),
            Leg::Subscription => self.notified(cx, key, request),
            Leg::Chat => self.chat.request(cx, key, request),
        }
        true
    }

    fn leg(&self, request: &Request) -> Option<Leg> {
        let id = DialogId::of_received(request)?;
        let is = |dialog: Option<&Dialog>| dialog.is_some_and(|dialog| dialog.id() == id);
        if is(self.dialog.as_ref()) {
            Some(Leg::Focus)
        } else if is(self.chat.dialog()) {
            Some(Leg::Chat)
        } else {
            self.subscription.is_told_by(&id).then_some(Leg::Subscription)
        }
    }

    fn focus_request(&mut self, cx: &mut Context<'_>, key: &ServerKey, request: &Request) {
        match request.method {
            Method::Bye => {
                cx.answer(key, request, 200);
                self.dialog = None;
                let ejected = is_ejection(request).then_some(Ending::Ejected);
                self.end(cx, ejected.or(self.foretold).unwrap_or(Ending::ConferenceEnded));
            }
            Method::Info => {
                cx.answer(key, request, 200);
                self.final_response(cx, &request.body);
            }
            Method::Update | Method::Invite => {
                self.timer.agreed(cx.now, &request.headers);
                let mut response = Response::to(request, 200).with_header("Contact", cx.agent.contact());
                if let Some(expires) = request.headers.get("Session-Expires") {
                    response =
                        response.with_header("Session-Expires", expires).with_header("Require", "timer");
                }
                cx.respond(key, response);
            }
            _ => cx.refuse_method(key, request),
        }
    }

    /// A document of the event package came.
    fn document(&mut self, cx: &mut Context<'_>, body: &Bytes) {
        let Ok(document) = ConferenceInfo::parse(body) else { return };
        if ConferenceUri::parse(&document.entity).ok().as_ref() != Some(&self.conference) {
            return;
        }
        let was_up = self.roster.is_up(McuType::Chat);
        let was_in = self.is_in_roster(cx);
        match self.roster.apply(&document, self.subscription.awaits_full) {
            Applied::Outdated => return,
            Applied::Deleted => {
                self.foretold = Some(Ending::ConferenceEnded);
                return;
            }
            Applied::Gap => return self.misses(cx, document.version),
            Applied::Changed(changes) => {
                self.caught_up(cx);
                if let (false, Some(version)) = (changes.is_empty(), self.roster.version()) {
                    cx.observe(Observation::Roster { version, changes });
                }
            }
        }
        match (was_in, self.is_in_roster(cx)) {
            (true, false) => self.foretold = Some(Ending::Ejected),
            (false, true) => self.foretold = None,
            _ => {}
        }
        if let Some(mcu) = self.roster.mcu(McuType::Chat) {
            let came_up = self.roster.is_up(McuType::Chat) && !was_up;
            self.chat.available(cx, mcu, came_up);
        }
    }

    fn is_in_roster(&self, cx: &Context<'_>) -> bool {
        self.roster.participant(&cx.agent.config.user).is_some()
    }

    /// The flow is gone, and every dialog with it.
    pub(crate) fn flow_closed(&mut self, cx: &mut Context<'_>) {
        self.dialog = None;
        self.subscription = Subscription::default();
        self.chat.lose();
        self.end(cx, Ending::Lost);
    }

    /// Leaves every dialog that is still there, and says so.
    fn end(&mut self, cx: &mut Context<'_>, reason: Ending) {
        if self.over {
            return;
        }
        self.over = true;
        if let Some(key) = self.joining.take() {
            cx.cancel(&key);
        }
        self.commands.abandon(cx, reason);
        self.chat.leave(cx);
        if reason == Ending::Left {
            self.unsubscribe(cx);
        }
        if let Some(dialog) = self.dialog.take() {
            cx.bye(dialog);
        }
        cx.observe(Observation::Ended { conference: self.conference.clone(), reason });
    }

    /// The dialog a request was sent in, for the CSeq of its repetition.
    pub(crate) fn dialog_of(&mut self, sent: &Sent) -> Option<&mut Dialog> {
        let dialogs = [self.dialog.as_mut(), self.subscription.dialog.as_mut(), self.chat.dialog_mut()];
        dialogs.into_iter().flatten().find(|dialog| is_from(dialog, &sent.request))
    }

    /// A challenged INVITE was repeated and has another key.
    pub(crate) fn repeated(&mut self, old: &ClientKey, new: &ClientKey) {
        if self.joining.as_ref() == Some(old) {
            self.joining = Some(new.clone());
        }
        self.chat.repeated(old, new);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        [self.subscription.refresh_at, self.commands.deadline(), self.chat.deadline(), self.timer.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn timeout(&mut self, cx: &mut Context<'_>) {
        self.commands.timeout(cx);
        self.chat.timeout(cx, self.roster.mcu(McuType::Chat));
        if self.subscription.refresh_at.is_some_and(|at| at <= cx.now) {
            self.resubscribe(cx);
        }
        if self.timer.deadline().is_some_and(|at| at <= cx.now) {
            self.refresh(cx);
        }
    }
}

/// The role that a 2xx to the INVITE grants.
fn granted(response: &Response) -> Result<Role, Refusal> {
    let document = cccp::Response::parse(&response.body)
        .map_err(|_| Refusal::local(502, "The answer of the Focus could not be understood."))?;
    if document.code != Code::Success {
        return Err(Refusal::from_c3p(response.status, &document));
    }
    let body = document.results.into_iter().next().map(|result| result.body);
    Ok(match body {
        Some(ResultBody::AddUser { user, .. }) if user.roles.contains(&Role::Presenter) => Role::Presenter,
        _ => Role::Attendee,
    })
}

/// The other side of a dialog may have moved. Where to, if that is unreadable, stays as it was.
fn move_target(dialog: Option<&mut Dialog>, response: &Response) {
    let _unreadable = dialog.map(|dialog| dialog.refresh(response));
}

/// Whether a BYE says that somebody removed us.
// Deviation: 403 in a Reason header (RFC 3326) or 3014 in ms-diagnostics is read as an ejection.
fn is_ejection(bye: &Request) -> bool {
    let cause = bye.headers.all("Reason").any(|reason| reason.replace(' ', "").contains("cause=403"));
    cause || Diagnostics::of(&bye.headers).number == Some(3014)
}

/// Whether a request of ours was sent in this dialog.
fn is_from(dialog: &Dialog, request: &Request) -> bool {
    let has_tag = request.headers.to().is_ok_and(|to| to.tag().is_some());
    has_tag && request.headers.get("Call-ID").is_some_and(|call_id| *call_id == dialog.id().call_id)
}
