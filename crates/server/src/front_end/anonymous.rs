//! People who have not signed in (MS-SIPAE §4.5, c3p §7.2): by Digest they prove that they know the
//! conference's key. From then on the connection they did it on speaks for their made-up address, to
//! this conference's Focus and MCUs and to nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use confab_conference::{
    conference_key::ConferenceKey,
    policy::{self, Identity},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::uri::{ConferenceUri, OpaqueTarget, UserUri};
use confab_sip::{
    Flow, Request, Response, ServerKey,
    auth::{self, Algorithm, Asker, DigestAuthority, Ha1s, Verdict},
};

use super::{Action, Arrival, FrontEnd, Unavailable, authenticate::credentials};
use crate::{focus_host::Sender, refusal};

/// The host of an address that is nobody's (RFC 3323 §4.1.1.3).
pub(crate) const ANONYMOUS_DOMAIN: &str = "anonymous.invalid";
/// What somebody is called who gives no name.
const NAMELESS: &str = "Guest";
/// The longest name that is shown, in characters.
const NAME_LIMIT: usize = 64;
/// Requests that may wait for the database at once; those of people who sign in wait elsewhere.
const WAITING_LIMIT: usize = 1_000;
/// Conferences and addresses that one connection may have proved a key for.
const ASSOCIATIONS_PER_FLOW: usize = 16;
/// Wrong keys that one connection may give.
const WRONG_PER_FLOW: u32 = 3;
/// Wrong keys that everybody together may give for one conference in [`WINDOW`]. Short keys are not
/// to be guessed within a conference's life; who is in does not notice.
const WRONG_PER_CONFERENCE: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Conferences whose wrong keys are counted at once.
const COUNTED_CONFERENCES: usize = 10_000;

/// Whom a connection speaks for, and to which conference.
type Place = (ConferenceUri, UserUri);

/// Who has not signed in, and what he has proved.
pub(super) struct Anonymous {
    authority: DigestAuthority,
    associations: BTreeMap<Place, Association>,
    flows: BTreeMap<Flow, Tally>,
    /// Since when how many wrong keys were given for a conference.
    wrong: BTreeMap<ConferenceUri, (Time, u32)>,
    waiting: BTreeMap<u64, Waiting>,
}

/// Somebody who has proved that he knows the key. Nobody else has his address there meanwhile.
struct Association {
    flow: Flow,
    /// The challenge's, which his later requests name.
    opaque: Option<String>,
    display_name: String,
}

/// What came of a connection so far.
#[derive(Default)]
struct Tally {
    places: BTreeSet<Place>,
    wrong: u32,
}

/// A request that waits for its conference's key.
struct Waiting {
    arrival: Arrival,
    place: Place,
}

