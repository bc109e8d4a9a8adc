//! What a proxy decides about the responses to one request that it forwarded (RFC 3261 §16).
//!
//! [`forwardable`] prepares the request, [`Forward`] is the response context of §16.7: it hears
//! what each branch answers and says what to pass on and what to cancel. Where the branches lead,
//! routing and Record-Route, is the front end's own business and absent here, as is following a
//! redirection (§16.5): a 3xx goes back to who asked.

use std::{collections::BTreeMap, time::Duration};

use confab_machine::Time;

use crate::{ClientKey, Failure, Method, Request, Response, Text};

/// Max-Forwards of a request that came without (RFC 3261 §16.6).
const MAX_FORWARDS: u8 = 70;
/// Timer C: how long a branch of an INVITE may ring (§16.6 step 11, more than three minutes).
const TIMER_C: Duration = Duration::from_secs(3 * 60 + 10);
/// How many challenges of all branches together go back in one 401 or 407.
const MAX_CHALLENGES: usize = 32;

/// The copy of `request` to send on, one hop older (RFC 3261 §16.3, §16.6). `understood` are the
/// option tags this proxy honours in Proxy-Require.
///
/// # Errors
/// The refusal to send instead: 483 when it has gone too far, 420 when it requires of a proxy what
/// this one does not do, 400 when Max-Forwards cannot be read.
pub fn forwardable(request: &Request, understood: &[&str]) -> Result<Request, Response> {
    let hops = request.headers.max_forwards().map_err(|fault| Response::to(request, fault.status()))?;
    if hops == Some(0) {
        return Err(Response::to(request, 483));
    }
    let known = |tag: &Text| understood.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let unknown: Vec<Text> =
        request.headers.list("Proxy-Require").into_iter().filter(|tag| !known(tag)).collect();
    if !unknown.is_empty() {
        let list = unknown.iter().map(Text::as_str).collect::<Vec<_>>().join(", ");
        return Err(Response::to(request, 420).with_header("Unsupported", list));
    }
    let mut copy = request.clone();
    copy.headers.set("Max-Forwards", hops.map_or(MAX_FORWARDS, |hops| hops - 1).to_string());
    Ok(copy)
}

/// What the response context wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum ForwardOutput {
    /// Answer the request with this; our own Via is off it already.
    Respond(Response),
    /// Give this branch up ([`crate::Transactions::cancel`]).
    Cancel(ClientKey),
}

/// The response context of one forwarded request.
#[derive(Debug)]
pub struct Forward {
    request: Request,
    branches: BTreeMap<ClientKey, Branch>,
    /// All final responses but 2xx; the best goes back when no branch is pending.
    refusals: Vec<Response>,
    /// A final response went back.
    answered: bool,
    /// Who asked gave up.
    cancelled: bool,
}

#[derive(Debug)]
struct Branch {
    pending: bool,
    rang: bool,
    cancelled: bool,
    /// When timer C runs out.
    until: Option<Time>,
}

