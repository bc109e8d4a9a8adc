//! Step 8: the links to MCUs, in this process and in others. A link is opened when its MCU
//! takes a conference, and opened again when it breaks: at once, and then with growing pauses, until
//! nobody has wanted it for a while.

use std::{collections::BTreeMap, time::Duration};

use confab_conference::reason::Reason;
use confab_machine::Time;
use confab_schema::uri::McuUri;
use confab_sip::{Flow, ServerKey, Uri};

use super::{Action, FrontEnd};
use crate::inproc::INPROC;

/// Links there may be.
const LINK_LIMIT: usize = 1000;
/// INVITEs that may wait for one link.
const WAITING_LIMIT: usize = 10_000;
/// The longest pause between two attempts.
const PAUSE_LIMIT: Duration = Duration::from_secs(30);
/// For so long after a link was opened again its server may not have its conferences yet.
const RENEWED: Duration = Duration::from_secs(5);
/// A link that cannot be opened is given up when nobody has wanted it for this long.
const PATIENCE: Duration = Duration::from_secs(300);

/// The links, by the MCU's SIP URI.
#[derive(Default)]
pub(super) struct McuLinks {
    links: BTreeMap<String, Link>,
}

pub(super) struct Link {
    state: State,
    /// Attempts in a row that failed.
    failures: u32,
    /// Whether it has ever stood.
    has_stood: bool,
    /// When it was last of use.
    wanted: Time,
    /// INVITEs that go out when it stands.
    waiting: Vec<ServerKey>,
}

enum State {
    Opening,
    Open {
        flow: Flow,
        /// Since when, if it stood before.
        again_since: Option<Time>,
    },
    /// The next attempt is at this time.
    Resting(Time),
}

impl McuLinks {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.links.values().filter_map(Link::rests_until).min()
    }

    /// Whether the link to `server_uri` has just been opened again: the server may have been started
    /// again as well.
    pub(super) fn is_renewed(&self, now: Time, server_uri: &str) -> bool {
        let state = self.links.get(server_uri).map(|link| &link.state);
        matches!(state, Some(State::Open { again_since: Some(since), .. }) if now.since(*since) < RENEWED)
    }

    /// The link to `server_uri`, which is opened now unless that is under way; `None` if none can
    /// lead there or there are too many.
    pub(super) fn want(&mut self, now: Time, server_uri: &str, out: &mut Vec<Action>) -> Option<&mut Link> {
        let known = self.links.contains_key(server_uri);
        if !known && (!can_be_linked(server_uri) || self.links.len() >= LINK_LIMIT) {
            return None;
        }
        let link = self.links.entry(server_uri.to_owned()).or_insert_with(|| Link {
            state: State::Resting(now),
            failures: 0,
            has_stood: false,
            wanted: now,
            waiting: Vec::new(),
        });
        link.wanted = now;
        if matches!(link.state, State::Resting(_)) {
            link.open_again(server_uri, out);
        }
        Some(link)
    }
}

impl Link {
    fn rests_until(&self) -> Option<Time> {
        match self.state {
            State::Resting(until) => Some(until),
            State::Opening | State::Open { .. } => None,
        }
    }

    fn open_again(&mut self, server_uri: &str, out: &mut Vec<Action>) {
        self.state = State::Opening;
        out.push(Action::LinkMcu { server_uri: server_uri.to_owned() });
    }
}

impl FrontEnd {
    /// An INVITE may pass to an MCU to which there is no link now: it waits for one.
    pub(super) fn forward_once_linked(
        &mut self,
        now: Time,
        key: &ServerKey,
        server_uri: &str,
        out: &mut Vec<Action>,
    ) {
        if !self.mcu_invites.contains_key(key) {
            return;
        }
        match self.links.want(now, server_uri, out) {
            Some(link) if link.waiting.len() < WAITING_LIMIT => link.waiting.push(key.clone()),
            _ => self.refuse_mcu_invite(now, key, Reason::McuUnavailable, out),
        }
    }

    /// An MCU has a conference of ours: it may want to call somebody before anybody comes.
    pub(super) fn mcu_provisioned(&mut self, now: Time, server_uri: &str, out: &mut Vec<Action>) {
        if !self.mcus.contains_key(server_uri) {
            self.links.want(now, server_uri, out);
        }
    }

    /// Dialogs with `mcu` go on at `server_uri`, to which a link is opened if there is none, and with
    /// them what its predecessor has not answered.
    pub(super) fn mcu_moved(&mut self, now: Time, mcu: McuUri, server_uri: String, out: &mut Vec<Action>) {
        self.mcu_provisioned(now, &server_uri, out);
        self.places.set(mcu.clone(), server_uri);
        self.send_held_of(now, &mcu, out);
    }

    /// A link stands, and its MCU has proved to be one.
    pub(super) fn linked(&mut self, now: Time, server_uri: String, flow: Flow, out: &mut Vec<Action>) {
        self.trusted.insert(flow, server_uri.clone());
        self.mcus.insert(server_uri.clone(), flow);
        let Some(link) = self.links.links.get_mut(&server_uri) else { return };
        link.state = State::Open { flow, again_since: link.has_stood.then_some(now) };
        link.has_stood = true;
        link.failures = 0;
        link.wanted = now;
        for key in std::mem::take(&mut link.waiting) {
            self.forward_to_mcu(now, &key, &server_uri, out);
        }
        self.send_held_for(now, &server_uri, out);
    }

    /// A link could not be opened.
    pub(super) fn unlinked(&mut self, now: Time, server_uri: &str, out: &mut Vec<Action>) {
        let Some(link) = self.links.links.get_mut(server_uri) else { return };
        let waiting = std::mem::take(&mut link.waiting);
        if now.since(link.wanted) > PATIENCE {
            self.links.links.remove(server_uri);
        } else {
            let pause = Duration::from_secs(1 << link.failures.min(5)).min(PAUSE_LIMIT);
            link.failures += 1;
            link.state = State::Resting(now + pause);
        }
        for key in waiting {
            self.refuse_mcu_invite(now, &key, Reason::McuUnavailable, out);
        }
    }

    /// A connection has ended; if it was a link, it is opened again.
    pub(super) fn link_closed(&mut self, now: Time, flow: Flow, out: &mut Vec<Action>) {
        for (server_uri, link) in &mut self.links.links {
            if matches!(link.state, State::Open { flow: open, .. } if open == flow) {
                link.wanted = now;
                link.open_again(server_uri, out);
            }
        }
    }

    /// The pauses of some links are over.
    pub(super) fn links_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        for (server_uri, link) in &mut self.links.links {
            if link.rests_until().is_some_and(|until| until <= now) {
                link.open_again(server_uri, out);
            }
        }
    }
}

/// Whether an MCU's SIP URI leads to where a link can be opened: within this process, or over TLS.
fn can_be_linked(server_uri: &str) -> bool {
    server_uri.parse::<Uri>().is_ok_and(|uri| {
        uri.host.ends_with(INPROC)
            || uri.param("transport").is_some_and(|name| name.eq_ignore_ascii_case("tls"))
    })
}
