//! What can happen in a story with sound: people call the conference by phone, each saying a tone of his own; they hold
//! the line, change their source, are muted, and are cut off; the servers of their voices break. When that has settled
//! each hears exactly whom the naive conference says.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use confab_client::Command;
use confab_machine::Time;
use confab_mcu::Mcu;
use confab_server::{clock::Clock, media_host::DataPlane};
use confab_sip::sdp::rtp::Direction;

use super::{PATIENCE, PEOPLE, SENT_AGAIN, Story};
use crate::{
    data_plane::SimulatedPlane,
    deployment::user,
    faults::Faults,
    handset::{Handset, Make},
    model::Hears,
    network::{Weather, Wire},
    sockets::Sockets,
};

/// Of so many stories one has sound, the one that leaves this when the seed is divided.
const EVERY: (u64, u64) = (8, 5);
/// How many phones there may be at once: all of them are loud, and so many are mixed.
const PHONES: usize = 3;
/// The longest way of a packet in the worst weather is three times this, in milliseconds.
const WORST_MS: u64 = 20;
/// How long people talk before it counts, and while it does.
const LEAD: Duration = Duration::from_millis(1200);
const LISTEN: Duration = Duration::from_millis(500);
/// How strong a tone is that is heard, and one that is not.
const HEARD: f64 = 0.4;
const FAINT: f64 = 0.1;
/// The tones: the first, how far they are apart, and how many there are.
const TONES: (u32, u32, usize) = (300, 100, 13);
/// How wrong the clocks of phones are, in millionths.
const DRIFTS: [i64; 5] = [0, 200, -200, 1000, -1000];
/// Whoever has been silent for so long is asked for a sign.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a lost server of voices may take to be replaced.
const REPLACED: Duration = Duration::from_secs(15);

/// What a story with sound has besides.
pub(super) struct Sound {
    sockets: Sockets,
    plane: SimulatedPlane,
    phones: Vec<Phone>,
    /// How many calls there have been.
    calls: usize,
    /// How often servers had been lost when it was last looked.
    lost: u32,
    /// Who was cut off by one of several phones while he held the line with it. Nothing is expected from that one, so
    /// the server of voices has it until he is out.
    frayed: BTreeSet<&'static str>,
    /// Until when what goes wrong may be because of such a loss.
    shaken_until: Time,
    /// Whether any server of voices was lost or may have been, so that records may be missing.
    may_lack_records: bool,
}

/// A phone in a story.
struct Phone {
    who: &'static str,
    handset: Handset,
    wire: Wire,
    alive: bool,
}

/// Where those who talk and listen, and the naive conference, do not agree.
#[derive(Default)]
struct Differences {
    /// Who hears whom he must not.
    wrong: Vec<String>,
    /// The same, where the owner of one of the two uses a newer phone.
    aside: Vec<String>,
    /// Who does not hear whom he should.
    missing: Vec<String>,
}

impl Sound {
    /// Of a story that is to have sound, in such weather.
    pub(super) fn of(seed: u64, clock: Clock, weather: Weather, faults: &Faults) -> Option<Sound> {
        if seed % EVERY.0 != EVERY.1 {
            return None;
        }
        let weather = Weather { delay_ms: weather.delay_ms.min(WORST_MS), ..weather };
        let sockets = Sockets::new(clock, weather, confab_server::clock::entropy());
        let plane = SimulatedPlane::new(clock, &sockets, faults);
        Some(Sound {
            sockets,
            plane,
            phones: Vec::new(),
            calls: 0,
            lost: 0,
            frayed: BTreeSet::new(),
            shaken_until: Time::EPOCH,
            may_lack_records: false,
        })
    }

    /// What carries it.
    pub(super) fn parts(&self, faults: &Faults) -> (Box<dyn Mcu>, Arc<dyn DataPlane>) {
        (faults.av_mcu(), Arc::new(self.plane.clone()))
    }

    /// The phones on whose line something passes.
    fn alive(&self) -> Vec<usize> {
        (0..self.phones.len()).filter(|number| self.phones[*number].alive).collect()
    }
}

impl Story {
    fn sound(&mut self) -> &mut Sound {
        self.sound.as_mut().expect("only a story with sound asks for it")
    }

