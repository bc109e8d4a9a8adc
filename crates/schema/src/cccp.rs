//! `urn:ietf:params:xml:ns:cccp`: C3P, the conference control protocol (MS-CONFBAS §2.2.1,
//! MS-CONFPRO §2.2; draft-levin-xcon-cccp-04). Steps 1, 2, 3, 6 and 7.
//!
//! Clients command the Focus Factory and the Focus with it, the Focus its conferencing servers. A
//! [`Request`] has one [`Request::request_id`]; any number of pending [`Response`]s and one final
//! one answer it, by the same id with `from` and `to` swapped.

mod capabilities;
mod command;
mod conference;
mod result;
mod user;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    conference_info::{parse_number, required},
    xml::{Element, Malformed, Writer, quoted},
};
pub use capabilities::Capabilities;
pub use command::Command;
pub use conference::{ConferenceKeys, connection_value};
pub use result::{CommandResult, ResultBody};
pub use user::{AddUser, MediaKeys, UserKeys};

/// The namespace of C3P.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:cccp";
/// The namespace of the extensions of OCS, by custom `mscp`.
pub const EXTENSIONS: &str = "http://schemas.microsoft.com/rtc/2005/08/cccpextensions";
/// The media type of requests and responses.
pub const CONTENT_TYPE: &str = "application/cccp+xml";
/// How many commands a request may carry; how many results a response.
pub const MAX_COMMANDS: usize = 16;

/// The only version of C3P there is.
const VERSION: &str = "1";

/// Commands, to be carried out in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Unique per sender.
    pub request_id: u32,
    /// Who asks: the SIP URI of a user, or the URL of a server.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// At least one; clients send one.
    pub commands: Vec<Command>,
}

/// What became of a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The request's.
    pub request_id: u32,
    /// Who was asked.
    pub from: String,
    /// Who asked.
    pub to: String,
    /// How it went.
    pub code: Code,
    /// Why the request as a whole failed, if it did: one word.
    pub reason: Option<String>,
    /// What became of each command, in the request's order. Real servers always name the command.
    pub results: Vec<CommandResult>,
}

words! {
    /// How a request went.
    pub enum Code {
        /// It is done.
        Success = "success",
        /// It is being done; a final response follows.
        Pending = "pending",
        /// It was not done.
        Failure = "failure",
    }
}

impl Request {
    /// A request with one command.
    pub fn new(request_id: u32, from: impl Into<String>, to: impl Into<String>, command: Command) -> Request {
        Request { request_id, from: from.into(), to: to.into(), commands: vec![command] }
    }

    /// Reads a request. Commands that are not known are kept as [`Command::Unknown`].
    ///
    /// # Errors
    /// If it is no C3P request, lacks a mandatory attribute or a command one of its parts.
    pub fn parse(document: &[u8]) -> Result<Request, Malformed> {
        let root = root(document, "request")?;
        let commands = root.elements().map(Command::read).collect::<Result<Vec<_>, _>>()?;
        if commands.is_empty() || commands.len() > MAX_COMMANDS {
            let count = commands.len();
            return Err(Malformed::new(format!("A request has 1 to {MAX_COMMANDS} commands, not {count}.")));
        }
        Ok(Request {
            request_id: request_id(&root)?,
            from: required(&root, "from")?,
            to: required(&root, "to")?,
            commands,
        })
    }

    /// Prints the request.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.start(NAMESPACE, "request");
        writer.declare(EXTENSIONS);
        writer.attribute("C3PVersion", VERSION);
        writer.attribute("to", &self.to);
        writer.attribute("from", &self.from);
        writer.attribute("requestId", &self.request_id.to_string());
        self.commands.iter().for_each(|command| command.write(&mut writer));
        writer.finish()
    }
}

impl Response {
    /// The response to `request` that has this code and, for its first command, this body.
    pub fn new(request: &Request, code: Code, body: ResultBody) -> Response {
        let mut results: Vec<CommandResult> = request
            .commands
            .iter()
            .map(|command| CommandResult::new(command.name(), ResultBody::Empty))
            .collect();
        if let Some(first) = results.first_mut() {
            first.body = body;
        }
        Response {
            request_id: request.request_id,
            from: request.to.clone(),
            to: request.from.clone(),
            code,
            reason: None,
            results,
        }
    }

    /// The response that says that the request's one command is done, with this result.
    pub fn success(request: &Request, result: CommandResult) -> Response {
        Response { results: vec![result], ..Response::new(request, Code::Success, ResultBody::Empty) }
    }

    /// The response that says that nothing was done, because of `reason`: one word.
    pub fn failed(request: &Request, reason: &str) -> Response {
        let mut response = Response::new(request, Code::Failure, ResultBody::Empty);
        for result in &mut response.results {
            result.reason = Some(reason.to_owned());
        }
        response
    }

    /// The response that says that an answer will follow.
    pub fn pending(request: &Request) -> Response {
        Response::new(request, Code::Pending, ResultBody::Empty)
    }

    /// Why it failed: the command's reason, else that of the request as a whole.
    pub fn failure_reason(&self) -> Option<&str> {
        self.results.iter().find_map(|result| result.reason.as_deref()).or(self.reason.as_deref())
    }