impl Forward {
    /// The context of `request`, as it came, not as it was sent on.
    pub fn new(request: Request) -> Forward {
        Forward {
            request,
            branches: BTreeMap::new(),
            refusals: Vec::new(),
            answered: false,
            cancelled: false,
        }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The request was sent on a branch. All branches are added before any of their outcomes is
    /// told: otherwise the refusal of the first could go back while others have yet to ring.
    pub fn add(&mut self, now: Time, key: ClientKey) {
        let until = (self.request.method == Method::Invite).then(|| now + TIMER_C);
        self.branches.insert(key, Branch { pending: true, rang: false, cancelled: false, until });
    }

    /// A response came on a branch, its top Via taken off.
    pub fn receive(&mut self, now: Time, key: &ClientKey, response: Response, out: &mut Vec<ForwardOutput>) {
        let Some(branch) = self.branches.get_mut(key) else { return };
        match response.status {
            0..=100 => branch.rang = true,
            101..=199 => {
                branch.rang = true;
                if branch.until.is_some() {
                    branch.until = Some(now + TIMER_C);
                }
                if !self.answered {
                    out.push(ForwardOutput::Respond(response));
                }
            }
            200..=299 => {
                branch.pending = false;
                // Each 2xx to INVITE is a dialog that its sender must hear of; of other methods
                // only the first counts (RFC 3261 §16.7 step 5).
                if self.request.method == Method::Invite || !self.answered {
                    out.push(ForwardOutput::Respond(response));
                }
                self.answered = true;
                self.cancel_pending(out);
            }
            status => {
                branch.pending = false;
                self.refusals.push(response);
                if status >= 600 {
                    self.cancel_pending(out);
                }
                self.conclude(out);
            }
        }
    }

    /// A branch came to nothing, or could not even be begun.
    pub fn fail(&mut self, key: &ClientKey, reason: Failure, out: &mut Vec<ForwardOutput>) {
        let Some(branch) = self.branches.get_mut(key).filter(|branch| branch.pending) else { return };
        branch.pending = false;
        let status = match reason {
            Failure::Timeout if branch.cancelled => 487,
            Failure::Timeout => 408,
            Failure::Transport | Failure::Overload => 503,
        };
        self.refusals.push(Response::to(&self.request, status));
        self.conclude(out);
    }

    /// Who asked gave the INVITE up. The branches' 487s will answer it.
    pub fn cancel(&mut self, out: &mut Vec<ForwardOutput>) {
        self.cancelled = true;
        self.cancel_pending(out);
        self.conclude(out);
    }

    /// Whether a final response went back and no branch is pending, so that nothing but a repeated
    /// 2xx can come any more.
    pub fn is_done(&self) -> bool {
        self.answered && !self.is_pending()
    }

    /// When to call [`Forward::handle_timeout`], if nothing happens first.
    pub fn deadline(&self) -> Option<Time> {
        self.branches.values().filter(|branch| branch.pending).filter_map(|branch| branch.until).min()
    }

    /// Timer C of some branch has run out: it has rung for too long, or was silent.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Vec<ForwardOutput>) {
        for (key, branch) in &mut self.branches {
            if !branch.pending || branch.until.is_none_or(|until| until > now) {
                continue;
            }
            branch.until = None;
            if branch.rang {
                // Its 487, or the failure of its transaction, ends it.
                cancel(key, branch, out);
            } else {
                branch.pending = false;
                self.refusals.push(Response::to(&self.request, 408));
            }
        }
        self.conclude(out);
    }

    fn is_pending(&self) -> bool {
        self.branches.values().any(|branch| branch.pending)
    }

    fn cancel_pending(&mut self, out: &mut Vec<ForwardOutput>) {
        // Only an INVITE can be cancelled (RFC 4320 §4.1).
        if self.request.method == Method::Invite {
            for (key, branch) in &mut self.branches {
                cancel(key, branch, out);
            }
        }
    }

    /// Sends the best refusal back, if it is time.
    fn conclude(&mut self, out: &mut Vec<ForwardOutput>) {
        if self.answered || self.is_pending() {
            return;
        }
        self.answered = true;
        out.push(ForwardOutput::Respond(self.best_refusal()));
    }

    /// RFC 3261 §16.7 steps 6 and 7: a global failure before all, else the lowest class, and in it
    /// what tells the most; with the challenges of all branches.
    fn best_refusal(&mut self) -> Response {
        let refusals = std::mem::take(&mut self.refusals);
        let mut best = match refusals.iter().min_by_key(|refusal| rank(refusal.status)) {
            Some(best) => best.clone(),
            None if self.cancelled => Response::to(&self.request, 487),
            // Nobody to ask.
            None => Response::to(&self.request, 480),
        };
        if matches!(best.status, 401 | 407) {
            gather_challenges(&mut best, &refusals);
        }
        let status = match best.status {
            // That one next hop is unavailable does not mean that this proxy is.
            503 => 500,
            // Deviation: a timeout of another request than INVITE is answered by 504; OCS clients still wait then.
            408 if self.request.method != Method::Invite => 504,
            status => status,
        };
        if status != best.status {
            best.status = status;
            best.reason = crate::reason_phrase(status).into();
            best.headers.remove("Retry-After");
        }
        best
    }
}

fn cancel(key: &ClientKey, branch: &mut Branch, out: &mut Vec<ForwardOutput>) {
    if branch.pending && !std::mem::replace(&mut branch.cancelled, true) {
        out.push(ForwardOutput::Cancel(key.clone()));
    }
}

/// The lower, the rather it goes back.
fn rank(status: u16) -> (u16, u16) {
    let class = status / 100;
    let within = match status {
        401 | 407 => 0,
        415 | 420 | 484 => 1,
        // These say the least: not answered in time, not found at this place, given up, overloaded.
        408 | 487 | 503 => 9,
        404 | 480 => 4,
        _ => 2,
    };
    (if class == 6 { 0 } else { class }, within)
}