    /// Something happens to voices.
    pub(super) async fn voice_step(&mut self) {
        match self.roll(100) {
            0..30 => self.phones().await,
            30..42 => self.phone_goes().await,
            42..58 => self.holds().await,
            58..80 => self.mutes().await,
            80..90 => {
                if let Some(phone) = self.any_phone() {
                    self.sound().phones[phone].handset.changes_source();
                    self.tells(format!("phone {phone} changes its source"));
                }
            }
            90..95 => {
                let nth = u32::try_from(1 + self.roll(6)).expect("it is small");
                self.tells(format!("the A/V MCU breaks at the {nth}th event"));
                self.faults.break_voices(nth);
                self.unsteady_until = self.unsteady_until.max(self.now() + REPLACED);
            }
            _ => {
                let nth = u32::try_from(1 + self.roll(100)).expect("it is small");
                self.tells(format!("the room breaks in the {nth}th 20 ms"));
                self.faults.break_room(nth);
                self.unsteady_until = self.unsteady_until.max(self.now() + REPLACED);
            }
        }
    }

    /// One of the phones that are in.
    fn any_phone(&mut self) -> Option<usize> {
        let present: Vec<usize> = self.sound().alive();
        let present: Vec<usize> = present.into_iter().filter(|phone| self.model.has_phone(*phone)).collect();
        (!present.is_empty()).then(|| present[self.roll(present.len())])
    }

    /// Somebody calls the conference by phone.
    async fn phones(&mut self) {
        let who = self.somebody();
        let idle = self.sound().alive();
        let idle = idle.into_iter().find(|phone| {
            self.sound.as_ref().is_some_and(|sound| sound.phones[*phone].who == who)
                && !self.model.has_phone(*phone)
        });
        let phone = match idle {
            Some(phone) => phone,
            None if self.sound().alive().len() < PHONES => self.plugs_in(who),
            None => return,
        };
        let expected = self.model.may_join(who);
        self.tells(format!("{who} calls by phone {phone}, who may: {expected}"));
        let conference = self.conference.to_string();
        let lost = self.faults.lost_voices();
        self.sound().phones[phone].handset.calls(&conference);
        self.settle().await;
        let may_be_unknown =
            self.faults.lost_voices() > lost || self.is_shaken() && self.is_shown_on_no_phone(who);
        if may_be_unknown && self.sound().phones[phone].handset.is_in() {
            // A server that is lost between its answer and its word to the Focus leaves nobody who knows of the call.
            self.tells("its server was lost meanwhile, so it hangs up".into());
            self.sound().phones[phone].handset.hangs_up();
            self.sound().calls += 1;
            self.sound().may_lack_records = true;
            return self.settle().await;
        }
        let handset = &self.sound().phones[phone].handset;
        let (is_in, refusal) = (handset.is_in(), handset.refusal());
        if is_in {
            assert!(expected, "seed {}: {who} got in by phone", self.seed);
            self.model.called(who, phone);
            self.sound().calls += 1;
        } else if expected {
            let breaks = self.faults.breaks();
            let broke = breaks > std::mem::replace(&mut self.breaks, breaks);
            let excused = broke || self.is_shaken();
            assert!(excused && refusal.is_some(), "seed {}: {who} was refused: {refusal:?}", self.seed);
            self.tells(format!("it was not done: {refusal:?}"));
        }
    }

    fn plugs_in(&mut self, who: &'static str) -> usize {
        let number = self.sound().phones.len();
        let drift_ppm = DRIFTS[self.roll(DRIFTS.len())];
        let clock = self.deployment.server.clock;
        let (stream, wire) = self.network.stream(&self.deployment.server.transport);
        let (first, apart, tones) = TONES;
        let hz = first + apart * u32::try_from(number % tones).expect("it is small");
        let make =
            Make { name: who.into(), number: u16::try_from(number).expect("it is small"), hz, drift_ppm };
        self.tells(format!(
            "{who} has phone {number} now, of {hz} Hz, whose clock drifts by {drift_ppm} ppm"
        ));
        let handset = Handset::new(make, stream, &self.sound().sockets, clock);
        self.sound().phones.push(Phone { who, handset, wire, alive: true });
        number
    }

    /// Somebody hangs up, or his line is cut.
    async fn phone_goes(&mut self) {
        let Some(phone) = self.any_phone() else { return };
        let cut = self.roll(3) == 0;
        self.phone_ends(phone, cut);
        if cut && !self.model.is_empty() {
            // Should he be in by something else, the server of voices finds out by the silence.
            self.pass(SILENCE).await;
        }
        self.settle().await;
    }