impl Anonymous {
    /// Nobody is known yet; `authority` challenges in the organizers' realms.
    pub(super) fn new(authority: DigestAuthority) -> Anonymous {
        Anonymous {
            authority,
            associations: BTreeMap::new(),
            flows: BTreeMap::new(),
            wrong: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// What to call him who has proved the key on this flow. An answer to another challenge than the
    /// one he proved it by is looked at anew.
    fn known(&self, place: &Place, flow: Flow, request: &Request) -> Option<String> {
        let association = self.associations.get(place).filter(|known| known.flow == flow)?;
        let given = credentials(request).and_then(|header| auth::credentials(header).ok());
        let same = given.is_none_or(|given| given.opaque == association.opaque);
        same.then(|| association.display_name.clone())
    }

    /// Whether so many wrong keys came by this flow that it gets no further answer.
    fn is_shut_out(&self, flow: Flow) -> bool {
        self.flows.get(&flow).is_some_and(|tally| tally.wrong >= WRONG_PER_FLOW)
    }

    /// Whether so many wrong keys were given for this conference lately that none is looked at.
    fn is_besieged(&self, now: Time, conference: &ConferenceUri) -> bool {
        let lately = self.wrong.get(conference).filter(|(since, _)| now.since(*since) < WINDOW);
        lately.is_some_and(|(_, count)| *count >= WRONG_PER_CONFERENCE)
    }

    /// Whether a key was proved on this flow.
    pub(super) fn is_believed(&self, flow: Flow) -> bool {
        self.flows.get(&flow).is_some_and(|tally| !tally.places.is_empty())
    }

    fn count_wrong(&mut self, now: Time, flow: Flow, conference: &ConferenceUri) {
        self.flows.entry(flow).or_default().wrong += 1;
        if self.wrong.len() >= COUNTED_CONFERENCES {
            self.wrong.retain(|_, (since, _)| now.since(*since) < WINDOW);
        }
        // One that is not counted any more is looked for among too many to be found.
        if self.wrong.len() >= COUNTED_CONFERENCES && !self.wrong.contains_key(conference) {
            self.wrong.pop_first();
        }
        let (since, count) = self.wrong.entry(conference.clone()).or_insert((now, 0));
        if now.since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }

    /// From now on `flow` speaks for this person in this conference.
    fn associate(&mut self, place: &Place, association: Association) -> Result<(), Reason> {
        let elsewhere = |known: &Association| known.flow != association.flow;
        if self.associations.get(place).is_some_and(elsewhere) {
            return Err(Reason::AnonymousTwice);
        }
        let tally = self.flows.entry(association.flow).or_default();
        if tally.places.len() >= ASSOCIATIONS_PER_FLOW && !tally.places.contains(place) {
            return Err(Reason::Busy);
        }
        tally.places.insert(place.clone());
        self.associations.insert(place.clone(), association);
        Ok(())
    }

    /// The connection is gone, and with it what was proved on it.
    pub(super) fn flow_closed(&mut self, flow: Flow) {
        for place in self.flows.remove(&flow).unwrap_or_default().places {
            self.associations.remove(&place);
        }
        self.waiting.retain(|_, waiting| waiting.arrival.flow != flow);
    }
}

/// Whether a request comes from an address that is nobody's.
pub(super) fn is_anonymous(request: &Request) -> bool {
    request.headers.from().is_ok_and(|from| from.uri.host.eq_ignore_ascii_case(ANONYMOUS_DOMAIN))
}

impl FrontEnd {
    // Deviation: the texts show TLS alone; TCP does, and datagrams do not, for they belong to nobody.
    /// A request of somebody who has not signed in: he may reach the conferences whose keys he
    /// proves to know.
    pub(super) fn anonymous_arrived(&mut self, now: Time, arrival: Arrival, out: &mut Vec<Action>) {
        let Arrival { key, flow, request } = &arrival;
        let place = match self.anonymous_place(*flow, request) {
            Ok(place) => place,
            Err(reason) => return self.refuse_for(now, key, request, reason, out),
        };
        if !flow.transport.reliable() {
            let sentence = "Join over TCP or TLS: by single datagrams nobody can be told from another.";
            return self.refuse(now, key, request, 403, sentence, out);
        }
        let Some(anonymous) = &mut self.anonymous else { return };
        if let Some(display_name) = anonymous.known(&place, *flow, request) {
            let sender = Sender { user: place.1, identity: Identity::Anonymous, display_name };
            return self.route(now, arrival, sender, out);
        }
        if anonymous.waiting.len() >= WAITING_LIMIT {
            return self.refuse_for(now, key, request, Reason::Busy, out);
        }
        self.last_lookup += 1;
        let lookup = self.last_lookup;
        out.push(Action::LookUpKey { lookup, conference: place.0.clone() });
        anonymous.waiting.insert(lookup, Waiting { arrival, place });
    }

    /// To which conference, and as whom; or why not at all.
    fn anonymous_place(&self, flow: Flow, request: &Request) -> Result<Place, Reason> {
        let target = OpaqueTarget::parse(&request.uri.to_string());
        let conference = policy::anonymous_conference(&target)?.clone();
        let anonymous = self.anonymous.as_ref().ok_or(Reason::AnonymousNotAllowed)?;
        if anonymous.is_shut_out(flow) {
            return Err(Reason::TooManyKeys);
        }
        let from = request.headers.from().map_err(|_| Reason::BadFrom)?;
        let user = UserUri::parse(&from.uri.aor()).map_err(|_| Reason::BadFrom)?;
        Ok((conference, user))
    }

    /// The key of the conference that somebody wants to reach came; `None` if it admits nobody who
    /// has not signed in, or is none.
    pub(super) fn key_looked_up(
        &mut self,
        now: Time,
        lookup: u64,
        found: Result<Option<ConferenceKey>, Unavailable>,
        out: &mut Vec<Action>,
    ) {
        let Some(anonymous) = &mut self.anonymous else { return };
        let Some(Waiting { arrival, place }) = anonymous.waiting.remove(&lookup) else { return };
        let Arrival { key, flow, request } = &arrival;
        let conference_key = match found {
            Ok(Some(found)) => found,
            Ok(None) => return self.refuse_for(now, key, request, Reason::AnonymousNotAllowed, out),
            Err(Unavailable) => return self.refuse_for(now, key, request, Reason::StoreUnavailable, out),
        };
        let Some(header) = credentials(request) else {
            return self.ask_for_key(now, &arrival, &place, false, out);
        };
        // Checked here, for answers that came together wait for the database together.
        if anonymous.is_shut_out(*flow) || anonymous.is_besieged(now, &place.0) {
            return self.refuse_for(now, key, request, Reason::TooManyKeys, out);
        }
        let realm = place.0.organizer.address();
        let given = auth::credentials(header).ok();
        // Deviation: no text shows the user name; he may call himself what he likes, if he knows the key.
        let name = given.as_ref().map_or("", |given| &given.username);
        let ha1s = Ha1s::of(name, realm, conference_key.reveal());
        let asked = (&request.method, &request.uri);
        match anonymous.authority.verify_in(now, realm, asked, header, &ha1s) {
            Verdict::Accepted => {
                let opaque = given.and_then(|given| given.opaque);
                self.let_in(now, arrival, place, opaque, out);
            }
            Verdict::Stale => self.ask_for_key(now, &arrival, &place, true, out),
            Verdict::Wrong => {
                anonymous.count_wrong(now, *flow, &place.0);
                if anonymous.is_shut_out(*flow) {
                    return self.refuse_for(now, key, request, Reason::TooManyKeys, out);
                }
                self.ask_for_key(now, &arrival, &place, false, out);
            }
            Verdict::Malformed => {
                let sentence = "The answer to the challenge cannot be read.";
                self.refuse(now, key, request, 400, sentence, out);
            }
        }
    }

    /// He knows the key.
    fn let_in(
        &mut self,
        now: Time,
        arrival: Arrival,
        place: Place,
        opaque: Option<String>,
        out: &mut Vec<Action>,
    ) {
        let Some(anonymous) = &mut self.anonymous else { return };
        let Arrival { key, flow, request } = &arrival;
        let display_name = shown_name(request);
        let association = Association { flow: *flow, opaque, display_name: display_name.clone() };
        if let Err(reason) = anonymous.associate(&place, association) {
            return self.refuse_for(now, key, request, reason, out);
        }
        out.push(Action::Believe { flow: *flow });
        let sender = Sender { user: place.1, identity: Identity::Anonymous, display_name };
        self.route(now, arrival, sender, out);
    }

    /// 401 in the realm of the organizer, whatever the method (MS-SIPAE §4.5).
    fn ask_for_key(
        &mut self,
        now: Time,
        arrival: &Arrival,
        (conference, _): &Place,
        stale: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(anonymous) = &mut self.anonymous else { return };
        let opaque = self.entropy.hex::<4>();
        let realm = conference.organizer.address();
        // Deviation: MS-SIPAE shows MD5-sess alone. Clients of that kind name an epid; plain phones give up at a
        // challenge with a hash they do not know, wherever it stands, and know no MD5-sess.
        let is_ms = arrival.request.headers.from().is_ok_and(|from| from.epid().is_some());
        let mut challenges = anonymous.authority.challenge_in(now, realm, &opaque, stale);
        challenges.retain(|challenge| is_ms || challenge.algorithm != Algorithm::Md5Sess);
        let mut response = Response::to(&arrival.request, Asker::Server.status());
        for challenge in challenges {
            response = response.with_header(Asker::Server.challenge_header(), challenge.to_string());
        }
        self.respond(now, &arrival.key, response, out);
    }

    fn refuse_for(
        &mut self,
        now: Time,
        key: &ServerKey,
        request: &Request,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let response = refusal::response(request, reason, &self.addresses.name);
        self.respond(now, key, response, out);
    }
}

/// What to call somebody who has not signed in: what he says, within limits.
fn shown_name(request: &Request) -> String {
    let claimed = request.headers.from().ok().and_then(|from| from.display_name);
    let claimed = claimed.as_ref().map_or("", |name| name.trim());
    let name: String = claimed.chars().filter(|c| !c.is_control()).take(NAME_LIMIT).collect();
    if name.is_empty() { NAMELESS.to_owned() } else { name }
}
