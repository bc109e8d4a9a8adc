//! Step 8: messages and typing notices from one participant to all others, and the report of
//! delivery to the author (MS-CONFIM §2.2.2, c3p §10).

use std::{collections::BTreeMap, ops::Range};

use confab_machine::{FlowNote, Time};
use confab_schema::{
    imdn::{Imdn, Recipient},
    uri::UserUri,
};
use confab_sip::{Method, Request, Response, ServerKey};

use super::{
    ANSWER_LIMIT, Messages, Sending,
    content::{self, ACCEPT_TYPES, Accepts, Content, Message, Sent, Unusable},
};
use crate::{
    Action,
    conference::{Farewell, Leg, LegId, Medium, Pending, Room, Session, Timer},
    trace::PARTICIPANT,
};

/// When an author may try again whose message found too many others under way, in seconds.
const RETRY_AFTER: &str = "5";

/// What a leg is told that no longer answers.
const SILENT: Farewell = Farewell::failed("You were disconnected because your client did not answer.");

/// What becomes of one message.
#[derive(Debug)]
pub(super) struct Report {
    author: LegId,
    author_user: UserUri,
    /// The numbers of the requests that carry it.
    requests: Range<u64>,
    awaiting: usize,
    /// A person is reached when one of his legs is.
    outcomes: BTreeMap<UserUri, Outcome>,
    until: Time,
}

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Reached,
    Failed { status: u16, diagnostics: Option<String> },
}

impl Report {
    fn note(&mut self, user: &UserUri, status: u16, diagnostics: Option<String>) {
        // Deviation: the report names people, not endpoints, and not the author's own other devices.
        if *user == self.author_user {
            return;
        }
        if (200..300).contains(&status) {
            self.outcomes.insert(user.clone(), Outcome::Reached);
        } else if self.outcomes.get(user) != Some(&Outcome::Reached) {
            self.outcomes.insert(user.clone(), Outcome::Failed { status, diagnostics });
        }
    }
}

impl Room<Messages> {
    pub(super) fn message(
        &mut self,
        now: Time,
        key: ServerKey,
        author: LegId,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        match content::read_message(request, self.limits.message_bytes) {
            Ok(Sent::Message(message)) => self.relay(now, key, author, request, &message, out),
            Ok(Sent::Typing(notice)) => {
                out.push(Action::Respond { key, response: Response::to(request, 200) });
                self.relay_typing(author, &Method::Message, &notice, out);
            }
            Err(unusable) => out.push(Action::Respond { key, response: refusal(request, unusable) }),
        }
    }

    pub(super) fn info(&mut self, key: ServerKey, author: LegId, request: &Request, out: &mut Vec<Action>) {
        match content::read_info(request) {
            Ok(notice) => {
                out.push(Action::Respond { key, response: Response::to(request, 200) });
                self.relay_typing(author, &Method::Info, &notice, out);
            }
            Err(unusable) => out.push(Action::Respond { key, response: refusal(request, unusable) }),
        }
    }

    /// Answers the author at once, then sends the message to everybody else.
    fn relay(
        &mut self,
        now: Time,
        key: ServerKey,
        author: LegId,
        request: &Request,
        message: &Message,
        out: &mut Vec<Action>,
    ) {
        let Some(author_user) = self.roster.leg(author).map(|leg| leg.user.clone()) else { return };
        let receivers = self.others(author);
        if self.requests.len() + receivers.len() > self.limits.pending {
            let response = Response::to(request, 500).with_header("Retry-After", RETRY_AFTER);
            return out.push(Action::Respond { key, response });
        }
        self.medium.last_message += 1;
        let message_id = self.medium.last_message;
        let accepted = Response::to(request, 202).with_header("Message-Id", message_id.to_string());
        out.push(Action::Respond { key, response: accepted });

        let mut report = Report {
            author,
            author_user,
            requests: self.last_request + 1..self.last_request + 1,
            awaiting: 0,
            outcomes: BTreeMap::new(),
            until: now + ANSWER_LIMIT,
        };
        let sender = format!("<{}>", report.author_user);
        let mut note =
            Some(fan_out_note(&format!("MESSAGE {message_id}"), &report.author_user, receivers.len()));
        for leg in receivers {
            let Some((user, session)) = self.roster.leg_mut(leg).and_then(user_and_session) else { continue };
            let Some(form) = message.form_for(&session.own) else {
                report.note(&user, 415, None);
                continue;
            };
            let mut copy = session.dialog.request(Method::Message);
            copy.headers.push("Ms-Sender", sender.as_str());
            copy.headers.push("Message-Id", message_id.to_string());
            copy.set_body(&form.content_type, form.body.clone());
            let flow = session.flow;
            let id = self.send(flow, copy, note.take(), out);
            self.requests.insert(id, Pending::Own(Sending::Message { leg, user, message_id }));
            report.awaiting += 1;
        }
        report.requests.end = self.last_request + 1;
        if report.awaiting == 0 {
            self.report(message_id, &report, out);
        } else {
            self.wake(report.until, message_id);
            self.medium.reports.insert(message_id, report);
        }
    }

