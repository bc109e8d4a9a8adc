//! A conferencing client as one pure machine: the other end of the eight steps.
//!
//! It signs on, has conferences scheduled, joins one, talks and leads. A person's program (or a
//! robot, a virtual participant of the simulation, a browser's session) drives it with
//! [`Command`]s, hears [`Observation`]s, and carries its messages.
//!
//! | step | what happens | file |
//! |---|---|---|
//! | 1, 2 | SERVICE to the Focus Factory; the address of the conference | `scheduling.rs` |
//! | 3, 4 | INVITE and SUBSCRIBE to the Focus; let in, or not | `focus.rs`, `focus/subscription.rs` |
//! | 5, 6 | happen between the servers | |
//! | 7 | commands of leaders; the roster as the Focus tells it | `focus/command.rs`, `roster.rs` |
//! | 8 | messages with the IM conferencing server | `chat.rs` |
//!
//! Before and beside: `discovery.rs` (where the server is), `registration.rs` (signing on),
//! `invitation.rs` (asking people in). `user_agent.rs` is what all of them send through.
//!
//! Deliberately absent: one-to-one calls and messages, presence, contacts; and every other medium
//! than chat, until its MCU exists.

mod chat;
mod credentials;
pub mod discovery;
mod focus;
mod invitation;
mod refusal;
mod registration;
mod roster;
mod scheduling;
mod trace;
mod user_agent;
mod vocabulary;

use confab_machine::{Entropy, Machine, Time};
use confab_schema::uri::ConferenceUri;
use confab_sip::{ClientKey, Flow, Method, Request, Response, ServerKey, TransactionOutput};

pub use refusal::Refusal;
pub use roster::{Leg, MAX_ENDPOINTS, MAX_PARTICIPANTS, Participant, Roster, RosterChange};
pub use vocabulary::{
    Action, ClientConfig, Command, ConferenceChange, ConferenceSummary, Ending, Event, InvitationAnswer,
    NewConference, Observation, Outcome, Secret, SignOff, TextFormat, Undertaking,
};

use focus::Session;
use invitation::Invitations;
use registration::Registration;
use user_agent::{Answer, Context, Incoming, Purpose, Sent, UserAgent};

/// A conferencing client: one person's program, one connection, one conference at a time.
#[derive(Debug)]
pub struct Client {
    agent: UserAgent,
    registration: Registration,
    session: Option<Session>,
    sessions: u64,
    invitations: Invitations,
}

impl Client {
    /// A client that is not connected.
    pub fn new(config: ClientConfig, entropy: Entropy) -> Client {
        Client {
            agent: UserAgent::new(config, entropy),
            registration: Registration::default(),
            session: None,
            sessions: 0,
            invitations: Invitations::default(),
        }
    }

    /// The conference we are in or on our way into.
    pub fn conference(&self) -> Option<&ConferenceUri> {
        self.session.as_ref().map(Session::conference)
    }

    /// Who is in it, as far as we have been told.
    pub fn roster(&self) -> Option<&Roster> {
        self.session.as_ref().map(Session::roster)
    }

    fn command(&mut self, now: Time, command: Command, out: &mut Vec<Action>) {
        let cx = &mut Context { now, agent: &mut self.agent, out };
        match command {
            Command::Register => self.registration.register(cx),
            Command::Unregister => self.registration.unregister(cx),
            Command::GetCapabilities
            | Command::Create(_)
            | Command::GetConference { .. }
            | Command::ListConferences
            | Command::ModifyConference { .. }
            | Command::DeleteConference { .. } => scheduling::send(cx, command),
            Command::AnswerInvitation { id, accept } => self.invitations.answer(cx, id, accept),
            Command::Join { conference } if self.session.is_none() => {
                self.sessions += 1;
                self.session = Some(Session::join(cx, self.sessions, conference));
            }
            Command::Join { .. } => {
                let refusal = Refusal::local(400, "Leave the conference you are in before you join another.");
                cx.observe(Observation::Refused { what: Undertaking::Join, refusal });
            }
            Command::Invite { user } => match &self.session {
                Some(session) if session.is_joined() => {
                    let subject = session.roster().subject();
                    self.invitations.invite(cx, user, session.conference(), subject);
                }
                _ => {
                    let refusal =
                        Refusal::local(400, "Join a conference before you invite somebody into it.");
                    let answer = InvitationAnswer::Failed(refusal);
                    cx.observe(Observation::InvitationAnswered { user, answer });
                }
            },
            command => match &mut self.session {
                Some(session) => session.command(cx, command),
                None => outside(cx, command),
            },
        }
    }