    fn phone_ends(&mut self, phone: usize, cut: bool) {
        self.tells(format!("phone {phone} {}", if cut { "is cut off" } else { "hangs up" }));
        let network = self.network.clone();
        let ending = &mut self.sound().phones[phone];
        if cut {
            network.cut(&ending.wire);
            ending.alive = false;
            if !ending.handset.direction().sends() {
                let who = ending.who;
                self.sound().frayed.insert(who);
            }
        } else {
            ending.handset.hangs_up();
        }
        self.model.hung_up(phone);
    }

    /// Who is out altogether leaves nothing behind.
    pub(super) fn mends_phones(&mut self) {
        let roster: BTreeSet<String> =
            self.model.roster().iter().map(|(who, ..)| (*who).to_owned()).collect();
        if let Some(sound) = &mut self.sound {
            sound.frayed.retain(|who| roster.contains(*who));
        }
    }

    /// Somebody holds the line, one way or both, or takes the call up again.
    async fn holds(&mut self) {
        let Some(phone) = self.any_phone() else { return };
        let (sends, hears) = [(true, true), (true, false), (false, true), (false, false)][self.roll(4)];
        let direction = Direction::new(sends, hears);
        self.tells(format!("phone {phone} turns to {}", direction.word()));
        self.sound().phones[phone].handset.holds(direction);
        self.settle().await;
        let agreed = self.sound().phones[phone].handset.direction() == direction;
        assert!(agreed || self.is_shaken(), "seed {}: phone {phone} could not hold the call", self.seed);
    }

    /// Somebody with a client has somebody's voice kept out, or heard again.
    async fn mutes(&mut self) {
        let Some(number) = self.anybody().filter(|number| !self.seats[*number].blind) else { return };
        let on_phones = self.model.on_phones();
        if on_phones.is_empty() {
            return;
        }
        let who = on_phones[self.roll(on_phones.len())];
        let muted = self.roll(3) > 0;
        self.commands_this(number, Command::Mute { user: user(who), muted }).await;
    }

    /// A command came to nothing because of a server of voices: whether it is so nobody knows.
    pub(super) fn excuse_of_voices(&mut self, command: &Command) -> bool {
        let Command::Mute { user, .. } = command else { return false };
        let shaken = self.sound.is_some() && self.is_shaken();
        if shaken && let Some(who) = PEOPLE.into_iter().find(|who| *who == user.user()) {
            self.model.voice_unknown(who);
        }
        shaken
    }

    /// Whether a server of voices was lost of late, may have been, or will be.
    fn is_shaken(&mut self) -> bool {
        self.learns_of_losses();
        self.sound.as_ref().is_some_and(|sound| sound.shaken_until > self.deployment.server.clock.now())
    }

    /// Those who are lost take with them what they knew of people who are away.
    pub(super) fn learns_of_losses(&mut self) {
        let (now, unsteady_until) = (self.now(), self.unsteady_until);
        let lost = self.faults.lost_voices();
        let pending = !self.faults.are_over();
        let Some(sound) = &mut self.sound else { return };
        if std::mem::replace(&mut sound.lost, lost) < lost || pending || unsteady_until > now {
            sound.shaken_until = now.max(unsteady_until) + PATIENCE * SENT_AGAIN;
            sound.may_lack_records = true;
            self.model.voices_lost();
        }
    }

    /// Whether somebody is told who is on the phone, and that this person is not.
    fn is_shown_on_no_phone(&self, who: &str) -> bool {
        let watching = self.seats.iter().filter(|seat| seat.alive && seat.joined.is_some() && !seat.blind);
        let shown: Vec<bool> = watching.map(|seat| seat.picture.on_phones().contains(&who)).collect();
        !shown.is_empty() && !shown.contains(&true)
    }

    /// Which phones are in, as they themselves see it, and as the clients are shown.
    pub(super) fn differences_of_phones(&self) -> Vec<String> {
        let Some(sound) = &self.sound else { return Vec::new() };
        let mut wrong = Vec::new();
        for phone in sound.alive() {
            let Phone { who, handset, .. } = &sound.phones[phone];
            if handset.is_in() != self.model.has_phone(phone) {
                wrong.push(format!("{who}'s phone {phone} is in: {}", handset.is_in()));
            }
        }
        let seats = self.seats.iter().filter(|seat| seat.alive && seat.joined.is_some() && !seat.blind);
        for seat in seats {
            let shown = seat.picture.on_phones();
            let all_but_frayed = |who: &[&str]| {
                let rest = who.iter().filter(|who| !sound.frayed.contains(*who));
                rest.map(|who| (*who).to_owned()).collect::<Vec<_>>()
            };
            if all_but_frayed(&shown) != all_but_frayed(&self.model.on_phones()) {
                wrong.push(format!("{} is shown on the phone {shown:?}", seat.who));
            }
        }
        wrong
    }

