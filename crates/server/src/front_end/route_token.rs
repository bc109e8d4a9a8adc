//! What the front end writes into its Record-Route so that a dialog's requests find their way back
//! over the same two flows (the original's `opaque=state:…;ms-route-sig=…`). It is signed, for one
//! Call-ID and two addresses: nobody can make one that leads into another person's connection, nor
//! use his own in another dialog or in another's name.

use aws_lc_rs::hmac;
use confab_sip::{Flow, Request, Transport};

/// Signature bytes kept; enough that guessing is hopeless while the header stays short.
const SIGNATURE_LENGTH: usize = 16;

/// Makes and reads tokens.
pub(super) struct RouteTokens {
    key: hmac::Key,
}

/// Which end of the dialog a request comes from.
#[derive(Clone, Copy)]
enum Sender {
    Caller,
    Callee,
}

impl RouteTokens {
    pub(super) fn new(key: [u8; 32]) -> RouteTokens {
        RouteTokens { key: hmac::Key::new(hmac::HMAC_SHA256, &key) }
    }

    /// The token of the dialog that `request` begins, from `caller` to `callee`, either of which may
    /// be a link to an MCU.
    pub(super) fn issue(
        &self,
        caller: Flow,
        callee: Flow,
        is_mcu: impl Fn(&Flow) -> bool,
        request: &Request,
    ) -> String {
        let end = |flow: Flow| if is_mcu(&flow) { encode(flow).to_uppercase() } else { encode(flow) };
        let flows = format!("{}-{}", end(caller), end(callee));
        let signature = self.sign(&flows, request, Sender::Caller).unwrap_or_default();
        format!("{flows}-{signature}")
    }

    /// The flow at the other end of the dialog, if we issued `token` for the dialog of `request`
    /// and its sender's end is at `flow`.
    pub(super) fn other_end(&self, token: &str, flow: Flow, request: &Request) -> Option<Flow> {
        let (flows, _) = token.rsplit_once('-')?;
        let (caller, callee) = flows.split_once('-')?;
        let (caller, callee) = (decode(caller)?, decode(callee)?);
        if flow == caller && self.verify(token, request, Sender::Caller) {
            return Some(callee);
        }
        (flow == callee && self.verify(token, request, Sender::Callee)).then_some(caller)
    }

    /// The other end as above, for an MCU that we trust to have taken its end over. An organizer
    /// and the MCU of her conference have one address, but only the MCU's end is marked as one.
    pub(super) fn far_end(&self, token: &str, request: &Request) -> Option<Flow> {
        let (flows, _) = token.rsplit_once('-')?;
        let (caller, callee) = flows.split_once('-')?;
        [(Sender::Caller, callee), (Sender::Callee, caller)]
            .into_iter()
            .filter(|(sender, far)| !is_mcu(far) && self.verify(token, request, *sender))
            .find_map(|(_, far)| decode(far))
    }

    /// Whether we issued `token` for the dialog of `request`.
    pub(super) fn is_ours(&self, token: &str, request: &Request) -> bool {
        [Sender::Caller, Sender::Callee].iter().any(|sender| self.verify(token, request, *sender))
    }

    fn verify(&self, token: &str, request: &Request, sender: Sender) -> bool {
        let Some((flows, signature)) = token.rsplit_once('-') else { return false };
        let Some(expected) = self.sign(flows, request, sender) else { return false };
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
    }

