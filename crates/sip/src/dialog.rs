//! Dialogs: what two ends remember of each other from one request to the next (RFC 3261 §12).
//!
//! Step 3: joining opens two of them with the Focus, one by INVITE ([`InviteUsage`]) and one by
//! SUBSCRIBE ([`Subscription`]). All of it is plain data, so that a snapshot of a Focus holds its
//! dialogs.

mod invite;
mod session_timer;
mod subscribe;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use invite::{InviteUsage, Upkeep};
pub use session_timer::{SessionDue, SessionTimer};
pub use subscribe::{Acceptance, EndReason, Subscription};

use crate::{CSeq, Headers, Malformed, Method, NameAddr, Request, Response, Text, Uri};

/// Max-Forwards of what we send.
const MAX_FORWARDS: &str = "70";

/// What tells one dialog from all others, as one end sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DialogId {
    /// The Call-ID of all its requests.
    pub call_id: Text,
    /// Our tag.
    pub local_tag: Text,
    /// The other's tag; empty for a client from before tags.
    pub remote_tag: Text,
}

impl DialogId {
    /// The dialog that a request we received belongs to; `None` if its To has no tag, so that it
    /// belongs to none.
    pub fn of_received(request: &Request) -> Option<DialogId> {
        let local = request.headers.to().ok()?;
        let remote = request.headers.from().ok()?;
        Some(DialogId::new(&request.headers, local.tag()?, remote.tag()))
    }

    /// The dialog that a response to a request of ours belongs to; `None` if its To has no tag.
    pub fn of_answered(response: &Response) -> Option<DialogId> {
        let local = response.headers.from().ok()?;
        let remote = response.headers.to().ok()?;
        Some(DialogId::new(&response.headers, local.tag().unwrap_or_default(), Some(remote.tag()?)))
    }

    fn new(headers: &Headers, local_tag: &str, remote_tag: Option<&str>) -> DialogId {
        DialogId {
            call_id: headers.call_id().map(Text::detached).unwrap_or_default(),
            local_tag: local_tag.into(),
            remote_tag: remote_tag.unwrap_or_default().into(),
        }
    }
}

/// One end of a dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    call_id: Text,
    /// Ours, with our tag.
    local: NameAddr,
    /// The other's as it wrote it: with its tag and, from an OCS client, its epid, which wants to
    /// be in the To of whatever is sent to it.
    remote: NameAddr,
    /// Both as they are printed into every request.
    from: Text,
    to: Text,
    /// The number of the last request we sent.
    local_number: u32,
    /// The number of the last request we received.
    remote_number: Option<u32>,
    /// Where the other end is.
    target: Uri,
    /// The proxies between, the nearest first.
    routes: Vec<NameAddr>,
}

impl Dialog {
    /// The dialog that our answer with `local_tag` to this INVITE or SUBSCRIBE opens.
    ///
    /// # Errors
    /// If From, To, Call-ID, CSeq, Contact or Record-Route cannot be read; answer 400.
    pub fn from_invite(request: &Request, local_tag: &str) -> Result<Dialog, Malformed> {
        let headers = &request.headers;
        Ok(Dialog {
            remote_number: Some(headers.cseq()?.number),
            ..Dialog::between(
                headers,
                &headers.to()?.with_tag(local_tag),
                &headers.from()?,
                target(headers)?,
                routes(headers)?,
            )?
        })
    }

    /// The dialog that this answer to our request opens.
    ///
    /// # Errors
    /// If From, To, Call-ID, CSeq, Contact or Record-Route cannot be read.
    pub fn from_response(request: &Request, response: &Response) -> Result<Dialog, Malformed> {
        let mut routes = routes(&response.headers)?;
        routes.reverse();
        let headers = &request.headers;
        Ok(Dialog {
            local_number: headers.cseq()?.number,
            ..Dialog::between(
                headers,
                &headers.from()?,
                &response.headers.to()?,
                target(&response.headers)?,
                routes,
            )?
        })
    }

