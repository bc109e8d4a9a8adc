//! Answers to Digest challenges of registrars (401) and proxies (407) (RFC 3261 §22, RFC 8760).

use std::collections::BTreeMap;

use confab_machine::Entropy;
use confab_sip::{
    Request, Response,
    auth::{self, Challenge},
};

use crate::vocabulary::ClientConfig;

/// What we were challenged with last, by the header that answers it. Later requests carry an
/// answer from the start, which saves each a round trip.
#[derive(Debug, Default)]
pub(crate) struct Credentials(BTreeMap<&'static str, Asked>);

#[derive(Debug)]
struct Asked {
    challenge: Challenge,
    /// How often its nonce was used.
    count: u32,
}

impl Credentials {
    /// Takes the strongest challenge of a 401 or 407. Returns whether it is worth to send
    /// `request` again: there is a challenge we understand, and either the request carried no
    /// answer yet or only its nonce had aged.
    pub(crate) fn challenged(&mut self, request: &Request, response: &Response) -> bool {
        let (asks, answers) = match response.status {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return false,
        };
        let values = response.headers.all(asks).map(|value| value.as_str());
        let Some(challenge) = auth::strongest(values) else { return false };
        let hopeful = request.headers.get(answers).is_none() || challenge.stale;
        self.0.insert(answers, Asked { challenge, count: 0 });
        hopeful
    }

    /// Puts the answers into `request`, in place of those it carried.
    pub(crate) fn apply(&mut self, config: &ClientConfig, entropy: &mut Entropy, request: &mut Request) {
        let Some(password) = &config.password else { return };
        for (header, asked) in &mut self.0 {
            asked.count += 1;
            let answer = auth::authorize(
                &asked.challenge,
                &request.method,
                &request.uri.to_string(),
                config.user.user(),
                password.reveal(),
                &entropy.hex::<8>(),
                asked.count,
            );
            request.headers.set(header, answer);
        }
    }
}
