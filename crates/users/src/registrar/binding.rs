//! One binding: where a user is to be reached, and until when (RFC 3261 §10.3).

use confab_machine::Time;
use confab_schema::uri::UserUri;
use confab_sip::{Flow, NameAddr, Text, Uri};
use serde::{Deserialize, Serialize};

/// Where one endpoint of a user is to be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Whose endpoint it is.
    pub user: UserUri,
    /// The Request-URI for requests to it.
    pub contact: Uri,
    /// The address of this endpoint alone; only clients of OCS that name their instance have one.
    pub gruu: Option<Uri>,
    /// How to reach it: requests go back along the path it registered by, whatever address its
    /// contact names, so that clients behind address translation are reached.
    pub flow: Flow,
    /// Routes to put before a request to it (RFC 3327), values of Path as received.
    pub path: Vec<Text>,
    /// Preference in thousandths (RFC 3261 §20.10), 1000 if it named none.
    pub q: u16,
    /// Which endpoint it is.
    pub endpoint: Endpoint,
    /// Whether it speaks the dialect of OCS.
    pub dialect: Dialect,
    /// When the binding ends unless it is refreshed.
    pub expires_at: Time,
    pub(super) call_id: String,
    pub(super) cseq: u32,
}

/// How a client tells that it is the same one as before.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint identifier of OCS, from the From of its requests.
    pub epid: Option<String>,
    /// `+sip.instance`, as written between its quotation marks.
    pub instance: Option<String>,
}

/// What a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// RFC 3261 and its extensions.
    Plain,
    /// MS-SIPREGE: provisioning, roaming data, enhanced presence.
    Ocs,
}

impl Endpoint {
    /// Whether there is anything that tells this endpoint from the user's others.
    pub fn is_named(&self) -> bool {
        self.epid.is_some() || self.instance.is_some()
    }
}

impl Binding {
    /// Whether `endpoint` with this contact is the client that made this binding.
    pub(super) fn belongs_to(&self, endpoint: &Endpoint, contact: &Uri) -> bool {
        if self.endpoint.is_named() || endpoint.is_named() {
            self.endpoint == *endpoint
        } else {
            self.contact.equivalent(contact)
        }
    }

    /// Whole seconds that are left of it.
    pub(super) fn seconds_left(&self, now: Time) -> u64 {
        self.expires_at.since(now).as_secs()
    }

    /// The Contact that lists it in the answer to a REGISTER.
    pub(super) fn to_contact(&self, now: Time) -> NameAddr {
        let mut contact = NameAddr::new(self.contact.clone());
        contact.params.set("expires", self.seconds_left(now).to_string());
        if self.q < 1000 {
            contact.params.set("q", format!("0.{:03}", self.q));
        }
        if let Some(instance) = &self.endpoint.instance {
            contact.params.set_quoted("+sip.instance", instance);
        }
        if let Some(gruu) = &self.gruu {
            contact.params.set_quoted("gruu", &gruu.to_string());
        }
        contact
    }
}

/// `q` in thousandths; what is unreadable counts as not there (RFC 3261 §25: 0 to 1, three digits).
pub(super) fn preference(contact: &NameAddr) -> u16 {
    let Some(text) = contact.params.get("q") else { return 1000 };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    match (whole, digits.len(), digits.parse()) {
        ("0", 3, Ok(thousandths)) => thousandths,
        _ => 1000,
    }
}

/// A URI in memory of its own: a binding outlives its REGISTER by hours.
pub(super) fn detached(uri: &Uri) -> Uri {
    uri.to_string().parse().expect("a URI that was read can be read again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences() {
        let check = |text: &str, expect: u16| {
            let contact: NameAddr = format!("<sip:a@b.test>{text}").parse().unwrap();
            assert_eq!(preference(&contact), expect, "{text}");
        };
        check("", 1000);
        check(";q=1", 1000);
        check(";q=1.0", 1000);
        check(";q=0", 0);
        check(";q=0.5", 500);
        check(";q=0.125", 125);
        check(";q=0.1255", 1000);
        check(";q=x", 1000);
    }
}