    /// A dialog with the Call-ID in these headers, in which nothing was said yet. It outlives the messages that all this
    /// was read from, so it has memory of its own: one piece, for with each request all of it is said.
    fn between(
        headers: &Headers,
        local: &NameAddr,
        remote: &NameAddr,
        target: Uri,
        routes: Vec<NameAddr>,
    ) -> Result<Dialog, Malformed> {
        let (local, remote, target) = (local.to_string(), remote.to_string(), target.to_string());
        let [call_id, from, to, target] = Text::packed([headers.call_id()?, &local, &remote, &target]);
        Ok(Dialog {
            call_id,
            local: NameAddr::parse(&from)?,
            remote: NameAddr::parse(&to)?,
            from,
            to,
            local_number: 0,
            remote_number: None,
            target: Uri::parse(&target)?,
            routes,
        })
    }

    /// What tells it from others.
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.local.tag().unwrap_or_default().into(),
            remote_tag: self.remote.tag().unwrap_or_default().into(),
        }
    }

    /// Who we are in it.
    pub fn local_uri(&self) -> &Uri {
        &self.local.uri
    }

    /// Who the other is.
    pub fn remote_uri(&self) -> &Uri {
        &self.remote.uri
    }

    /// The other's endpoint identifier, if it is an OCS client.
    pub fn remote_epid(&self) -> Option<&str> {
        self.remote.epid()
    }

    /// Where the other can be reached: its last Contact.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// The next request to the other end (RFC 3261 §12.2.1.1), without Via and Contact. Not for
    /// ACK and CANCEL.
    pub fn request(&mut self, method: Method) -> Request {
        let number = self.next_number();
        self.request_numbered(method, number)
    }

    /// The ACK of a 2xx to our INVITE with this number (RFC 3261 §13.2.2.4).
    pub fn ack(&self, invite_number: u32) -> Request {
        self.request_numbered(Method::Ack, invite_number)
    }

    /// A request came in this dialog. Takes its number and, if it may move the other end, its
    /// Contact (RFC 3261 §12.2.2).
    ///
    /// # Errors
    /// The status to refuse it with: 500 when its number goes back, 400 when it cannot be read.
    pub fn accept(&mut self, request: &Request) -> Result<(), u16> {
        let number = request.headers.cseq().map_err(|fault| fault.status())?.number;
        if request.method == Method::Ack {
            return Ok(());
        }
        if self.remote_number.is_some_and(|last| number < last) {
            return Err(500);
        }
        if refreshes_target(&request.method) {
            self.retarget(&request.headers).map_err(|fault| fault.status())?;
        }
        self.remote_number = Some(number);
        Ok(())
    }

    /// A 2xx to a request of ours in this dialog: it too may move the other end.
    ///
    /// # Errors
    /// If its Contact cannot be read; the target is then what it was.
    pub fn refresh(&mut self, response: &Response) -> Result<(), Malformed> {
        let refreshes = refreshes_target(&response.headers.cseq()?.method);
        if refreshes && (200..300).contains(&response.status) {
            self.retarget(&response.headers)
        } else {
            Ok(())
        }
    }

    /// Leaves `count` numbers out. Who goes on with a dialog that another has led, and does not know
    /// how far, numbers on from well beyond (RFC 3261 §12.2.1.1 asks only that numbers rise).
    pub fn skip_numbers(&mut self, count: u32) {
        self.local_number = self.local_number.saturating_add(count);
    }

    fn next_number(&mut self) -> u32 {
        self.local_number += 1;
        self.local_number
    }

    fn retarget(&mut self, headers: &Headers) -> Result<(), Malformed> {
        if let Some(contact) = headers.contacts()?.first() {
            self.target = place(contact)?;
        }
        Ok(())
    }

    fn request_numbered(&self, method: Method, number: u32) -> Request {
        let mut uri = self.target.clone();
        let mut routes = Cow::Borrowed(&self.routes);
        if routes.first().is_some_and(|first| !first.uri.has_param("lr")) {
            // A strict router wants to be the Request-URI, and the target at the end.
            let routes = routes.to_mut();
            routes.push(NameAddr::new(uri));
            uri = Uri { headers: None, ..routes.remove(0).uri };
        }
        let mut request = Request::new(method.clone(), uri)
            .with_header("From", self.from.clone())
            .with_header("To", self.to.clone())
            .with_header("Call-ID", self.call_id.clone())
            .with_header("CSeq", CSeq { number, method }.to_string())
            .with_header("Max-Forwards", Text::fixed(MAX_FORWARDS));
        for route in routes.iter() {
            request.headers.push("Route", route.to_string());
        }
        request
    }
}

