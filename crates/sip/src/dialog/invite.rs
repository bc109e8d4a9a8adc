//! The answering end of an INVITE dialog: what a Focus and a conferencing server keep of each
//! participant (RFC 3261 §13.3, §14.2, §15; session timers of RFC 4028).

use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::{
    Dialog,
    session_timer::{SessionDue, SessionTimer},
};
use crate::{Method, Request, Response, Text};

/// What may be sent to us within the dialog.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, INFO, UPDATE, REFER, OPTIONS";

/// One participant's session with us, from INVITE to BYE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteUsage {
    dialog: Dialog,
    /// Our Contact, `isfocus` and all.
    contact: Text,
    phase: Phase,
    timer: Option<SessionTimer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    AwaitingAnswer,
    AwaitingAck,
    Confirmed,
    Ended,
}

/// What a session timer wants sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Upkeep {
    /// An UPDATE that keeps the session alive. Tell its 2xx to [`InviteUsage::refreshed`].
    Refresh(Request),
    /// The BYE of a session that nobody kept alive. It is over.
    Expired(Request),
}

impl InviteUsage {
    /// The session that `request` asks for. `contact` is what our answers have as Contact, in brackets.
    ///
    /// # Errors
    /// The refusal to send: 400 for what cannot be read, 422 for too short a session interval.
    pub fn from_request(request: &Request, local_tag: &str, contact: Text) -> Result<InviteUsage, Response> {
        let dialog =
            Dialog::from_invite(request, local_tag).map_err(|fault| Response::to(request, fault.status()))?;
        if let Some(refusal) = SessionTimer::refusal(request) {
            return Err(refusal);
        }
        Ok(InviteUsage { dialog, contact, phase: Phase::AwaitingAnswer, timer: None })
    }

    /// The dialog.
    pub fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// A response to `request` that belongs to the dialog: with our tag and, unless it is a
    /// refusal, our Contact (RFC 3261 §12.1.1).
    pub fn response(&self, request: &Request, status: u16) -> Response {
        let mut response = Response::to(request, status);
        response.set_to_tag(&self.dialog.id().local_tag);
        if status < 300 {
            response.headers.push("Contact", self.contact.clone());
        }
        SessionTimer::explain(&mut response);
        response
    }

    /// The 200 to the INVITE that began the session, or to an INVITE or UPDATE within it that
    /// [`InviteUsage::receive`] took. It agrees on a session timer if the client can do that; a
    /// body is the caller's to add.
    pub fn accept_response(&mut self, now: Time, request: &Request) -> Response {
        if self.phase == Phase::AwaitingAnswer {
            self.phase = Phase::AwaitingAck;
        }
        let mut response = self.response(request, 200).with_header("Allow", ALLOW);
        self.timer = SessionTimer::answer(now, request, &mut response);
        response
    }

    /// The ACK of the 200 came. Only from here on may a BYE of ours be sent (RFC 3261 §15).
    pub fn acknowledged(&mut self) {
        if self.phase == Phase::AwaitingAck {
            self.phase = Phase::Confirmed;
        }
    }