/// Adds to `best` the challenges that the other refusals bear (RFC 3261 §16.7 step 7), so that the
/// client can answer all of them at once.
fn gather_challenges(best: &mut Response, refusals: &[Response]) {
    for name in ["WWW-Authenticate", "Proxy-Authenticate"] {
        best.headers.remove(name);
        let bearers = refusals.iter().filter(|refusal| matches!(refusal.status, 401 | 407));
        for challenge in bearers.flat_map(|refusal| refusal.headers.all(name)).take(MAX_CHALLENGES) {
            best.headers.push(name, challenge);
        }
    }
}

#[cfg(test)]
mod tests {
    use confab_machine::Entropy;

    use super::*;
    use crate::{Flow, Message, Transactions, Transport};

    const START: Time = Time::from_unix_secs(1_000);

    fn request(method: &str, lines: &str) -> Request {
        let text = format!(
            "{method} sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/TCP host.test;branch=z9hG4bK1\r\n\
             From: <sip:ann@example.test>;tag=near\r\nTo: <sip:bob@example.test>\r\nCall-ID: call\r\n\
             CSeq: 1 {method}\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(text.into()).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => unreachable!("it was printed as a request"),
        }
    }

    /// A request that was forwarded to three places, and their keys.
    struct Case {
        forward: Forward,
        keys: Vec<ClientKey>,
        out: Vec<ForwardOutput>,
    }

    impl Case {
        fn new(method: &str, branches: usize) -> Case {
            let mut transactions = Transactions::new(Entropy::from_seed([1; 32]), 9);
            let flow = Flow { id: 1, transport: Transport::Tcp };
            let mut forward = Forward::new(request(method, ""));
            let mut key = || {
                let copy = request(method, "");
                let key = transactions.request(START, flow, "proxy.test", copy, &mut Vec::new());
                forward.add(START, key.clone());
                key
            };
            let keys = (0..branches).map(|_| key()).collect();
            Case { forward, keys, out: Vec::new() }
        }

        /// `step`: "0 180" for a response on a branch, "0 Timeout", "cancel", or "+9s" for timers.
        fn play(&mut self, step: &str) {
            if step == "cancel" {
                return self.forward.cancel(&mut self.out);
            }
            if let Some(seconds) = step.strip_prefix('+') {
                let now = START + Duration::from_secs(seconds.parse().unwrap());
                return self.forward.handle_timeout(now, &mut self.out);
            }
            let (branch, what) = step.split_once(' ').unwrap();
            let key = &self.keys[branch.parse::<usize>().unwrap()];
            match what {
                "Timeout" => self.forward.fail(key, Failure::Timeout, &mut self.out),
                "Transport" => self.forward.fail(key, Failure::Transport, &mut self.out),
                status => {
                    let response = Response::to(self.forward.request(), status.parse().unwrap());
                    self.forward.receive(START, key, response, &mut self.out);
                }
            }
        }

        fn said(&self) -> Vec<String> {
            let word = |output: &ForwardOutput| match output {
                ForwardOutput::Respond(response) => response.status.to_string(),
                ForwardOutput::Cancel(key) => {
                    format!("cancel {}", self.keys.iter().position(|other| other == key).unwrap())
                }
            };
            self.out.iter().map(word).collect()
        }
    }

    fn check(method: &str, branches: usize, steps: &[&str], expect: &[&str]) {
        let mut case = Case::new(method, branches);
        // Keys are random: give the branches in the order of their keys.
        case.keys.sort();
        for step in steps {
            assert!(!case.forward.is_done(), "{steps:?}: done before {step}");
            case.play(step);
        }
        assert_eq!(case.said(), expect, "{steps:?}");
    }

    #[test]
    fn answers_of_an_invite() {
        check("INVITE", 1, &["0 100", "0 180", "0 200"], &["180", "200"]);
        check("INVITE", 1, &["0 486"], &["486"]);
        check("INVITE", 3, &["0 180", "1 183", "1 200"], &["180", "183", "200", "cancel 0", "cancel 2"]);
        check("INVITE", 2, &["0 200", "1 180", "1 200"], &["200", "cancel 1", "200"]);
        check("INVITE", 2, &["0 200", "1 487"], &["200", "cancel 1"]);
        check("INVITE", 2, &["0 603", "1 487"], &["cancel 1", "603"]);
        check("INVITE", 2, &["0 603", "1 200"], &["cancel 1", "200"]);
        check("INVITE", 2, &["0 302", "1 486"], &["302"]);
        check("INVITE", 2, &["0 Timeout", "1 486"], &["486"]);
        check("INVITE", 2, &["0 Transport", "1 Timeout"], &["408"]);
        check("INVITE", 1, &["0 Transport"], &["500"]);
        check("INVITE", 1, &["0 503"], &["500"]);
        check("INVITE", 3, &["0 404", "1 407", "2 486"], &["407"]);
        check("INVITE", 3, &["0 404", "1 486", "2 408"], &["486"]);
        check("INVITE", 0, &["cancel"], &["487"]);
    }