    fn sign(&self, flows: &str, request: &Request, sender: Sender) -> Option<String> {
        let headers = &request.headers;
        let (from, to) = (headers.from().ok()?.uri.aor(), headers.to().ok()?.uri.aor());
        let (caller, callee) = match sender {
            Sender::Caller => (from, to),
            Sender::Callee => (to, from),
        };
        // A line end is in none of them.
        let signed = format!("{flows}\n{}\n{caller}\n{callee}", headers.call_id().ok()?);
        let signature = hmac::sign(&self.key, signed.as_bytes());
        Some(signature.as_ref()[..SIGNATURE_LENGTH].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Whether the end of a dialog is a link to an MCU: those are written in capitals.
fn is_mcu(end: &str) -> bool {
    end.starts_with(|char: char| char.is_ascii_uppercase())
}

fn encode(flow: Flow) -> String {
    let transport = match flow.transport {
        Transport::Udp => 'u',
        Transport::Tcp => 't',
        Transport::Tls => 's',
        Transport::Inproc => 'i',
    };
    format!("{transport}{:x}", flow.id)
}

fn decode(text: &str) -> Option<Flow> {
    let (transport, id) = text.split_at_checked(1)?;
    let transport = match transport.to_ascii_lowercase().as_str() {
        "u" => Transport::Udp,
        "t" => Transport::Tcp,
        "s" => Transport::Tls,
        "i" => Transport::Inproc,
        _ => return None,
    };
    Some(Flow { id: u64::from_str_radix(id, 16).ok()?, transport })
}

#[cfg(test)]
mod tests {
    use confab_sip::{Method, Uri};

    use super::*;

    const ANN: &str = "<sip:ann@example.test>;tag=a";
    const BOB: &str = "<sip:bob@EXAMPLE.test>;tag=b";

    fn request(from: &str, to: &str, call_id: &str) -> Request {
        let request = Request::new(Method::Invite, Uri::sip("bob", "example.test"));
        request.with_header("From", from).with_header("To", to).with_header("Call-ID", call_id)
    }

    #[test]
    fn only_our_own_are_read_and_only_in_their_dialog() {
        let tokens = RouteTokens::new([1; 32]);
        let near = Flow { id: 0xabc, transport: Transport::Tcp };
        let far = Flow { id: u64::MAX, transport: Transport::Udp };
        let token =
            tokens.issue(near, far, |flow| *flow == far, &request(ANN, "<sip:bob@example.test>", "one"));
        let check = |token: &str, flow, from, to, call_id, expect| {
            assert_eq!(tokens.other_end(token, flow, &request(from, to, call_id)), expect, "{token} {from}");
        };
        check(&token, near, ANN, BOB, "one", Some(far));
        check(&token, far, BOB, ANN, "one", Some(near));
        check(&token, near, BOB, ANN, "one", None);
        check(&token, near, ANN, BOB, "two", None);
        check(&token, near, "<sip:eve@example.test>", BOB, "one", None);
        check(&token, Flow { id: 1, transport: Transport::Tcp }, ANN, BOB, "one", None);
        check(&token.replace("tabc", "tabd"), near, ANN, BOB, "one", None);
        check("nonsense", near, ANN, BOB, "one", None);
        check("tabc-u1-", near, ANN, BOB, "one", None);

        let theirs = RouteTokens::new([2; 32]);
        assert_eq!(theirs.other_end(&token, near, &request(ANN, BOB, "one")), None);
        assert_eq!(tokens.far_end(&token, &request(BOB, ANN, "one")), Some(near));
        assert_eq!(tokens.far_end(&token, &request(BOB, ANN, "two")), None);
        assert!(tokens.is_ours(&token, &request(BOB, ANN, "one")));
        assert!(!theirs.is_ours(&token, &request(BOB, ANN, "one")));
    }

    #[test]
    fn who_calls_himself_has_two_ends() {
        let tokens = RouteTokens::new([1; 32]);
        let [desk, pocket] = [1, 2].map(|id| Flow { id, transport: Transport::Tls });
        let token = tokens.issue(desk, pocket, |_| false, &request(ANN, ANN, "one"));
        assert_eq!(tokens.other_end(&token, desk, &request(ANN, ANN, "one")), Some(pocket));
        assert_eq!(tokens.other_end(&token, pocket, &request(ANN, ANN, "one")), Some(desk));
    }
}