    /// Whether the ACK has come and no BYE yet.
    pub fn is_confirmed(&self) -> bool {
        self.phase == Phase::Confirmed
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// A request came within the dialog; a BYE ends the session. Answer it with
    /// [`InviteUsage::accept_response`] if it is an INVITE or UPDATE, else with
    /// [`InviteUsage::response`].
    ///
    /// # Errors
    /// The status to refuse it with: 481 after the end, 500 when its number goes back, 422 for too
    /// short a session interval, 400 when it cannot be read.
    pub fn receive(&mut self, request: &Request) -> Result<(), u16> {
        if self.phase == Phase::Ended {
            return Err(481);
        }
        self.dialog.accept(request)?;
        match request.method {
            Method::Bye => self.phase = Phase::Ended,
            Method::Invite | Method::Update if SessionTimer::refusal(request).is_some() => return Err(422),
            _ => {}
        }
        Ok(())
    }

    /// A request of ours within the dialog, with our Contact.
    pub fn request(&mut self, method: Method) -> Request {
        let has_contact = !matches!(method, Method::Bye);
        let mut request = self.dialog.request(method);
        if has_contact {
            request.headers.push("Contact", self.contact.clone());
        }
        request
    }

    /// The BYE that ends the session.
    pub fn bye(&mut self) -> Request {
        self.phase = Phase::Ended;
        self.request(Method::Bye)
    }

    /// Our UPDATE was answered by 2xx: the session lives on.
    pub fn refreshed(&mut self, now: Time) {
        if let Some(timer) = &mut self.timer {
            timer.refreshed(now);
        }
    }

    /// When [`InviteUsage::upkeep`] has something to say, if nothing happens first.
    pub fn deadline(&self) -> Option<Time> {
        self.timer.filter(|_| self.phase != Phase::Ended).map(|timer| timer.deadline())
    }

    /// The deadline has come.
    pub fn upkeep(&mut self, now: Time) -> Option<Upkeep> {
        if self.deadline().is_none_or(|at| at > now) {
            return None;
        }
        let timer = self.timer.as_mut()?;
        match timer.due(now)? {
            SessionDue::Expire => Some(Upkeep::Expired(self.bye())),
            SessionDue::Refresh => {
                let timer = *timer;
                let mut update = self.request(Method::Update);
                timer.write(&mut update);
                Some(Upkeep::Refresh(update))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dialog::samples::request;

    const START: Time = Time::from_unix_secs(1_000);

    fn contact() -> Text {
        Text::fixed("<sip:bob@example.test;gruu;opaque=app:conf:focus:id:ABCD>;isfocus")
    }

    fn usage(lines: &str) -> (InviteUsage, Response) {
        let invite = request("INVITE", 1, "", lines);
        let mut usage = InviteUsage::from_request(&invite, "far", contact()).unwrap();
        let response = usage.accept_response(START, &invite);
        (usage, response)
    }

    fn after(seconds: u64) -> Time {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn from_invite_to_bye() {
        let (mut usage, response) = usage("Supported: ms-sender\r\n");
        assert_eq!(response.headers.to().unwrap().tag(), Some("far"));
        assert_eq!(response.headers.get("Contact").unwrap(), &contact());
        assert_eq!((response.headers.get("Session-Expires"), usage.deadline()), (None, None));
        assert!(!usage.is_confirmed());
        usage.acknowledged();
        assert!(usage.is_confirmed());
        let info = request("INFO", 2, ";tag=far", "");
        assert_eq!(usage.receive(&info), Ok(()));
        assert!(usage.response(&info, 202).headers.get("Contact").is_some());
        assert!(usage.response(&info, 403).headers.get("Contact").is_none());
        assert_eq!(usage.receive(&request("INFO", 1, ";tag=far", "")), Err(500));
        assert!(usage.request(Method::Info).headers.get("Contact").is_some());
        assert_eq!(usage.receive(&request("BYE", 3, ";tag=far", "")), Ok(()));
        assert!(usage.is_ended());
        assert_eq!(usage.receive(&request("INFO", 4, ";tag=far", "")), Err(481));
    }

    #[test]
    fn session_timers_are_agreed_on() {
        fn check(lines: &str, expect: Option<&str>) {
            let (_, response) = usage(lines);
            assert_eq!(
                response.headers.get("Session-Expires").map(|value| value.as_str()),
                expect,
                "{lines}"
            );
            let theirs = expect.is_some_and(|value| value.ends_with("uac"));
            assert_eq!(response.headers.has_token("Require", "timer"), theirs);
        }
        check("", None);
        check("Supported: timer\r\n", Some("1800;refresher=uac"));
        check("Supported: timer\r\nSession-Expires: 600\r\n", Some("600;refresher=uac"));
        check("k: timer\r\nx: 600;refresher=uas\r\n", Some("600;refresher=uas"));
        check("Session-Expires: 600\r\n", Some("600;refresher=uas"));
        check("Supported: timer\r\nSession-Expires: 7200\r\n", Some("1800;refresher=uac"));
        check("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n", Some("3600;refresher=uac"));
    }

    #[test]
    fn too_short_an_interval_is_refused() {
        let invite = request("INVITE", 1, "", "Supported: timer\r\nSession-Expires: 60\r\n");
        let refusal = InviteUsage::from_request(&invite, "far", contact()).unwrap_err();
        assert_eq!((refusal.status, refusal.headers.get("Min-SE").unwrap().as_str()), (422, "90"));
        let (mut usage, _) = usage("");
        let update = request("UPDATE", 2, ";tag=far", "Session-Expires: 60\r\n");
        assert_eq!(usage.receive(&update), Err(422));
        assert_eq!(usage.response(&update, 422).headers.get("Min-SE").unwrap(), &"90");
    }

    #[test]
    fn a_client_that_does_not_refresh_is_dropped() {
        let (mut usage, _) = usage("Supported: timer\r\nSession-Expires: 600\r\n");
        assert_eq!(usage.deadline(), Some(after(568)));
        let update = request("UPDATE", 2, ";tag=far", "Supported: timer\r\nSession-Expires: 600\r\n");
        assert_eq!(usage.receive(&update), Ok(()));
        usage.accept_response(after(300), &update);
        assert_eq!(usage.deadline(), Some(after(868)));
        assert_eq!(usage.upkeep(after(867)), None);
        let Some(Upkeep::Expired(bye)) = usage.upkeep(after(868)) else { panic!("it was not dropped") };
        assert_eq!((bye.method, usage.deadline()), (Method::Bye, None));
    }

    #[test]
    fn we_refresh_when_asked_to() {
        let (mut usage, _) = usage("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n");
        let Some(Upkeep::Refresh(update)) = usage.upkeep(after(300)) else { panic!("no refresh") };
        assert_eq!(update.headers.get("Session-Expires").unwrap(), &"600;refresher=uac");
        assert_eq!(usage.deadline(), Some(after(568)));
        usage.refreshed(after(301));
        assert_eq!(usage.deadline(), Some(after(601)));
        usage.upkeep(after(601));
        assert!(matches!(usage.upkeep(after(869)), Some(Upkeep::Expired(_))));
        assert!(usage.is_ended());
    }
}