    #[test]
    fn answers_of_other_methods() {
        check("MESSAGE", 2, &["0 200"], &["200"]);
        check("MESSAGE", 2, &["0 200", "1 200"], &["200"]);
        check("MESSAGE", 2, &["0 480", "1 200"], &["200"]);
        check("MESSAGE", 2, &["0 603", "1 480"], &["603"]);
        check("MESSAGE", 1, &["0 Timeout"], &["504"]);
    }

    #[test]
    fn cancelling() {
        check("INVITE", 2, &["0 180", "cancel", "0 487", "1 487"], &["180", "cancel 0", "cancel 1", "487"]);
        check("INVITE", 2, &["cancel", "0 Timeout", "1 Timeout"], &["cancel 0", "cancel 1", "487"]);
        check("INVITE", 2, &["cancel", "0 200", "1 487"], &["cancel 0", "cancel 1", "200"]);
        check("INVITE", 2, &["cancel", "cancel", "0 487"], &["cancel 0", "cancel 1"]);
    }

    #[test]
    fn timer_c() {
        check("INVITE", 2, &["0 180", "+189", "+190", "0 487"], &["180", "cancel 0", "408"]);
        let mut case = Case::new("INVITE", 1);
        assert_eq!(case.forward.deadline(), Some(START + TIMER_C));
        case.play("0 180");
        case.play("+190");
        assert_eq!((case.forward.deadline(), case.forward.is_done()), (None, false));
        case.play("0 Timeout");
        assert_eq!(case.said(), ["180", "cancel 0", "487"]);
        assert!(case.forward.is_done());
        assert_eq!(Case::new("MESSAGE", 1).forward.deadline(), None);
    }

    #[test]
    fn challenges_of_all_branches_go_back() {
        let mut case = Case::new("INVITE", 3);
        let refusals = [
            (401, "WWW-Authenticate", "NTLM realm=\"a\""),
            (407, "Proxy-Authenticate", "Digest realm=\"b\""),
            (404, "WWW-Authenticate", "Digest realm=\"c\""),
        ];
        for (key, (status, name, value)) in case.keys.iter().zip(refusals) {
            let response = Response::to(case.forward.request(), status).with_header(name, value);
            case.forward.receive(START, key, response, &mut case.out);
        }
        let [ForwardOutput::Respond(response)] = case.out.as_slice() else { panic!("{:?}", case.out) };
        assert_eq!(response.status, 401);
        let challenges = |name| response.headers.all(name).map(Text::as_str).collect::<Vec<_>>();
        assert_eq!(challenges("WWW-Authenticate"), ["NTLM realm=\"a\""]);
        assert_eq!(challenges("Proxy-Authenticate"), ["Digest realm=\"b\""]);
    }

    #[test]
    fn requests_are_checked_and_grow_older() {
        fn check(lines: &str, expect: Result<&str, u16>) {
            let made = forwardable(&request("INVITE", lines), &["ms-benotify"]);
            let hops = made.as_ref().map(|copy| copy.headers.get("Max-Forwards").unwrap().as_str());
            assert_eq!(hops.map_err(|refusal| refusal.status), expect, "{lines}");
        }
        check("Max-Forwards: 70\r\n", Ok("69"));
        check("Max-Forwards: 1\r\n", Ok("0"));
        check("Max-Forwards: 0\r\n", Err(483));
        check("", Ok("70"));
        check("Proxy-Require: MS-benotify\r\n", Ok("70"));
        check("Proxy-Require: ms-benotify, teleport\r\n", Err(420));
        let refusal = forwardable(&request("INVITE", "Proxy-Require: teleport\r\n"), &[]).unwrap_err();
        assert_eq!(refusal.headers.get("Unsupported").unwrap(), &"teleport");
    }
}
