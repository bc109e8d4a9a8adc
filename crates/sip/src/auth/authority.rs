//! The server's side of Digest: challenges, and the judgement of what comes back (RFC 7616 §3.3, §3.4).
//!
//! A nonce carries its own time and a seal, so none is stored when it is given out: strangers
//! cannot fill a table. Only a nonce that someone answered correctly gets an entry, for the replay
//! window of its counter; the table is bounded, and what falls out of it counts as stale.

use std::{collections::BTreeMap, fmt, time::Duration};

use confab_machine::Time;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::digest::{Algorithm, Challenge, Credentials, Ha1s, credentials, hex};
use crate::{Method, Uri};

/// How long a nonce is good for; afterwards the client is told to use a new one.
const NONCE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How many nonces have a replay window at a time.
const MAX_NONCES: usize = 10_000;
/// How far behind the highest count a request may be, because of parallel requests.
const REPLAY_WINDOW: u32 = u128::BITS;
/// Bytes of the seal in a nonce.
const SEAL_LENGTH: usize = 16;

/// What [`DigestAuthority::verify`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user knows the password, and this is not a replay.
    Accepted,
    /// The user knows the password, but the nonce is too old, used up or not ours: challenge anew
    /// with `stale`.
    Stale,
    /// Challenge anew; the user's program will ask for the password.
    Wrong,
    /// Answer 400.
    Malformed,
}

/// Somebody who challenges with Digest: in one realm, or for others in theirs.
pub struct DigestAuthority {
    /// Its own.
    realm: String,
    key: [u8; 32],
    /// What it challenges with, in this order, and what it takes.
    algorithms: Vec<Algorithm>,
    /// How many nonces were made: two in one microsecond differ.
    issued: u64,
    windows: BTreeMap<NonceId, Window>,
    /// Nonces up to this one may have had a window that is gone.
    forgotten: NonceId,
}

/// When a nonce was made (microseconds) and its serial number.
type NonceId = (u64, u64);

impl DigestAuthority {
    /// An authority for `realm`. `key` seals its nonces: fresh random bytes at each start, or
    /// shared by front ends that must honour each other's challenges.
    pub fn new(realm: impl Into<String>, key: [u8; 32]) -> DigestAuthority {
        DigestAuthority {
            realm: realm.into(),
            key,
            algorithms: Algorithm::PREFERRED.into(),
            issued: 0,
            windows: BTreeMap::new(),
            forgotten: (0, 0),
        }
    }

    /// The same authority that challenges with `algorithms` only, in this order. Some phones give
    /// up at a challenge whose algorithm they do not know, wherever it stands.
    pub fn with_algorithms(mut self, algorithms: Vec<Algorithm>) -> DigestAuthority {
        self.algorithms = algorithms;
        self
    }

    /// The realm, which [`super::ha1`] is computed with.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The header values of one challenge, strongest algorithm first, each for a header line of its
    /// own (RFC 8760 §2.3). `stale` after [`Verdict::Stale`].
    pub fn challenge(&mut self, now: Time, stale: bool) -> Vec<String> {
        let realm = self.realm.clone();
        self.challenges(now, &realm, None, stale).iter().map(Challenge::to_string).collect()
    }

    /// The same in another realm, to be told as far as the client understands it. `opaque` is what it sends back
    /// with its answer.
    pub fn challenge_in(&mut self, now: Time, realm: &str, opaque: &str, stale: bool) -> Vec<Challenge> {
        self.challenges(now, realm, Some(opaque), stale)
    }

    fn challenges(&mut self, now: Time, realm: &str, opaque: Option<&str>, stale: bool) -> Vec<Challenge> {
        self.issued += 1;
        let nonce = self.nonce((now.as_micros(), self.issued), realm);
        self.algorithms
            .iter()
            .map(|algorithm| Challenge {
                realm: realm.to_owned(),
                nonce: nonce.clone(),
                opaque: opaque.map(str::to_owned),
                algorithm: *algorithm,
                stale,
            })
            .collect()
    }

    /// Judges the credentials in `header` for a request with this method and URI.
    ///
    /// `ha1s` belong to the user that [`credentials`] names there, in this realm. For a user that
    /// does not exist pass `Ha1s::default()`: the answer is then [`Verdict::Wrong`] too.
    pub fn verify(&mut self, now: Time, method: &Method, uri: &Uri, header: &str, ha1s: &Ha1s) -> Verdict {
        let realm = self.realm.clone();
        self.verify_in(now, &realm, (method, uri), header, ha1s)
    }

