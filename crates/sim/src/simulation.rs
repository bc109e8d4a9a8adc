//! Stories: a whole server on virtual time, people with several clients each, a network and parts that
//! fail, all following from one seed; and after every step a naive conference that must agree
//! ([`Model`]).
//!
//! When it must: two seconds after a step, for which nothing need be sent twice. Where datagrams are
//! lost, or a link stalls, once that is over and what was lost has been sent again (RFC 3261's timers:
//! within half a minute); whoever is cut off without a word is out when his session has run out.

mod seat;
mod steps;
mod voices;

use std::{collections::BTreeSet, time::Duration};

use confab_client::NewConference;
use confab_machine::{Entropy, Time};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType},
};
use confab_server::{
    client_host::RunningClient,
    clock::{self, Clock},
    config::ConferencesConfig,
    flow_log::ladder,
    focus_host::SavedFlow,
    roles::Parts,
    sip_transport::Datagram,
};
use tokio::{runtime::Builder, sync::mpsc};

use crate::{
    deployment::{Deployment, START, user},
    faults::{self, Faults},
    model::Model,
    network::{Network, Weather, server_address},
};
use seat::Seat;
use voices::Sound;

/// The people; the first schedules the conference, the second is invited to lead.
const PEOPLE: [&str; 6] = ["ann", "pat", "bob", "eve", "dan", "kim"];
/// How many may be in at once.
const MOST: usize = 4;
/// How many clients one person has at once.
const CLIENTS: usize = 2;
/// The steps of a story.
const STEPS: u64 = 30;
/// How long all takes that is neither lost nor held up.
const SWIFT: Duration = Duration::from_secs(2);
/// So many ways the longest thing takes: to come in, be told of the chat and open it.
const HOPS: u32 = 40;
/// How long it takes if it is sent again.
const SENT_AGAIN: Duration = Duration::from_secs(35);
/// How often the model is asked anew when something may have been lost.
const PATIENCE: u32 = 4;
/// Of so many stories one is written into a file and read back.
const FILED: u64 = 8;
/// So much of the trace is printed when a story fails.
const LAST: usize = 60;
/// A meeting in which nobody is is over by then.
const EMPTY: Duration = Duration::from_secs(700);
/// A session that nobody refreshed is over by then.
const SESSION: Duration = Duration::from_secs(1900);

/// What happened in a story, in words: the steps, what the clients noticed, what the parts of the server
/// said to each other.
pub struct Told {
    /// The steps.
    pub steps: Vec<String>,
    /// All else.
    pub trace: Vec<String>,
}

/// Tells the story of a seed. The same seed tells the same story.
///
/// # Panics
/// If the server does not do what it should; the steps so far are printed.
pub fn tell(seed: u64) -> Told {
    faults::hush();
    clock::repeat(seed);
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing but memory");
    runtime.block_on(async {
        let mut story = Story::begin(seed).await;
        for _ in 0..STEPS {
            story.step().await;
            story.check().await;
        }
        story.replays().await;
        story.end().await;
        let trace = story.deployment.trace(&story.conference);
        let trace = trace.into_iter().map(|record| format!("{:?} {:?}", record.at, record.note));
        story.told.trace.extend(trace);
        std::mem::replace(&mut story.told, Told { steps: Vec::new(), trace: Vec::new() })
    })
}

struct Story {
    seed: u64,
    deployment: Deployment,
    network: Network,
    faults: Faults,
    dice: Entropy,
    /// Where datagrams to the server go; where none are lost nobody speaks them.
    to_server: mpsc::Sender<Datagram>,
    lossy: bool,
    conference: ConferenceUri,
    model: Model,
    seats: Vec<Seat>,
    said: u32,
    /// When what stalls goes on, and what came of it is over.
    unsteady_until: Time,
    /// Whether the link to the IM MCU has stalled.
    stalled: bool,
    /// Whether the IM MCU has died, or seemed to, in this meeting.
    mourned: bool,
    /// Who was cut off with one of several clients. That one's leg on the chat is there until somebody
    /// says something.
    frayed: BTreeSet<&'static str>,
    /// How often a Focus has broken, as far as somebody was refused for it.
    breaks: u32,
    /// Where people call by phone too.
    sound: Option<Sound>,
    told: Told,
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            let last = |lines: &[String]| lines[lines.len().saturating_sub(LAST)..].join("\n  ");
            let flow = self.deployment.trace(&self.conference);
            let flow: Vec<String> = ladder(&flow, 0).lines().map(str::to_owned).collect();
            eprintln!("the parts of the server said last:\n  {}", last(&flow));
            eprintln!("the clients noticed last:\n  {}", last(&self.told.trace));
            eprintln!("what happened:\n  {}", self.told.steps.join("\n  "));
            eprintln!("seed {seed} failed; `make sim SEED={seed}` tells it again");
        }
    }
}

