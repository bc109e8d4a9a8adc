//! REFER to the conference (RFC 3515, RFC 4579 §5.5, §5.10): who speaks no C3P brings people in or takes
//! them out, and hears what became of it by NOTIFY, unless he does not want to (RFC 4488).

use confab_conference::{
    focus::{self, CommandId, JoinId, Referral},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::{
    cccp::{self, Code},
    uri::{OpaqueTarget, UserUri},
};
use confab_sip::{Dialog, DialogId, Flow, Method, Request, Response, Scheme, ServerKey, sipfrag};
use serde::{Deserialize, Serialize};

use super::{Action, FocusHost, Sender, Sent};
use crate::refusal;

/// REFERs of one conference, and of one person in it, that are not done yet.
const LIMIT: usize = 1000;
const LIMIT_PER_PERSON: usize = 10;
/// How long a subscription to the outcome may last, in seconds: longer than any call rings.
const EXPIRES_S: u32 = 300;
/// The body of its notifications (RFC 3420).
const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// A REFER that is not done yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Referred {
    user: UserUri,
    flow: Flow,
    /// The REFER, until it is answered.
    asking: Option<(ServerKey, Box<Request>)>,
    way: Way,
    /// A NOTIFY is under way. There is never more than one.
    unanswered: bool,
    /// The outcome, which waits for that.
    outcome: Option<u16>,
}

/// How whoever sent a REFER hears of its outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "most REFERs begin a dialog")]
enum Way {
    /// Not at all.
    None,
    /// In the dialog that the REFER began.
    Own(Dialog),
    /// In his dialog with the Focus; the REFER's number tells one such subscription from another.
    Within(JoinId, u32),
}

/// Whom a REFER is about, and what is to be done; or the refusal: a status and a sentence.
fn read(request: &Request) -> Result<(UserUri, Referral), (u16, &'static str)> {
    let unreadable = (400, "The REFER must say in one Refer-To whom it is about.");
    let addresses = request.headers.addresses("Refer-To").map_err(|_| unreadable)?;
    let [address] = addresses.as_slice() else { return Err(unreadable) };
    let mut uri = address.uri.clone();
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return Err((416, "Only people with a SIP address can be brought in or taken out."));
    }
    if uri.headers.is_some() {
        return Err((
            403,
            "The Refer-To has headers, such as Replaces, that a conference cannot put into its call.",
        ));
    }
    let nobody = (403, "The Refer-To names no person but a conference or one of its servers.");
    let text = uri.to_string();
    if !matches!(OpaqueTarget::parse(&text), OpaqueTarget::User(_) | OpaqueTarget::Other) {
        return Err(nobody);
    }
    let target = UserUri::parse(&text).map_err(|_| nobody)?;
    let wanted = match uri.param("method").map(str::to_ascii_uppercase).as_deref() {
        None | Some("INVITE") => {
            uri.params.remove("method");
            Referral::Call { uri: uri.to_string() }
        }
        Some("BYE") => Referral::Remove,
        Some(_) => return Err((403, "A conference sends only INVITE and BYE for a REFER.")),
    };
    Ok((target, wanted))
}

/// Whether whoever sent a REFER wants to hear nothing more of it (RFC 4488).
fn is_silent(request: &Request) -> bool {
    request.headers.get("Refer-Sub").is_some_and(|value| value.trim().eq_ignore_ascii_case("false"))
}

/// What the last notification says.
// Deviation: a call that came to nothing is 480 whatever the callee answered; MCUs do not tell.
fn outcome(response: &cccp::Response) -> u16 {
    match response.failure_reason() {
        _ if response.code == Code::Success => 200,
        Some("userDoesntExist") => 404,
        _ => 480,
    }
}

impl FocusHost {
    pub(super) fn refer(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        sender: Sender,
        request: Request,
        out: &mut Vec<Action>,
    ) {
        let user = sender.user;
        let begun = self.way_back(flow, &request).and_then(|way| {
            let (target, wanted) = read(&request)
                .map_err(|(status, why)| refusal::plain(&request, status, &self.source, why))?;
            let own = self.referrals.values().filter(|referred| referred.user == user).count();
            if self.referrals.len() >= LIMIT || own >= LIMIT_PER_PERSON {
                return Err(self.refusal(&request, Reason::Busy));
            }
            Ok((way, target, wanted))
        });
        match begun {
            Err(response) => out.push(Action::Respond { key, response }),
            Ok((way, target, wanted)) => {
                let command = CommandId(self.next_id());
                let asking = Some((key, Box::new(request)));
                let referred =
                    Referred { user: user.clone(), flow, asking, way, unanswered: false, outcome: None };
                self.referrals.insert(command, referred);
                self.tell(now, focus::Event::Referred { command, user, target, wanted }, out);
            }
        }
    }