    /// Tells everybody else that somebody is typing. Nobody is told whether it arrived, and when
    /// too much is under way it is left out.
    fn relay_typing(&mut self, author: LegId, method: &Method, notice: &Content, out: &mut Vec<Action>) {
        let receivers = self.others(author);
        let Some(user) = self.roster.leg(author).map(|leg| leg.user.clone()) else { return };
        if self.requests.len() + receivers.len() > self.limits.pending {
            return;
        }
        let sender = format!("<{user}>");
        let mut note = Some(fan_out_note(&format!("{method} typing"), &user, receivers.len()));
        for leg in receivers {
            let Some((_, session)) = self.roster.leg_mut(leg).and_then(user_and_session) else { continue };
            if *method == Method::Message && !session.own.takes(notice) {
                continue;
            }
            let mut copy = session.dialog.request(method.clone());
            copy.headers.push("Ms-Sender", sender.as_str());
            copy.set_body(&notice.content_type, notice.body.clone());
            let flow = session.flow;
            let id = self.send(flow, copy, note.take(), out);
            self.requests.insert(id, Pending::Own(Sending::Typing { leg }));
        }
    }

    fn others(&self, author: LegId) -> Vec<LegId> {
        self.roster.in_session().filter(|leg| *leg != author).collect()
    }

    /// A message or typing notice was answered finally; 408 = not at all.
    pub(super) fn answered(
        &mut self,
        now: Time,
        sending: Sending,
        status: u16,
        diagnostics: Option<String>,
        out: &mut Vec<Action>,
    ) {
        match sending {
            Sending::Message { leg, user, message_id } => {
                match status {
                    408 => self.remove_leg(now, leg, Some(SILENT), out),
                    481 => self.remove_leg(now, leg, None, out),
                    _ => {}
                }
                self.delivered(message_id, &user, status, diagnostics, out);
            }
            // Some clients do not answer typing notices; that alone does not make them dead.
            Sending::Typing { leg } if status == 481 => self.remove_leg(now, leg, None, out),
            Sending::Typing { .. } => {}
        }
    }

    fn delivered(
        &mut self,
        message_id: u32,
        user: &UserUri,
        status: u16,
        diagnostics: Option<String>,
        out: &mut Vec<Action>,
    ) {
        let Some(report) = self.medium.reports.get_mut(&message_id) else { return };
        report.note(user, status, diagnostics);
        report.awaiting -= 1;
        if report.awaiting == 0
            && let Some(report) = self.medium.reports.remove(&message_id)
        {
            self.timers.remove(&(report.until, Timer::Own(message_id)));
            self.report(message_id, &report, out);
        }
    }

    /// Whoever has not answered by now counts as not reached.
    pub(super) fn report_timeout(&mut self, now: Time, message_id: u32, out: &mut Vec<Action>) {
        let Some(requests) = self.medium.reports.get(&message_id).map(|report| report.requests.clone())
        else {
            return;
        };
        let unanswered: Vec<u64> = self.requests.range(requests).map(|(id, _)| *id).collect();
        for id in unanswered {
            if let Some(Pending::Own(sending)) = self.requests.remove(&id) {
                self.answered(now, sending, 408, None, out);
            }
        }
    }

    /// Tells the author, if he is still there, whom his message did not reach.
    fn report(&mut self, message_id: u32, report: &Report, out: &mut Vec<Action>) {
        let failed = report.outcomes.iter().filter_map(|(user, outcome)| match outcome {
            Outcome::Reached => None,
            Outcome::Failed { status, diagnostics } => Some(Recipient {
                uri: user.to_string(),
                status: Some(*status),
                entries: diagnostics
                    .iter()
                    .map(|value| ("ms-diagnostics".to_owned(), value.clone()))
                    .collect(),
            }),
        });
        let document = Imdn { message_id, recipients: failed.collect() };
        let Some((user, session)) = self.roster.leg_mut(report.author).and_then(user_and_session) else {
            return;
        };
        let mut request = session.dialog.request(Method::Benotify);
        request.set_body(confab_schema::imdn::CONTENT_TYPE, document.to_bytes());
        let flow = session.flow;
        let failures = document.recipients.len();
        let summary = format!("BENOTIFY imdn {message_id} to {}, {failures} not reached", user.traced());
        self.send(flow, request, Some(FlowNote::new(8, Messages::COMPONENT, PARTICIPANT, summary)), out);
    }
}

fn user_and_session(leg: &mut Leg<Accepts>) -> Option<(UserUri, &mut Session<Accepts>)> {
    let user = leg.user.clone();
    leg.session_mut().map(|session| (user, session))
}

fn fan_out_note(what: &str, author: &UserUri, receivers: usize) -> FlowNote {
    FlowNote::new(
        8,
        Messages::COMPONENT,
        PARTICIPANT,
        format!("{what} of {} to {receivers} others", author.traced()),
    )
}

fn refusal(request: &Request, unusable: Unusable) -> Response {
    let response = Response::to(request, unusable.status());
    match unusable {
        Unusable::WrongType if request.method == Method::Info => {
            response.with_header("Accept", "application/xml")
        }
        Unusable::WrongType => response.with_header("Accept", ACCEPT_TYPES.join(", ")),
        Unusable::Encoded => response.with_header("Accept-Encoding", "identity"),
        Unusable::TooLarge | Unusable::Malformed => response,
    }
}