impl Story {
    async fn begin(seed: u64) -> Story {
        let mut dice = clock::entropy();
        let mut pick =
            |of: &[u64]| of[usize::try_from(dice.number() % of.len() as u64).expect("it is small")];
        let weather =
            Weather { delay_ms: pick(&[0, 5, 50, 300]), lost: pick(&[0, 0, 5]), twice: pick(&[0, 5]) };
        let by_datagrams = pick(&[0, 1]) == 1;
        let clock = Clock::start_at(START);
        let network = Network::new(clock, weather, dice.fork());
        let faults = Faults::default();
        let mut parts = Parts { network: network.inside(), ..faults.parts() };
        let mut media = vec![McuType::Chat];
        let sound = Sound::of(seed, clock, weather, &faults);
        if let Some(sound) = &sound {
            let (av_mcu, plane) = sound.parts(&faults);
            (parts.av_mcu, parts.data_plane) = (Some(av_mcu), Some(plane));
            media.push(McuType::AudioVideo);
        }
        let conferences = ConferencesConfig { max_participants: MOST, ..ConferencesConfig::default() };
        let deployment = Deployment::of_with_conferences(parts, conferences).await;
        let to_server = network.open_datagrams(&deployment.server.transport);
        let mut ann = deployment.sign_on(PEOPLE[0]).await;
        let conference = ann
            .schedules_this(NewConference {
                subject: format!("Story {seed}"),
                invitees: vec![(user(PEOPLE[1]), Role::Presenter), (user(PEOPLE[2]), Role::Attendee)],
                media,
                admission: AdmissionPolicy::OpenAuthenticated,
                expires: None,
            })
            .await;
        deployment.cut(&ann);
        let story =
            Told { steps: vec![format!("{weather:?}, datagrams: {by_datagrams}")], trace: Vec::new() };
        Story {
            seed,
            deployment,
            network,
            faults,
            dice,
            to_server,
            lossy: by_datagrams,
            conference,
            model: Model::new(PEOPLE[0], &PEOPLE[1..2], MOST),
            seats: Vec::new(),
            said: 0,
            unsteady_until: Time::EPOCH,
            stalled: false,
            mourned: false,
            frayed: BTreeSet::new(),
            breaks: 0,
            sound,
            told: story,
        }
    }