    /// How the sender of a REFER can be told of its outcome.
    fn way_back(&mut self, flow: Flow, request: &Request) -> Result<Way, Response> {
        let dialog = DialogId::of_received(request);
        let ours = dialog.as_ref().is_some_and(|dialog| self.join_of.contains_key(dialog));
        if let Some(dialog) = dialog.as_ref().filter(|_| ours) {
            let join = self.in_dialog(flow, dialog, request)?;
            let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
            return Ok(if is_silent(request) { Way::None } else { Way::Within(join, number) });
        }
        if is_silent(request) {
            return Ok(Way::None);
        }
        if dialog.is_some() {
            // Its numbers are the MCU's: nobody else can send a NOTIFY in it.
            // Deviation: a REFER in a session with an MCU must want no notification.
            let why = "Send this REFER outside of the session, or with Refer-Sub: false.";
            return Err(refusal::plain(request, 403, &self.source, why));
        }
        let tag = self.new_tag();
        let dialog = Dialog::from_invite(request, &tag);
        dialog.map(Way::Own).map_err(|fault| Response::to(request, fault.status()))
    }

    /// The REFER is being done: 202, and the first notification.
    pub(super) fn accept_referral(&mut self, command: CommandId, out: &mut Vec<Action>) {
        let Some(referred) = self.referrals.get_mut(&command) else { return };
        let Some((key, request)) = referred.asking.take() else { return };
        let mut response = Response::to(&request, 202).with_header("Contact", self.contact.clone());
        match &referred.way {
            Way::None if is_silent(&request) => response.headers.push("Refer-Sub", "false"),
            Way::Own(dialog) => response.set_to_tag(&dialog.id().local_tag),
            Way::None | Way::Within(..) => {}
        }
        out.push(Action::Respond { key, response });
        self.tell_referrer(command, None, out);
    }

    /// The REFER is not to be done.
    pub(super) fn refuse_referral(&mut self, command: CommandId, reason: Reason, out: &mut Vec<Action>) {
        if let Some(Referred { asking: Some((key, request)), .. }) = self.referrals.remove(&command) {
            let response = self.refusal(&request, reason);
            out.push(Action::Respond { key, response });
        }
    }

    /// The REFER is done, or came to nothing.
    pub(super) fn finish_referral(
        &mut self,
        command: CommandId,
        response: &cccp::Response,
        out: &mut Vec<Action>,
    ) {
        let Some(referred) = self.referrals.get_mut(&command) else { return };
        referred.outcome = Some(outcome(response));
        if !referred.unanswered {
            self.tell_outcome(command, out);
        }
    }

    /// A notification was answered; 408 = not at all.
    pub(super) fn referrer_answered(&mut self, command: CommandId, status: u16, out: &mut Vec<Action>) {
        let Some(referred) = self.referrals.get_mut(&command) else { return };
        referred.unanswered = false;
        if matches!(status, 408 | 481) {
            referred.way = Way::None;
        }
        if referred.outcome.is_some() {
            self.tell_outcome(command, out);
        }
    }

    fn tell_outcome(&mut self, command: CommandId, out: &mut Vec<Action>) {
        let outcome = self.referrals.get(&command).and_then(|referred| referred.outcome);
        self.tell_referrer(command, outcome, out);
        self.referrals.remove(&command);
    }

    /// A notification: the last one if there is an outcome.
    fn tell_referrer(&mut self, command: CommandId, outcome: Option<u16>, out: &mut Vec<Action>) {
        let Some(referred) = self.referrals.get_mut(&command) else { return };
        let flow = referred.flow;
        let (mut request, event) = match &mut referred.way {
            Way::None => return,
            Way::Own(dialog) => {
                let notify = dialog.request(Method::Notify).with_header("Contact", self.contact.clone());
                (notify, "refer".to_owned())
            }
            Way::Within(join, number) => match self.joins.get_mut(join) {
                Some(joined) => (joined.request(Method::Notify), format!("refer;id={number}")),
                None => return,
            },
        };
        referred.unanswered = true;
        let (state, line) = match outcome {
            None => (format!("active;expires={EXPIRES_S}"), sipfrag(100)),
            Some(status) => ("terminated;reason=noresource".to_owned(), sipfrag(status)),
        };
        request = request.with_header("Event", event).with_header("Subscription-State", state);
        request.set_body(SIPFRAG, line);
        self.send(flow, request, Sent::Refer(command), out);
    }

    /// A SUBSCRIBE in the dialog of a REFER: it renews or ends (RFC 3515 §2.4.4). `None` if it is in no
    /// such dialog.
    pub(super) fn resubscribe_to_referral(
        &mut self,
        dialog: &DialogId,
        sender: &Sender,
        request: &Request,
    ) -> Option<Response> {
        let is_it = |referred: &Referred| match &referred.way {
            Way::Own(own) => own.id() == *dialog && referred.user == sender.user,
            Way::None | Way::Within(..) => false,
        };
        let referred = self.referrals.values_mut().find(|referred| is_it(referred))?;
        let Way::Own(own) = &mut referred.way else { return None };
        if let Err(status) = own.accept(request) {
            return Some(Response::to(request, status));
        }
        let expires = request.headers.expires().unwrap_or(EXPIRES_S).min(EXPIRES_S);
        if expires == 0 {
            referred.way = Way::None;
        }
        let response = Response::to(request, 200).with_header("Expires", expires.to_string());
        Some(response.with_header("Contact", self.contact.clone()))
    }
}
