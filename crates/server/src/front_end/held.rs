//! Requests within dialogs with MCUs, from their arrival to their answer. While an MCU cannot be
//! reached they wait, and when a successor goes on in its dialogs it gets what was not answered:
//! nobody loses a word because a server did. Nor because he left right after it: what the same
//! connection then wants of the Focus waits for the answer.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use confab_conference::reason::Reason;
use confab_machine::Time;
use confab_schema::uri::{ConferenceUri, McuType, McuUri};
use confab_sip::{Flow, Method, Request, Response, ServerKey};

use super::{Action, Arrival, FrontEnd, tell};
use crate::{focus_host, refusal};

/// How long a request may wait: whoever sent it gives up after 32 s (64 × T1).
const WAIT_LIMIT: Duration = Duration::from_secs(25);
/// Requests held at once. Further ones are sent on and then forgotten.
const HELD_LIMIT: usize = 10_000;
/// How often one request is sent: a message that kills servers shall not kill them all.
const SEND_LIMIT: u32 = 2;
/// For so long a request to the Focus waits for what was said before it.
const ORDER_LIMIT: Duration = Duration::from_secs(1);

/// The requests, in the order in which they came.
#[derive(Default)]
pub(super) struct Held {
    requests: BTreeMap<u64, HeldRequest>,
    numbers: BTreeMap<ServerKey, u64>,
    last_number: u64,
    /// How many of them one connection has in one conference.
    unanswered: BTreeMap<Talk, usize>,
    /// What the Focus hears when these are answered, and when it does so anyhow.
    later: BTreeMap<Talk, Vec<focus_host::Event>>,
    later_until: VecDeque<(Time, Talk)>,
}

/// What one connection says in one conference.
type Talk = (Flow, ConferenceUri);

struct HeldRequest {
    mcu: McuUri,
    arrival: Arrival,
    until: Time,
    /// The server that it was sent to; `None` while it waits.
    at: Option<String>,
    times_sent: u32,
    /// What its sender is told when waiting was in vain.
    refusal: Option<Response>,
}

impl Held {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let held = self.requests.first_key_value().map(|(_, held)| held.until);
        held.into_iter().chain(self.later_until.front().map(|(until, _)| *until)).min()
    }

    /// The request was answered. If it was the last of its connection in its conference, that is
    /// returned.
    fn remove(&mut self, key: &ServerKey) -> Option<Talk> {
        let held = self.requests.remove(&self.numbers.remove(key)?)?;
        let talk = (held.arrival.flow, held.mcu.conference);
        let left = self.unanswered.get_mut(&talk)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.unanswered.remove(&talk);
        Some(talk)
    }

    /// The request of this transaction, if it waits.
    pub(super) fn waiting(&self, key: &ServerKey) -> Option<&Request> {
        let held = self.requests.get(self.numbers.get(key)?)?;
        held.at.is_none().then_some(&held.arrival.request)
    }

    pub(super) fn may_be_sent_again(&self, key: &ServerKey) -> bool {
        let held = self.numbers.get(key).and_then(|number| self.requests.get(number));
        held.is_some_and(|held| held.times_sent < SEND_LIMIT)
    }

    fn insert(&mut self, now: Time, mcu: McuUri, arrival: &Arrival) -> Option<u64> {
        if self.requests.len() >= HELD_LIMIT {
            return None;
        }
        self.last_number += 1;
        *self.unanswered.entry((arrival.flow, mcu.conference.clone())).or_default() += 1;
        let held = HeldRequest {
            mcu,
            arrival: arrival.clone(),
            until: now + WAIT_LIMIT,
            at: None,
            times_sent: 0,
            refusal: None,
        };
        self.numbers.insert(arrival.key.clone(), self.last_number);
        self.requests.insert(self.last_number, held);
        Some(self.last_number)
    }

    /// The numbers of the requests that are so.
    fn those(&self, is_one: impl Fn(&HeldRequest) -> bool) -> Vec<u64> {
        self.requests.iter().filter(|(_, held)| is_one(held)).map(|(number, _)| *number).collect()
    }
}

impl FrontEnd {
    /// Hands a request, or the end of a connection, to a Focus. What may end a session waits until what was
    /// said before it has reached the MCU: on its shorter way it would overtake that.
    pub(super) fn tell_in_order(
        &mut self,
        now: Time,
        (flow, method): (Flow, Method),
        conference: ConferenceUri,
        event: focus_host::Event,
        out: &mut Vec<Action>,
    ) {
        let talk = (flow, conference);
        let may_overtake = matches!(method, Method::Bye | Method::Info);
        if !may_overtake || !self.held.unanswered.contains_key(&talk) {
            return tell(talk.1, event, out);
        }
        self.held.later_until.push_back((now + ORDER_LIMIT, talk.clone()));
        self.held.later.entry(talk).or_default().push(event);
    }

    /// A request within a dialog with an MCU was answered.
    pub(super) fn no_longer_held(&mut self, key: &ServerKey, out: &mut Vec<Action>) {
        if let Some(talk) = self.held.remove(key) {
            self.tell_later(&talk, out);
        }
    }

    fn tell_later(&mut self, talk: &Talk, out: &mut Vec<Action>) {
        for event in self.held.later.remove(talk).unwrap_or_default() {
            tell(talk.1.clone(), event, out);
        }
    }

