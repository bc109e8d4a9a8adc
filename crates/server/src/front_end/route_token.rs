//! What the front end writes into its Record-Route so that a dialog's requests find their way back
//! over the same two flows (the original's `opaque=state:…;ms-route-sig=…`). It is signed: nobody
//! can make one that leads into another person's connection.

use aws_lc_rs::hmac;
use confab_sip::{Flow, Transport};

/// Signature bytes kept; enough that guessing is hopeless while the header stays short.
const SIGNATURE_LENGTH: usize = 16;

/// Makes and reads tokens.
pub(super) struct RouteTokens {
    key: hmac::Key,
}

impl RouteTokens {
    pub(super) fn new(key: [u8; 32]) -> RouteTokens {
        RouteTokens { key: hmac::Key::new(hmac::HMAC_SHA256, &key) }
    }

    /// The token of a dialog between these two flows.
    pub(super) fn issue(&self, one: Flow, other: Flow) -> String {
        let flows = format!("{}-{}", encode(one), encode(other));
        let signature = self.sign(&flows);
        format!("{flows}-{signature}")
    }

    /// The two flows of a token that we issued.
    pub(super) fn read(&self, token: &str) -> Option<[Flow; 2]> {
        let (flows, signature) = token.rsplit_once('-')?;
        let expected = self.sign(flows);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).ok()?;
        let (one, other) = flows.split_once('-')?;
        Some([decode(one)?, decode(other)?])
    }

    fn sign(&self, flows: &str) -> String {
        let signature = hmac::sign(&self.key, flows.as_bytes());
        signature.as_ref()[..SIGNATURE_LENGTH].iter().map(|byte| format!("{byte:02x}")).collect()
    }
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
    let transport = match transport {
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
    use super::*;

    #[test]
    fn only_our_own_are_read() {
        let tokens = RouteTokens::new([1; 32]);
        let one = Flow { id: 0xabc, transport: Transport::Tcp };
        let other = Flow { id: u64::MAX, transport: Transport::Udp };
        let token = tokens.issue(one, other);
        assert_eq!(tokens.read(&token), Some([one, other]));
        assert_eq!(tokens.read(&token.replace("tabc", "tabd")), None);
        assert_eq!(RouteTokens::new([2; 32]).read(&token), None);
        assert_eq!(tokens.read("nonsense"), None);
    }
}