    /// Works off what the transactions brought, until there is no more.
    fn settle(&mut self, now: Time, out: &mut Vec<Action>) {
        while let Some(incoming) = self.agent.next() {
            match incoming {
                Incoming::Unsent(sent) => {
                    let refusal = Refusal::local(503, "There is no connection to the server.");
                    self.answered(now, None, sent, Err(refusal), out);
                }
                Incoming::Transactions(output) => self.transaction_output(now, output, out),
            }
            self.drop_ended_session(now, out);
        }
        self.drop_ended_session(now, out);
    }

    fn drop_ended_session(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.session.as_ref().is_some_and(Session::is_over) {
            self.session = None;
            self.invitations.abandon(&mut Context { now, agent: &mut self.agent, out });
        }
    }

    fn transaction_output(&mut self, now: Time, output: TransactionOutput, out: &mut Vec<Action>) {
        match output {
            TransactionOutput::Request { key, request, .. } => self.request(now, key, request, out),
            TransactionOutput::Cancelled { key } => {
                self.invitations.cancelled(&mut Context { now, agent: &mut self.agent, out }, &key);
            }
            TransactionOutput::Response { key, response } => self.response(now, key, response, out),
            TransactionOutput::StrayResponse { response, .. } => {
                Context { now, agent: &mut self.agent, out }.accepted_again(&response);
            }
            TransactionOutput::Failed { key, reason } => {
                if let Some(sent) = self.agent.answered(&key) {
                    self.answered(now, Some(key), sent, Err(user_agent::unanswered(&reason)), out);
                }
            }
            // That our answer was heard, or never will be, changes nothing here.
            TransactionOutput::Ack { .. } | TransactionOutput::ServerFailed { .. } => {}
            TransactionOutput::Transmit { flow, message } => out.push(Action::Transmit { flow, message }),
        }
    }

    fn response(&mut self, now: Time, key: ClientKey, response: Response, out: &mut Vec<Action>) {
        if response.status < 200 {
            return;
        }
        let mut cx = Context { now, agent: &mut self.agent, out };
        let Some(sent) = cx.agent.answered(&key) else {
            return cx.accepted_again(&response);
        };
        let given_up = matches!(sent.purpose, Purpose::Register) && !self.registration.is_wanted();
        if !given_up && cx.can_answer(&sent, &response) {
            let number = match sent.purpose {
                Purpose::Register | Purpose::Unregister => self.registration.next_number(),
                _ => match self.session.as_mut().and_then(|session| session.dialog_of(&sent)) {
                    Some(dialog) => user_agent::number(&dialog.request(sent.request.method.clone())),
                    None => user_agent::number(&sent.request) + 1,
                },
            };
            let again = cx.send_again(sent, number);
            return self.repeated(&key, again.as_ref());
        }
        let answer =
            if response.status < 300 { Ok(response) } else { Err(Refusal::from_response(&response)) };
        self.answered(now, Some(key), sent, answer, out);
    }

    /// A challenged request was sent again.
    fn repeated(&mut self, old: &ClientKey, new: Option<&ClientKey>) {
        let Some(new) = new else { return };
        self.invitations.repeated(old, new);
        if let Some(session) = &mut self.session {
            session.repeated(old, new);
        }
    }