    /// Passes a participant's request within his dialog on to where `mcu` is.
    pub(super) fn forward_in_dialog(
        &mut self,
        now: Time,
        arrival: Arrival,
        mcu: McuUri,
        out: &mut Vec<Action>,
    ) {
        if let Some(number) = self.held.insert(now, mcu.clone(), &arrival) {
            return self.send_held(now, number, out);
        }
        match self.places.of(&mcu).and_then(|place| self.mcus.get(place)).copied() {
            Some(flow) => self.forward(now, arrival, None, vec![(None, flow)], out),
            None => self.refuse_for_lack_of_mcu(now, &arrival, out),
        }
    }

    /// A request came to nothing because its link broke: it waits for the next one.
    pub(super) fn hold_again(&mut self, now: Time, key: &ServerKey, out: &mut Vec<Action>) {
        self.forget_forward(key);
        if let Some(number) = self.held.numbers.get(key).copied() {
            self.send_held(now, number, out);
        }
    }

    /// A server knows nothing of a dialog. If its link was just opened again it was perhaps started again, and if its
    /// conference was just lost it is perhaps its own successor: then the request waits until the dialogs are there.
    /// Says whether it does.
    pub(super) fn hold_refused(&mut self, now: Time, key: &ServerKey, response: &Response) -> bool {
        let number = self.held.numbers.get(key).copied();
        let Some(held) = number.and_then(|number| self.held.requests.get_mut(&number)) else { return false };
        let is_renewed = held.at.as_ref().is_some_and(|at| self.links.is_renewed(now, at));
        if !(is_renewed || self.places.is_unsettled(now, &held.mcu)) || held.times_sent >= SEND_LIMIT {
            return false;
        }
        held.at = None;
        held.refusal = Some(response.clone());
        self.forget_forward(key);
        true
    }

    /// `mcu` has moved: what its predecessor has not answered goes to where it is now.
    pub(super) fn send_held_of(&mut self, now: Time, mcu: &McuUri, out: &mut Vec<Action>) {
        let place = self.places.of(mcu);
        let numbers = self.held.those(|held| {
            held.mcu == *mcu
                && held.times_sent < SEND_LIMIT
                && held.at.as_ref().is_none_or(|at| Some(at) != place)
        });
        for number in numbers {
            let key = self.held.requests.get(&number).map(|held| held.arrival.key.clone());
            if let Some(key) = key {
                self.forget_forward(&key);
            }
            self.send_held(now, number, out);
        }
    }

    /// The link to `server_uri` stands: what waits for it goes out.
    pub(super) fn send_held_for(&mut self, now: Time, server_uri: &str, out: &mut Vec<Action>) {
        let places = &self.places;
        let waits_for_it =
            |held: &HeldRequest| held.at.is_none() && places.of(&held.mcu).is_some_and(|at| at == server_uri);
        for number in self.held.those(waits_for_it) {
            self.send_held(now, number, out);
        }
    }

    /// Sends a request to where its MCU is, or has it wait for the link there.
    fn send_held(&mut self, now: Time, number: u64, out: &mut Vec<Action>) {
        let Some(held) = self.held.requests.get_mut(&number) else { return };
        held.at = None;
        let Some(place) = self.places.of(&held.mcu) else { return };
        if let Some(flow) = self.mcus.get(place).copied() {
            held.at = Some(place.clone());
            held.times_sent += 1;
            let arrival = held.arrival.clone();
            return self.forward(now, arrival, None, vec![(None, flow)], out);
        }
        if self.links.want(now, place, out).is_none() {
            self.refuse_held(now, number, out);
        }
    }

    /// What has waited for too long is refused; for what was sent its transaction counts the time.
    pub(super) fn held_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        while let Some((number, held)) = self.held.requests.first_key_value()
            && held.until <= now
        {
            let (number, key) = (*number, held.arrival.key.clone());
            if held.at.is_none() {
                self.refuse_held(now, number, out);
            }
            self.no_longer_held(&key, out);
        }
        while let Some((_, talk)) = self.held.later_until.pop_front_if(|(until, _)| *until <= now) {
            self.tell_later(&talk, out);
        }
    }

    /// A meeting is over: where its MCUs were is of no more interest, and its dialogs are gone.
    pub(super) fn conference_ended(&mut self, now: Time, conference: &ConferenceUri, out: &mut Vec<Action>) {
        for mcu in McuType::ALL.map(|media| conference.mcu(media)) {
            self.places.remove(&mcu);
            for number in self.held.those(|held| held.mcu == mcu && held.at.is_none()) {
                let Some(held) = self.held.requests.get(&number) else { continue };
                let (key, response) = (held.arrival.key.clone(), Response::to(&held.arrival.request, 481));
                self.respond(now, &key, response, out);
            }
        }
    }

    fn refuse_held(&mut self, now: Time, number: u64, out: &mut Vec<Action>) {
        let Some(held) = self.held.requests.get(&number) else { return };
        let arrival = held.arrival.clone();
        match held.refusal.clone() {
            Some(refusal) => self.respond(now, &arrival.key, refusal, out),
            None => self.refuse_for_lack_of_mcu(now, &arrival, out),
        }
    }

    fn refuse_for_lack_of_mcu(&mut self, now: Time, arrival: &Arrival, out: &mut Vec<Action>) {
        let response = refusal::response(&arrival.request, Reason::McuUnavailable, &self.addresses.name);
        self.respond(now, &arrival.key, response, out);
    }
}