    fn now(&self) -> Time {
        self.deployment.server.clock.now()
    }

    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.dice.number() % sides as u64).expect("it is below a usize")
    }

    fn tells(&mut self, step: String) {
        let at = self.now().since(START).as_secs_f64();
        self.told.steps.push(format!("{at:>9.3}  {step}"));
    }

    /// A new client of somebody.
    fn sits_down(&mut self, who: &'static str) -> usize {
        let by_datagrams = self.lossy && self.roll(2) == 0;
        let clock = self.deployment.server.clock;
        let (client, wire) = if by_datagrams {
            let (boxes, local, wire) = self.network.datagrams(&self.to_server);
            let ends = (local, server_address());
            (RunningClient::on_datagrams(user(who), who.into(), boxes, ends, clock), wire)
        } else {
            let (stream, wire) = self.network.stream(&self.deployment.server.transport);
            (RunningClient::on_stream(user(who), who.into(), None, stream, clock), wire)
        };
        self.seats.push(Seat::new(who, client, wire, by_datagrams));
        self.seats.len() - 1
    }

    /// Time passes, and everybody takes notice.
    async fn pass(&mut self, time: Duration) {
        let until = self.now() + time;
        self.deployment.server.clock.sleep_until(Some(until)).await;
        let at = self.now();
        for (number, seat) in self.seats.iter_mut().enumerate() {
            let noticed = seat.look().into_iter();
            self.told.trace.extend(noticed.map(|words| format!("{at:?} {} at {number}: {words}", seat.who)));
        }
    }

    /// What was begun is done.
    async fn settle(&mut self) {
        self.learns_of_losses();
        let held_up = self.unsteady_until.since(self.now());
        let datagrams = self.seats.iter().any(|seat| seat.alive && seat.by_datagrams);
        let hops = HOPS * Duration::from_millis(self.network.weather().delay_ms);
        self.pass(held_up + hops + if datagrams { SENT_AGAIN } else { SWIFT }).await;
    }

    /// The naive conference agrees, now or, if something was lost, soon.
    async fn check(&mut self) {
        self.mends_phones();
        let mut wrong = self.differences();
        let may_be_late = self.lossy || self.stalled || self.sound.is_some() && !self.faults.are_over();
        for _ in 0..if may_be_late { PATIENCE } else { 0 } {
            if wrong.is_empty() {
                break;
            }
            self.pass(SENT_AGAIN).await;
            wrong = self.differences();
        }
        assert!(wrong.is_empty(), "seed {}: {wrong:#?}\nheld: {:#?}", self.seed, self.model);
        let faults = self.network.faults_of_versions();
        assert!(faults.is_empty(), "seed {}: {faults:#?}", self.seed);
        self.hearing().await;
    }

    /// Where the server and the naive conference do not agree.
    fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let active = self.deployment.server.directory.active_conferences();
        let people = active.iter().find(|(uri, _)| *uri == self.conference).map_or(0, |(_, people)| *people);
        if people != self.model.len() {
            wrong.push(format!("the server counts {people}, there are {}", self.model.len()));
        }
        for (number, seat) in self.seats.iter().enumerate().filter(|(_, seat)| seat.alive) {
            let name = format!("{} at {number}", seat.who);
            if seat.joined.is_some() != self.model.has(number) {
                wrong.push(format!("{name} has joined as {:?}, ended by {:?}", seat.joined, seat.ended));
            }
            if seat.joined.is_none() || seat.blind {
                continue;
            }
            let shown = seat.picture.people.values().map(|person| {
                let joins = person.endpoints.iter().filter(|leg| leg.session == "focus").count();
                (person.user.user(), person.role, joins)
            });
            let shown: Vec<_> = shown.collect();
            if shown != self.model.roster() {
                wrong.push(format!("{name} is shown {shown:?}, and not {:?}", self.model.roster()));
            }
            if seat.picture.locked != self.model.locked() {
                wrong.push(format!("{name} is shown that it is locked: {}", seat.picture.locked));
            }
            wrong.extend(self.differences_of_chat(&name, seat));
        }
        wrong.extend(self.differences_of_phones());
        wrong
    }

    /// Who is shown on the chat is there, and who is there is shown; but for what the death of an MCU
    /// leaves behind, which who was dropped finds out when he says something.
    fn differences_of_chat(&self, name: &str, seat: &Seat) -> Option<String> {
        if self.mourned {
            return None;
        }
        let mut there: Vec<&str> =
            self.seats.iter().filter(|seat| seat.alive && seat.on_chat).map(|seat| seat.who).collect();
        there.sort_unstable();
        there.dedup();
        let shown = seat.picture.on_chat();
        let ghosts = shown.iter().any(|who| !there.contains(who) && !self.frayed.contains(who));
        let missing = there.iter().any(|who| !shown.contains(who));
        (ghosts || missing).then(|| format!("{name} is shown {shown:?} on the chat, and not {there:?}"))
    }

    /// What the Focus heard, saved, has it want the same again.
    async fn replays(&mut self) {
        let Some(flow) = self.deployment.server.directory.save_flow(&self.conference).await else { return };
        flow.replay().unwrap_or_else(|error| panic!("seed {}: {error:#}", self.seed));
        if self.seed.is_multiple_of(FILED) {
            let file =
                flow.anonymous().and_then(|flow| flow.to_json()).and_then(|file| SavedFlow::from_json(&file));
            let replayed = file.and_then(|flow| flow.replay());
            replayed.unwrap_or_else(|error| panic!("seed {}, as a file: {error:#}", self.seed));
        }
    }

    /// Everybody leaves, one way or another, and nothing of it is left in the server.
    async fn end(&mut self) {
        self.tells("all leave".into());
        for number in 0..self.seats.len() {
            let cut = self.roll(2) == 0;
            if self.seats[number].alive {
                self.goes(number, cut).await;
            }
        }
        self.phones_end().await;
        self.settle().await;
        for seat in &self.seats {
            self.network.cut(&seat.wire);
        }
        self.pass(EMPTY).await;
        let server = &self.deployment.server;
        assert_eq!(server.directory.active_conferences(), [], "seed {}: it goes on alone", self.seed);
        let tables = server.tables().await;
        assert!(tables.are_empty(), "seed {}: left over are {tables:?}", self.seed);
        self.no_sound_is_left().await;
    }
}
