//! Finding the server of a SIP domain: which names to look up, in which order, and which of the
//! SRV answers to try first (RFC 2782, RFC 3263 §4; the list is that of Office Communicator).
//!
//! Pure: the shell resolves the names and connects.

use confab_machine::Entropy;
use confab_sip::Transport;
use serde::{Deserialize, Serialize};

/// The port of SIP over TLS (RFC 3261 §19.1.2).
pub const TLS_PORT: u16 = 5061;
/// The port of SIP over TCP and UDP (RFC 3261 §19.1.2).
pub const TCP_PORT: u16 = 5060;
/// The port an access edge listens on for people outside.
pub const EDGE_PORT: u16 = 443;

/// One thing to ask the DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lookup {
    /// The SRV records of `name`; connect to their targets.
    Srv {
        /// `_sipinternaltls._tcp.example.test`
        name: String,
        /// What the targets speak.
        transport: Transport,
    },
    /// The addresses of `host`.
    Host {
        /// `sipinternal.example.test`
        host: String,
        /// Where it would listen.
        port: u16,
        /// What it would speak.
        transport: Transport,
    },
}

/// One SRV answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrvRecord {
    /// Lower ones are tried first.
    pub priority: u16,
    /// The share of clients it wants among those of its priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// The host; `.` says that the service does not exist here.
    pub target: String,
}

/// What to look up for the people of `domain`, in order: the first server that takes the
/// connection is the one.
pub fn lookups(domain: &str) -> Vec<Lookup> {
    let domain = domain.trim_end_matches('.');
    let srv = |service: &str, transport| Lookup::Srv { name: format!("{service}.{domain}"), transport };
    let host = |label: &str, port| Lookup::Host {
        host: format!("{label}.{domain}"),
        port,
        transport: Transport::Tls,
    };
    vec![
        srv("_sipinternaltls._tcp", Transport::Tls),
        srv("_sipinternal._tcp", Transport::Tcp),
        srv("_sip._tls", Transport::Tls),
        srv("_sip._tcp", Transport::Tcp),
        host("sipinternal", TLS_PORT),
        host("sipexternal", EDGE_PORT),
        host("sip", EDGE_PORT),
        host("sip", TLS_PORT),
    ]
}

/// The SRV answers in the order to try them: by priority, and among equals drawn by weight
/// (RFC 2782, "Usage rules"). Empty if the only answer says that there is no such service.
pub fn in_order_of_trial(answers: Vec<SrvRecord>, entropy: &mut Entropy) -> Vec<SrvRecord> {
    let mut left: Vec<SrvRecord> =
        answers.into_iter().filter(|answer| !answer.target.is_empty() && answer.target != ".").collect();
    // Those of weight zero come first, so that they keep a small chance.
    left.sort_by_key(|answer| (answer.priority, answer.weight));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let equals = left.iter().take_while(|answer| answer.priority == first.priority).count();
        ordered.push(left.remove(draw(&left[..equals], entropy)));
    }
    ordered
}

/// The index of one of `equals`, each as likely as its weight says.
fn draw(equals: &[SrvRecord], entropy: &mut Entropy) -> usize {
    let total: u64 = equals.iter().map(|answer| u64::from(answer.weight)).sum();
    let mark = entropy.number() % (total + 1);
    let mut sum = 0;
    for (index, answer) in equals.iter().enumerate() {
        sum += u64::from(answer.weight);
        if mark <= sum {
            return index;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord { priority, weight, port: TLS_PORT, target: target.to_owned() }
    }

    fn targets(answers: &[SrvRecord]) -> Vec<&str> {
        answers.iter().map(|answer| answer.target.as_str()).collect()
    }

    #[test]
    fn inside_before_outside_and_records_before_names() {
        let lines: Vec<String> = lookups("example.test.")
            .iter()
            .map(|lookup| match lookup {
                Lookup::Srv { name, transport } => format!("{name} {transport}"),
                Lookup::Host { host, port, transport } => format!("{host}:{port} {transport}"),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "_sipinternaltls._tcp.example.test tls",
                "_sipinternal._tcp.example.test tcp",
                "_sip._tls.example.test tls",
                "_sip._tcp.example.test tcp",
                "sipinternal.example.test:5061 tls",
                "sipexternal.example.test:443 tls",
                "sip.example.test:443 tls",
                "sip.example.test:5061 tls",
            ]
        );
    }

    #[test]
    fn priority_decides_before_weight() {
        let answers = vec![answer(20, 100, "late"), answer(10, 0, "soon"), answer(30, 0, "last")];
        let ordered = in_order_of_trial(answers, &mut Entropy::from_seed([1; 32]));
        assert_eq!(targets(&ordered), ["soon", "late", "last"]);
    }

    #[test]
    fn weight_decides_how_often_one_is_first() {
        let mut entropy = Entropy::from_seed([2; 32]);
        let mut heavy_first = 0;
        for _ in 0..1000 {
            let ordered =
                in_order_of_trial(vec![answer(1, 10, "light"), answer(1, 90, "heavy")], &mut entropy);
            assert_eq!(ordered.len(), 2);
            heavy_first += usize::from(ordered[0].target == "heavy");
        }
        assert!((850..950).contains(&heavy_first), "{heavy_first} of 1000");
    }

    #[test]
    fn weightless_answers_are_all_kept_and_a_dot_means_none() {
        let mut entropy = Entropy::from_seed([3; 32]);
        assert_eq!(in_order_of_trial(vec![answer(1, 0, "a"), answer(1, 0, "b")], &mut entropy).len(), 2);
        assert_eq!(in_order_of_trial(vec![answer(0, 0, ".")], &mut entropy), []);
    }
}