    /// A request of ours has its final answer.
    fn answered(
        &mut self,
        now: Time,
        key: Option<ClientKey>,
        sent: Sent,
        answer: Answer,
        out: &mut Vec<Action>,
    ) {
        let cx = &mut Context { now, agent: &mut self.agent, out };
        match sent.purpose {
            Purpose::Register => self.registration.registered(cx, answer),
            Purpose::Unregister => self.registration.unregistered(cx),
            Purpose::Schedule(command) => scheduling::answered(cx, command, answer),
            Purpose::Invitation => {
                if let Some(key) = key {
                    self.invitations.answered(cx, &key, &sent.request, answer);
                }
            }
            Purpose::Session(number, errand) => {
                match self.session.as_mut().filter(|session| session.number() == number) {
                    Some(session) => session.answered(cx, errand, &sent.request, answer),
                    None => {
                        if let (Method::Invite, Ok(response)) = (&sent.request.method, answer) {
                            cx.decline_late(&sent.request, &response);
                        }
                    }
                }
            }
            Purpose::Farewell => {}
        }
    }

    /// A request came in: within one of our dialogs, or from somebody new.
    fn request(&mut self, now: Time, key: ServerKey, request: Request, out: &mut Vec<Action>) {
        let cx = &mut Context { now, agent: &mut self.agent, out };
        let in_session = self.session.as_mut().is_some_and(|session| session.request(cx, &key, &request));
        if in_session || self.invitations.request(cx, &key, &request) {
            return;
        }
        let is_new = request.headers.to().is_ok_and(|to| to.tag().is_none());
        match request.method {
            Method::Options => cx.describe(&key, &request),
            Method::Invite if is_new => self.invitations.invited(cx, key, request),
            Method::Notify | Method::Benotify if is_about_registration(&request) => {
                self.registration.notified(cx, &key, &request);
            }
            Method::Bye if cx.agent.was_left(&request) => cx.answer(&key, &request, 200),
            Method::Invite
            | Method::Bye
            | Method::Info
            | Method::Message
            | Method::Notify
            | Method::Benotify
            | Method::Update => cx.answer(&key, &request, 481),
            Method::Subscribe => cx.answer(&key, &request, 489),
            _ => cx.refuse_method(&key, &request),
        }
    }

    fn flow_closed(&mut self, now: Time, flow: Flow, out: &mut Vec<Action>) {
        let was_ours = self.agent.flow == Some(flow);
        let mut cx = Context { now, agent: &mut self.agent, out };
        cx.flow_closed(flow);
        if was_ours {
            if let Some(session) = &mut self.session {
                session.flow_closed(&mut cx);
            }
            self.invitations.flow_closed(&mut cx);
            self.registration.flow_closed(&mut cx);
        }
    }
}

impl Machine for Client {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Connected { flow } => self.agent.connected(now, flow),
            Event::Received { flow, message } => {
                Context { now, agent: &mut self.agent, out }.receive(flow, message);
            }
            Event::FlowClosed { flow } => self.flow_closed(now, flow, out),
            Event::Command(command) => self.command(now, command, out),
        }
        self.settle(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        let session = self.session.as_ref().and_then(Session::deadline);
        [self.agent.deadline(), self.registration.deadline(), self.invitations.deadline(), session]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        let mut cx = Context { now, agent: &mut self.agent, out };
        cx.timeout();
        self.registration.timeout(&mut cx);
        self.invitations.timeout(&mut cx);
        if let Some(session) = &mut self.session {
            session.timeout(&mut cx);
        }
        self.settle(now, out);
    }
}

/// A command that needs a conference, without one.
fn outside(cx: &mut Context<'_>, command: Command) {
    let refusal = Refusal::local(400, "Join a conference first.");
    match command {
        Command::Typing { .. } | Command::Leave => {}
        Command::Say { .. } => cx.observe(Observation::Refused { what: Undertaking::Say, refusal }),
        command => cx.observe(Observation::CommandDone { command, outcome: Outcome::Refused(refusal) }),
    }
}

fn is_about_registration(request: &Request) -> bool {
    request
        .headers
        .get("Event")
        .is_some_and(|event| event.to_ascii_lowercase().starts_with("registration-notify"))
}