    /// Reads a response.
    ///
    /// # Errors
    /// If it is no C3P response, lacks a mandatory attribute, or a value in it makes no sense.
    pub fn parse(document: &[u8]) -> Result<Response, Malformed> {
        let root = root(document, "response")?;
        let code = required(&root, "code")?;
        let code = Code::parse(&code)
            .ok_or_else(|| Malformed::new(format!("{} is no response code.", quoted(&code))))?;
        let read = |result| CommandResult::read(result, code);
        let results = root.elements().map(read).collect::<Result<Vec<_>, _>>()?;
        if results.len() > MAX_COMMANDS {
            return Err(Malformed::new(format!("A response has at most {MAX_COMMANDS} results.")));
        }
        Ok(Response {
            request_id: request_id(&root)?,
            from: required(&root, "from")?,
            to: required(&root, "to")?,
            code,
            reason: root.attr("reason").map(str::to_owned),
            results,
        })
    }

    /// Prints the response.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.start(NAMESPACE, "response");
        writer.declare(EXTENSIONS);
        writer.attribute("C3PVersion", VERSION);
        writer.attribute("requestId", &self.request_id.to_string());
        writer.attribute("from", &self.from);
        writer.attribute("to", &self.to);
        writer.attribute("code", self.code.as_str());
        if let Some(reason) = &self.reason {
            writer.attribute("reason", reason);
        }
        self.results.iter().for_each(|result| result.write(&mut writer));
        writer.finish()
    }
}

fn root(document: &[u8], name: &str) -> Result<Element, Malformed> {
    let root = Element::parse(document)?;
    if root.name != name {
        return Err(Malformed::new(format!("{} is no C3P {name}.", quoted(&root.name))));
    }
    if root.ns != NAMESPACE {
        let ns = quoted(&root.ns);
        return Err(Malformed::new(format!("The {name} is in the namespace {ns}, not in that of C3P.")));
    }
    Ok(root)
}

fn request_id(root: &Element) -> Result<u32, Malformed> {
    parse_number(&required(root, "requestId")?, "requestId")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_must_be_whole() {
        let check = |document: &str, expect: &str| {
            let error = Request::parse(document.as_bytes()).expect_err(document).to_string();
            assert!(error.contains(expect), "{error}");
        };
        let request = |attributes: &str, commands: &str| {
            [r#"<request xmlns="urn:ietf:params:xml:ns:cccp" "#, attributes, ">", commands, "</request>"]
                .concat()
        };
        let whole = r#"requestId="1" from="a" to="b""#;
        assert!(Request::parse(request(whole, "<getConferences/>").as_bytes()).is_ok());
        check(&request(r#"from="a" to="b""#, "<getConferences/>"), "no attribute requestId");
        check(&request(r#"requestId="-1" from="a" to="b""#, "<getConferences/>"), "no requestId");
        check(&request(r#"requestId="+1" from="a" to="b""#, "<getConferences/>"), "no requestId");
        check(&request(r#"requestId="4294967296" from="a" to="b""#, "<getConferences/>"), "no requestId");
        check(&request(r#"requestId="1" to="b""#, "<getConferences/>"), "no attribute from");
        check(&request(r#"requestId="1" from="a""#, "<getConferences/>"), "no attribute to");
        check(&request(whole, ""), "1 to 16 commands, not 0");
        check(&request(whole, &"<getConferences/>".repeat(17)), "not 17");
        check(r#"<request requestId="1" from="a" to="b"><getConferences/></request>"#, "not in that of C3P");
        check(r#"<response xmlns="urn:ietf:params:xml:ns:cccp"/>"#, "no C3P request");
        check(&request(whole, "<addUser/>"), "addUser");
        check(&request(whole, "<addConference/>"), "addConference");
        check(&request(whole, "<deleteUser><userKeys confEntity=''/></deleteUser>"), "userEntity");
        check(&request(whole, "<modifyConferenceLock/>"), "locked");
        check(
            &request(whole, "<modifyConferenceLock><locked>maybe</locked></modifyConferenceLock>"),
            "maybe",
        );
    }

    #[test]
    fn responses_mirror_requests() {
        let request = Request {
            request_id: 7,
            from: "sip:ann@example.test".into(),
            to: "sip:focus".into(),
            commands: vec![Command::GetConferences, Command::GetAvailableMcuTypes],
        };
        let failed = Response::failed(&request, "notSupported");
        assert_eq!((failed.request_id, &*failed.from, &*failed.to), (7, "sip:focus", "sip:ann@example.test"));
        assert_eq!(failed.results.len(), 2);
        assert_eq!(failed.failure_reason(), Some("notSupported"));
        assert_eq!(Response::parse(&failed.to_bytes()), Ok(failed));
        let mut pending = Response::pending(&request);
        pending.reason = Some("serverBusy".into());
        assert_eq!(pending.failure_reason(), Some("serverBusy"));
        assert_eq!(Response::parse(&pending.to_bytes()), Ok(pending));
    }
}
