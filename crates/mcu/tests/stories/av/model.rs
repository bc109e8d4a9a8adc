//! Whatever happens in whatever order: what the Focus was told adds up to what is, and what the data plane was
//! told is a life of each leg.

use std::collections::{BTreeMap, BTreeSet};

use confab_machine::Entropy;
use confab_mcu::Event;
use confab_media::session::{Command, Event as Plane, LegId, Quality};
use confab_schema::{
    cccp::{Command as Verb, MediaKeys},
    conference_info::{
        ConferenceInfo, ConferenceView, EntityView, JoiningMethod, Media, MediaFilter, MediaRules, RuleRole,
        State, User,
    },
};
use confab_sip::Method;

use super::joining::{PHONE, VOICES, house};
use crate::{im::model::*, room::*};

const PEOPLE: [&str; 4] = ["ann", "bob", "eve", "joe"];
const STEPS: usize = 400;

/// What the data plane knows of.
#[derive(Default)]
struct Plan {
    live: BTreeSet<u64>,
    over: BTreeSet<u64>,
    /// Those that were closed before they were heard.
    unheard: BTreeSet<u64>,
    /// What it has yet to say.
    gates: Vec<u64>,
    closings: Vec<u64>,
}

impl Plan {
    fn take(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Set { leg, .. } => {
                    assert!(!self.over.contains(&leg.0), "a leg that is over does not come back");
                    self.live.insert(leg.0);
                }
                Command::Gate { id, legs, .. } => {
                    assert!(legs.iter().all(|leg| self.live.contains(&leg.0)), "only who is there is muted");
                    self.gates.push(id);
                }
                Command::Close { leg } => {
                    if self.live.remove(&leg.0) {
                        self.closings.push(leg.0);
                    } else if !self.over.contains(&leg.0) {
                        self.unheard.insert(leg.0);
                    }
                    self.over.insert(leg.0);
                }
            }
        }
    }
}

#[test]
fn whatever_happens_adds_up() {
    for seed in 0..8 {
        let mut random = Entropy::from_seed([seed; 32]);
        let mut room = house(VOICES);
        for name in PEOPLE {
            room.enter(name);
            room.client(name).sdp = Some(PHONE.to_owned());
        }
        let (mut told, mut plan) = (BTreeMap::new(), Plan::default());
        let mut records = 0;
        for step in 0..STEPS {
            let what = act(&mut room, &mut plan, &mut random);
            plan.take(std::mem::take(&mut room.commands));
            for document in room.notifications.drain(..) {
                records += document.calls.len();
                let users = document.users.map(|users| users.users).unwrap_or_default();
                users.into_iter().for_each(|user| merge(&mut told, user));
            }
            let seen: Vec<&User> = told.values().collect();
            assert_eq!(
                seen,
                actual(&mut room).iter().collect::<Vec<_>>(),
                "seed {seed}, step {step}: {what}"
            );
        }
        room.wait(5);
        records += room.notifications.iter().map(|document| document.calls.len()).sum::<usize>();
        let still = plan.live.len();
        room.command(Verb::DeleteConference(keys()));
        plan.take(std::mem::take(&mut room.commands));
        room.wait(5);
        assert!(room.ended && plan.live.is_empty(), "nothing is left open");
        assert_eq!(
            records + still,
            plan.over.len() - plan.unheard.len(),
            "each leg that was heard has one record"
        );
    }
}

fn rules(ingress: MediaFilter) -> Verb {
    let mut view = EntityView::new("audio-video");
    view.rules = Some(MediaRules { initial: vec![(RuleRole::Default, ingress)], own: Vec::new() });
    let mut info = ConferenceInfo { entity: FOCUS.to_owned(), ..ConferenceInfo::default() };
    info.view = Some(ConferenceView { state: State::Partial, entity_views: vec![view] });
    Verb::ModifyConference { mcu_uri: None, info: Box::new(info), whole: None }
}

fn filter(name: &str, endpoint: &str, random: &mut Entropy) -> Verb {
    let mut pick =
        || [None, Some(MediaFilter::Block), Some(MediaFilter::Unblock)][(random.number() % 3) as usize];
    let media = Media { ingress_filter: pick(), egress_filter: pick(), ..Media::default() };
    let (user, endpoint) = (format!("sip:{name}@example.test"), endpoint.to_owned());
    let keys = MediaKeys { entity: FOCUS.to_owned(), user, endpoint, media: "1".into() };
    Verb::ModifyEndpointMedia { mcu_uri: None, keys, media }
}

fn act(room: &mut Room, plan: &mut Plan, random: &mut Entropy) -> String {
    let name = PEOPLE[(random.number() % 4) as usize];
    let endpoint = format!("{{{}}}", random.number() % 3);
    let choice = random.number() % 20;
    let some_leg = LegId(random.number() % (plan.over.len() as u64 + plan.live.len() as u64 + 2));
    match choice {
        0..=2 => drop(room.command(add_user(name, &endpoint, JoiningMethod::DialedIn))),
        3 => {
            room.client(name).answer = None;
            room.command(add_user(name, &endpoint, JoiningMethod::DialedOut));
        }
        4..=6 => drop(room.join(name)),
        7 => {
            let direction = ["", "a=sendonly\r\n", "a=inactive\r\n"][(random.number() % 3) as usize];
            room.send(name, Method::Invite, "application/sdp", &format!("{PHONE}{direction}"));
        }
        8 => {
            if room.invite(name, "", "").status == 200 {
                room.ack(name);
            }
        }
        9 => drop(room.send(name, Method::Bye, "", "")),
        10 => drop(room.delete_user(name)),
        11 => room.client(name).answer = Some([200, 481, 486, 200][(random.number() % 4) as usize]),
        12 => {
            let received = std::mem::take(&mut room.client(name).received);
            let status = [180, 200, 486, 603][(random.number() % 4) as usize];
            for invite in received.iter().filter(|request| request.method == Method::Invite) {
                room.answer(name, invite, status);
            }
        }
        13 => drop(room.command(filter(name, &endpoint, random))),
        14 => {
            let ingress = [MediaFilter::Block, MediaFilter::Unblock][(random.number() % 2) as usize];
            room.command(rules(ingress));
        }
        15 => {
            for id in std::mem::take(&mut plan.gates) {
                room.tell(Event::Media(Plane::Gated { id }));
            }
            for leg in std::mem::take(&mut plan.closings) {
                room.tell(Event::Media(Plane::Closed { leg: LegId(leg), quality: Quality::default() }));
            }
        }
        16 => room.tell(Event::Media(Plane::Speaking { legs: vec![some_leg] })),
        17 => room.tell(Event::Media(Plane::Silent { leg: some_leg })),
        18 => {
            room.has_ports = !random.number().is_multiple_of(4);
            room.tell(Event::Media(Plane::Unreachable { leg: some_leg }));
        }
        _ => room.wait(random.number() % 100),
    }
    format!("{choice} {name} {endpoint}")
}
