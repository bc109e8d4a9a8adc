//! What the client's messages say in the flow trace.

use confab_machine::{Component, FlowNote, Traced};
use confab_schema::{
    cccp,
    uri::{McuType, OpaqueTarget},
};
use confab_sip::{Message, Method, Request, Response, Uri};

use crate::vocabulary::{Action, Event};

impl Traced for Action {
    fn flow_note(&self) -> Option<FlowNote> {
        match self {
            Action::Transmit { message: Message::Request(request), .. } => sent(request),
            Action::Transmit { .. } | Action::KeepAlive { .. } | Action::Observe(_) => None,
        }
    }
}

impl Traced for Event {
    fn flow_note(&self) -> Option<FlowNote> {
        match self {
            Event::Received { message: Message::Request(request), .. } => told(request),
            Event::Received { message: Message::Response(response), .. } => answered(response),
            Event::Connected { .. } | Event::FlowClosed { .. } | Event::Command(_) => None,
        }
    }
}

/// Who a request to this address is for, and in which step one with this method is sent.
fn place(uri: &Uri, method: &Method) -> Option<(u8, Component)> {
    match OpaqueTarget::parse(&uri.to_string()) {
        OpaqueTarget::FocusFactory(_) => Some((1, Component::FocusFactory)),
        OpaqueTarget::Focus(_) if matches!(method, Method::Invite | Method::Subscribe) => {
            Some((3, Component::Focus))
        }
        OpaqueTarget::Focus(_) if *method == Method::Info => Some((7, Component::Focus)),
        OpaqueTarget::Mcu(mcu) if mcu.media == McuType::Chat => Some((8, Component::ImMcu)),
        _ => None,
    }
}

fn sent(request: &Request) -> Option<FlowNote> {
    // Not the Request-URI: within a dialog that is where the other side happens to be.
    let (step, to) = place(&request.headers.to().ok()?.uri, &request.method)?;
    let command = cccp::Request::parse(&request.body).ok();
    let command = command.as_ref().and_then(|document| document.commands.first()).map(cccp::Command::name);
    let summary = [request.method.as_str(), command.unwrap_or_default()].join(" ");
    Some(FlowNote::new(step, Component::Client, to, summary.trim_end()))
}

fn answered(response: &Response) -> Option<FlowNote> {
    let cseq = response.headers.cseq().ok()?;
    let (step, from) = place(&response.headers.to().ok()?.uri, &cseq.method)?;
    // The factory's answer is the second step, the word of the Focus the fourth.
    let step = if matches!(step, 1 | 3) { step + 1 } else { step };
    Some(FlowNote::new(step, from, Component::Client, format!("{} {}", response.status, cseq.method)))
}

fn told(request: &Request) -> Option<FlowNote> {
    let from = request.headers.from().ok()?.uri;
    let (step, from) = match OpaqueTarget::parse(&from.to_string()) {
        OpaqueTarget::Focus(_) => (7, Component::Focus),
        OpaqueTarget::Mcu(mcu) if mcu.media == McuType::Chat => (8, Component::ImMcu),
        _ => return None,
    };
    Some(FlowNote::new(step, from, Component::Client, request.method.as_str()))
}

#[cfg(test)]
mod tests {
    use confab_sip::{Flow, Transport};

    use super::*;

    #[test]
    fn messages_of_the_join_flow_have_their_steps() {
        let check = |method: Method, opaque: &str, expect: Option<(u8, &str)>| {
            let uri = format!("sip:ann@example.test;gruu;opaque=app:conf:{opaque}");
            let request = Request::new(method.clone(), "sip:here@192.0.2.9".parse().expect("this is a URI"))
                .with_header("To", format!("<{uri}>"));
            let flow = Flow { id: 1, transport: Transport::Tcp };
            let note = Action::Transmit { flow, message: request.into() }.flow_note();
            let told = note.as_ref().and_then(|note| Some((note.step?.number(), note.summary.as_str())));
            assert_eq!(told, expect, "{method} {opaque}");
        };
        check(Method::Service, "focusfactory", Some((1, "SERVICE")));
        check(Method::Invite, "focus:id:ABCD1234", Some((3, "INVITE")));
        check(Method::Subscribe, "focus:id:ABCD1234", Some((3, "SUBSCRIBE")));
        check(Method::Info, "focus:id:ABCD1234", Some((7, "INFO")));
        check(Method::Message, "chat:id:ABCD1234", Some((8, "MESSAGE")));
        check(Method::Bye, "focus:id:ABCD1234", None);
        check(Method::Invite, "other", None);
    }
}