/// Whether the Contact of such a request, and of its 2xx, is the other end's new place.
fn refreshes_target(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite
            | Method::Update
            | Method::Subscribe
            | Method::Notify
            | Method::Benotify
            | Method::Refer
    )
}

fn target(headers: &Headers) -> Result<Uri, Malformed> {
    let contacts = headers.contacts()?;
    let first = contacts.first().ok_or_else(|| Malformed::new("Contact", "is missing"))?;
    place(first)
}

/// The URI by which the other end is reached. Headers, which a Contact may have, are none of a
/// Request-URI (RFC 3261 §19.1.1).
fn place(contact: &NameAddr) -> Result<Uri, Malformed> {
    Ok(Uri { headers: None, ..detached(contact)?.uri })
}

fn routes(headers: &Headers) -> Result<Vec<NameAddr>, Malformed> {
    headers.record_routes()?.iter().map(detached).collect()
}

/// The same address in memory of its own: a dialog outlives the message it was read from.
fn detached(address: &NameAddr) -> Result<NameAddr, Malformed> {
    address.to_string().parse()
}

#[cfg(test)]
mod samples {
    //! Requests as clients send them.

    use crate::{Message, Request};

    /// A request from Ann to Bob's conference, with these lines more; each ends in CRLF.
    pub(super) fn request(method: &str, number: u32, to_tag: &str, lines: &str) -> Request {
        let text = format!(
            "{method} sip:bob@example.test;gruu;opaque=app:conf:focus:id:ABCD SIP/2.0\r\n\
             Via: SIP/2.0/tcp 127.0.0.1:56704\r\n\
             From: \"Ann\" <sip:ann@example.test>;tag=near;epid=0a1b2c\r\n\
             To: <sip:bob@example.test;gruu;opaque=app:conf:focus:id:ABCD>{to_tag}\r\n\
             Call-ID: call\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:ann@example.test;opaque=user:epid:ENC;gruu>\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(text.into()).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => unreachable!("it was printed as a request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{samples::request, *};

    fn header<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
        let same = |(other, _): &(&Text, &Text)| other.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn the_answering_end() {
        let routes = "Record-Route: <sip:p2.test;lr>, <sip:p1.test;lr>\r\n";
        let mut dialog = Dialog::from_invite(&request("INVITE", 5, "", routes), "far").unwrap();
        assert_eq!(dialog.remote_epid(), Some("0a1b2c"));
        let info = dialog.request(Method::Info);
        assert_eq!(info.uri.to_string(), "sip:ann@example.test;opaque=user:epid:ENC;gruu");
        assert_eq!(header(&info, "Route"), ["<sip:p2.test;lr>", "<sip:p1.test;lr>"]);
        assert_eq!(
            header(&info, "From"),
            ["<sip:bob@example.test;gruu;opaque=app:conf:focus:id:ABCD>;tag=far"]
        );
        assert_eq!(header(&info, "To"), ["\"Ann\" <sip:ann@example.test>;tag=near;epid=0a1b2c"]);
        assert_eq!(header(&info, "CSeq"), ["1 INFO"]);
        assert_eq!(header(&dialog.request(Method::Bye), "CSeq"), ["2 BYE"]);
        let text = serde_json::to_string(&dialog).unwrap();
        assert_eq!(serde_json::from_str::<Dialog>(&text).unwrap(), dialog);
    }

    #[test]
    fn the_asking_end() {
        let routes = "Record-Route: <sip:p2.test;lr>, <sip:p1.test;lr>\r\n";
        let invite = request("INVITE", 5, "", routes);
        let mut response = Response::to(&invite, 200).with_header("Contact", "<sip:focus@fe.test>;isfocus");
        response.set_to_tag("far");
        let mut dialog = Dialog::from_response(&invite, &response).unwrap();
        assert_eq!(DialogId::of_answered(&response), Some(dialog.id()));
        let ack = dialog.ack(5);
        assert_eq!(ack.uri.to_string(), "sip:focus@fe.test");
        assert_eq!(header(&ack, "CSeq"), ["5 ACK"]);
        assert_eq!(header(&ack, "Route"), ["<sip:p1.test;lr>", "<sip:p2.test;lr>"]);
        assert_eq!(header(&dialog.request(Method::Bye), "CSeq"), ["6 BYE"]);

        let mut moved =
            Response::to(&request("UPDATE", 7, "", ""), 200).with_header("Contact", "<sip:b@fe.test>");
        moved.set_to_tag("far");
        dialog.refresh(&moved).unwrap();
        assert_eq!(dialog.target().to_string(), "sip:b@fe.test");
        moved.status = 491;
        moved.headers.set("Contact", "<sip:c@fe.test>");
        dialog.refresh(&moved).unwrap();
        assert_eq!(dialog.target().to_string(), "sip:b@fe.test");
    }

    #[test]
    fn both_ends_name_it_alike() {
        let dialog = Dialog::from_invite(&request("INVITE", 5, "", ""), "far").unwrap();
        assert_eq!(DialogId::of_received(&request("BYE", 6, ";tag=far", "")), Some(dialog.id()));
        assert_ne!(DialogId::of_received(&request("BYE", 6, ";tag=other", "")), Some(dialog.id()));
        assert_eq!(DialogId::of_received(&request("BYE", 6, "", "")), None);
    }

    #[test]
    fn strict_routers_are_the_request_uri() {
        let routes = "Record-Route: <sip:p2.test;x=1?h=1>, <sip:p1.test;lr>\r\n";
        let mut dialog = Dialog::from_invite(&request("INVITE", 5, "", routes), "far").unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:p2.test;x=1");
        let target = "<sip:ann@example.test;opaque=user:epid:ENC;gruu>";
        assert_eq!(header(&bye, "Route"), ["<sip:p1.test;lr>", target]);
    }

    #[test]
    fn numbers_must_not_go_back() {
        let mut dialog = Dialog::from_invite(&request("INVITE", 5, "", ""), "far").unwrap();
        let mut check = |method: &str, number: u32, expect: Result<(), u16>| {
            assert_eq!(dialog.accept(&request(method, number, ";tag=far", "")), expect, "{number} {method}");
        };
        check("ACK", 5, Ok(()));
        check("INFO", 4, Err(500));
        check("INFO", 9, Ok(()));
        check("ACK", 5, Ok(()));
        check("INFO", 8, Err(500));
        check("BYE", 10, Ok(()));
    }

    #[test]
    fn only_some_requests_move_the_other_end() {
        let mut dialog = Dialog::from_invite(&request("INVITE", 5, "", ""), "far").unwrap();
        let mut check = |method: &str, contact: &str, expect: &str| {
            let mut request = request(method, 6, ";tag=far", "");
            request.headers.set("Contact", contact);
            assert_eq!(dialog.accept(&request), Ok(()));
            assert_eq!(dialog.target().to_string(), expect, "{method}");
        };
        check("INFO", "<sip:a@one.test>", "sip:ann@example.test;opaque=user:epid:ENC;gruu");
        check("UPDATE", "<sip:a@two.test>", "sip:a@two.test");
        check("INVITE", "<sip:a@three.test>", "sip:a@three.test");
        let mut unreadable = request("INVITE", 7, ";tag=far", "");
        unreadable.headers.set("Contact", "<sip:");
        assert_eq!(dialog.accept(&unreadable), Err(400));
        assert!(Dialog::from_invite(&unreadable, "far").is_err());
        unreadable.headers.remove("Contact");
        assert_eq!(Dialog::from_invite(&unreadable, "far").unwrap_err().to_string(), "Contact: is missing");
    }
}