    /// The same in another realm, for a request with this method and URI.
    pub fn verify_in(
        &mut self,
        now: Time,
        realm: &str,
        (method, uri): (&Method, &Uri),
        header: &str,
        ha1s: &Ha1s,
    ) -> Verdict {
        let Ok(credentials) = credentials(header) else { return Verdict::Malformed };
        if credentials.realm != realm || !self.algorithms.contains(&credentials.algorithm) {
            return Verdict::Wrong;
        }
        if !is_for(&credentials, uri) {
            return Verdict::Malformed;
        }
        let Some(ha1) = ha1s.for_algorithm(credentials.algorithm) else { return Verdict::Wrong };
        let expected = credentials.expected_response(method, ha1);
        let given = credentials.response.to_ascii_lowercase();
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return Verdict::Wrong;
        }
        // Only now, with the password proved, may the nonce decide: "stale" tells a client that its
        // password was right.
        match self.opened(&credentials.nonce, realm) {
            Some(id) if self.is_fresh(now, id) && self.first_use(now, id, credentials.count()) => {
                Verdict::Accepted
            }
            _ => Verdict::Stale,
        }
    }

    fn nonce(&self, id: NonceId, realm: &str) -> String {
        format!("{:016x}{:016x}{}", id.0, id.1, hex(&self.seal(id, realm)))
    }

    fn seal(&self, id: NonceId, realm: &str) -> [u8; SEAL_LENGTH] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(&id.0.to_be_bytes());
        mac.update(&id.1.to_be_bytes());
        mac.update(realm.as_bytes());
        let bytes = mac.finalize().into_bytes();
        bytes[..SEAL_LENGTH].try_into().expect("a SHA-256 is longer than the seal")
    }

    /// The time and number in a nonce that we sealed for this realm.
    fn opened(&self, nonce: &str, realm: &str) -> Option<NonceId> {
        let id = (number(nonce.get(..16)?)?, number(nonce.get(16..32)?)?);
        bool::from(self.nonce(id, realm).as_bytes().ct_eq(nonce.as_bytes())).then_some(id)
    }

    fn is_fresh(&self, now: Time, id: NonceId) -> bool {
        let made = Time::from_micros(id.0);
        made <= now && now.since(made) <= NONCE_LIFETIME && id > self.forgotten
    }

    /// Whether `count` was never seen with this nonce; it counts as seen from here on.
    fn first_use(&mut self, now: Time, id: NonceId, count: u32) -> bool {
        if let Some(window) = self.windows.get_mut(&id) {
            return window.take(count);
        }
        let oldest_fresh = (now - NONCE_LIFETIME).as_micros();
        self.windows = self.windows.split_off(&(oldest_fresh, 0));
        if self.windows.len() >= MAX_NONCES
            && let Some((oldest, _)) = self.windows.pop_first()
        {
            self.forgotten = oldest;
            if id <= oldest {
                return false;
            }
        }
        self.windows.entry(id).or_default().take(count)
    }
}