    /// Everybody talks, and hears whom he should.
    pub(super) async fn hearing(&mut self) {
        if self.sound.is_none() || self.model.on_phones().is_empty() {
            return;
        }
        for attempt in 0.. {
            self.everybody_talks().await;
            self.learns_of_losses();
            self.learns_of_directions();
            let Differences { mut wrong, aside, mut missing } = self.differences_of_hearing();
            // Who had just been taken over by another server as he spoke used the phone that it knew first until the
            // newer one was there. That must end; a voice that is kept out nobody hears even then.
            if self.is_shaken() { &mut missing } else { &mut wrong }.extend(aside);
            assert!(wrong.is_empty(), "seed {}: {wrong:#?}\nheld: {:#?}", self.seed, self.model);
            if missing.is_empty() {
                return;
            }
            let excused = attempt < PATIENCE;
            assert!(excused, "seed {}: {missing:#?}\nheld: {:#?}", self.seed, self.model);
            self.tells(format!("{missing:?}"));
            self.pass(SENT_AGAIN).await;
        }
    }

    /// A change that a server of voices was asked for as it was lost may have come to nothing, or be made yet.
    fn learns_of_directions(&mut self) {
        let Some(sound) = &self.sound else { return };
        for phone in sound.alive() {
            let direction = sound.phones[phone].handset.direction();
            self.model.held(phone, direction.sends(), direction.receives());
        }
    }

    async fn everybody_talks(&mut self) {
        let say = |story: &Story, what: &dyn Fn(&Handset)| {
            let sound = story.sound.as_ref().expect("there is sound");
            sound.phones.iter().filter(|phone| phone.alive).for_each(|phone| what(&phone.handset));
        };
        say(self, &|handset| handset.talks(true));
        self.pass(LEAD).await;
        say(self, &Handset::listens_anew);
        self.pass(LISTEN).await;
        say(self, &|handset| handset.talks(false));
    }

    fn differences_of_hearing(&self) -> Differences {
        let mut differences = Differences::default();
        let Some(sound) = &self.sound else { return differences };
        for one in sound.alive() {
            let ear = &sound.phones[one].handset;
            let sources = ear.sources();
            for other in sound.alive() {
                let mouth = &sound.phones[other].handset;
                let strength = ear.strength(mouth.make().hz);
                let named = sources.contains(&mouth.source());
                let is_heard = strength > FAINT || named;
                let heard = || format!("{one} hears {other}: {strength:.2}, named: {named}");
                match self.model.hears(one, other) {
                    Hears::No if is_heard => differences.wrong.push(heard()),
                    Hears::Aside if is_heard => differences.aside.push(heard()),
                    Hears::Yes if strength < HEARD => {
                        differences.missing.push(format!("{one} does not hear {other}: {strength:.2}"));
                    }
                    Hears::No | Hears::Aside | Hears::Yes | Hears::Unknown => {}
                }
            }
        }
        differences
    }

    /// All hang up, one way or another.
    pub(super) async fn phones_end(&mut self) {
        let phones = self.sound.as_ref().map(Sound::alive).unwrap_or_default();
        for phone in phones {
            let cut = self.roll(2) == 0;
            if self.model.has_phone(phone) {
                self.phone_ends(phone, cut);
            }
        }
    }

    /// Each call has left a record, and nothing else is left of it.
    pub(super) async fn no_sound_is_left(&mut self) {
        self.learns_of_losses();
        let Some(sound) = &self.sound else { return };
        let seed = self.seed;
        let rooms = sound.plane.totals().rooms;
        assert_eq!((rooms, sound.plane.ports()), (0, 0), "seed {seed}: rooms and ports are left");
        assert_eq!(
            sound.plane.broken(),
            u64::from(self.faults.lost_rooms()),
            "seed {seed}: a room broke by itself"
        );
        let records = self.deployment.server.store.calls(&self.conference, sound.calls + 1).await;
        let records = records.expect("the store answers").len();
        let complete = records == sound.calls || sound.may_lack_records && records < sound.calls;
        assert!(complete, "seed {seed}: of {} calls there are {records} records", sound.calls);
    }
}