impl fmt::Debug for DigestAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestAuthority").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// The counts that were used with one nonce: the highest, and which of those just below it.
#[derive(Default)]
struct Window {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Window {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            self.seen = self.seen.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if count == 0 || behind >= REPLAY_WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

/// Whether the credentials were made for a request to `uri`.
///
/// Proxies on the way may have changed port and transport (RFC 3261 §22.4 rule 2), so what counts
/// is whom the request is for: user, host, and the `opaque` part that tells one service of a user
/// from another.
// Deviation: the digest URI need not equal the Request-URI; user, host and opaque must.
fn is_for(credentials: &Credentials, uri: &Uri) -> bool {
    credentials
        .uri
        .parse::<Uri>()
        .is_ok_and(|stated| stated.aor() == uri.aor() && stated.param("opaque") == uri.param("opaque"))
}

/// Sixteen lower-case hexadecimal digits.
fn number(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{authorize, strongest};

    const START: Time = Time::from_unix_secs(1_000_000);
    const URI: &str = "sip:vivian@example.test;gruu;opaque=app:conf:focusfactory";

    fn authority() -> DigestAuthority {
        DigestAuthority::new("Confab", [7; 32])
    }

    fn vivian() -> Ha1s {
        Ha1s::of("vivian", "Confab", "pencil")
    }

    fn answer(challenge: &[String], password: &str, nc: u32) -> String {
        let challenge = strongest(challenge.iter().map(String::as_str)).unwrap();
        authorize(&challenge, &Method::Service, URI, "vivian", password, "c0ffee", nc)
    }

    fn verify(authority: &mut DigestAuthority, now: Time, header: &str, ha1s: &Ha1s) -> Verdict {
        authority.verify(now, &Method::Service, &URI.parse().unwrap(), header, ha1s)
    }

    #[test]
    fn offers_the_stronger_first_and_takes_either() {
        let mut authority = authority();
        let challenge = authority.challenge(START, false);
        assert!(
            challenge[0].contains("algorithm=SHA-256, qop=\"auth\"")
                && challenge[1].contains("algorithm=MD5")
        );
        let ha1s = vivian();
        for offer in &challenge {
            let header = answer(std::slice::from_ref(offer), "pencil", 1 + u32::from(offer.contains("MD5")));
            assert_eq!(verify(&mut authority, START, &header, &ha1s), Verdict::Accepted);
        }
        let only_md5 = Ha1s { sha256: None, ..ha1s };
        let header = answer(&authority.challenge(START, false), "pencil", 1);
        assert_eq!(verify(&mut authority, START, &header, &only_md5), Verdict::Wrong);
    }

    #[test]
    fn judges_password_nonce_and_request() {
        let mut authority = authority();
        let challenge = authority.challenge(START, false);
        let good = answer(&challenge, "pencil", 1);
        let late = START + NONCE_LIFETIME + Duration::from_micros(1);
        let mut check = |now: Time, header: &str, expect: Verdict| {
            assert_eq!(verify(&mut authority, now, header, &vivian()), expect, "{header}");
        };
        check(START, &answer(&challenge, "pencils", 1), Verdict::Wrong);
        check(late, &answer(&challenge, "pencils", 1), Verdict::Wrong);
        check(late, &good, Verdict::Stale);
        check(START - Duration::from_secs(1), &good, Verdict::Stale);
        check(START, &good.replace("realm=\"Confab\"", "realm=\"Other\""), Verdict::Wrong);
        check(START, &good.replace("focusfactory", "focus:id:X"), Verdict::Malformed);
        check(START, &good.replace("cnonce", "conce"), Verdict::Malformed);
        check(START, &good.replace("c0ffee", "c0ffef"), Verdict::Wrong);
        check(START, &good, Verdict::Accepted);
        check(START, &good, Verdict::Stale);
        assert_eq!(verify(&mut authority, START, &good, &Ha1s::default()), Verdict::Wrong);

        let mut other = DigestAuthority::new("Confab", [8; 32]);
        assert_eq!(verify(&mut other, START, &good, &vivian()), Verdict::Stale);
    }

    #[test]
    fn a_nonce_is_good_in_its_own_realm() {
        let algorithms = vec![Algorithm::Md5Sess, Algorithm::Md5];
        let mut authority = authority().with_algorithms(algorithms);
        let challenge = authority.challenge_in(START, "ann@example.test", "00C0FFEE", false);
        let challenge: Vec<String> = challenge.iter().map(Challenge::to_string).collect();
        assert!(challenge[0].contains("realm=\"ann@example.test\"") && challenge[0].contains("MD5-sess"));
        assert!(challenge.iter().all(|offer| offer.contains("opaque=\"00C0FFEE\"")));
        let uri: Uri = URI.parse().unwrap();
        let ha1s = |realm| Ha1s::of("vivian", realm, "pencil");
        let mut check = |realm, header: &str, expect| {
            let verdict = authority.verify_in(START, realm, (&Method::Service, &uri), header, &ha1s(realm));
            assert_eq!(verdict, expect, "{realm} {header}");
        };
        let moved: Vec<String> =
            challenge.iter().map(|offer| offer.replace("ann@example.test", "bob@example.test")).collect();
        check("bob@example.test", &answer(&moved, "pencil", 1), Verdict::Stale);
        check("bob@example.test", &answer(&challenge, "pencil", 1), Verdict::Wrong);
        check("ann@example.test", &answer(&challenge, "pencil", 1), Verdict::Accepted);
        check("ann@example.test", &answer(&challenge[1..], "pencil", 2), Verdict::Accepted);
        check("ann@example.test", &answer(&challenge, "pencil", 1), Verdict::Stale);
    }

    #[test]
    fn each_count_is_good_once() {
        let mut window = Window::default();
        for (count, expect) in [
            (0, false),
            (3, true),
            (3, false),
            (1, true),
            (1, false),
            (2, true),
            (200, true),
            (73, true),
            (72, false),
            (3, false),
            (u32::MAX, true),
            (200, false),
        ] {
            assert_eq!(window.take(count), expect, "{count}");
        }
    }

    #[test]
    fn forgetting_a_nonce_never_opens_a_replay() {
        let mut authority = authority();
        let first = answer(&authority.challenge(START, false), "pencil", 1);
        let second = answer(&authority.challenge(START, false), "pencil", 1);
        assert_eq!(verify(&mut authority, START, &second, &vivian()), Verdict::Accepted);
        for _ in 0..MAX_NONCES {
            authority.issued += 1;
            authority.first_use(START, (START.as_micros(), authority.issued), 1);
        }
        assert_eq!(authority.windows.len(), MAX_NONCES);
        assert_eq!(verify(&mut authority, START, &second, &vivian()), Verdict::Stale);
        assert_eq!(verify(&mut authority, START, &first, &vivian()), Verdict::Stale);
    }
}
