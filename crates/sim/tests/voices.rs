//! Voices in a whole server on virtual time: phones call a conference, each says a tone of its own, and every other is
//! searched for it. Their packets cross the simulated network.

use std::{sync::Arc, time::Duration};

use confab_client::{Command, NewConference, Outcome};
use confab_conference::mcu_factory::{HEALTH_LIMIT, HEALTH_PERIOD};
use confab_machine::Entropy;
use confab_mcu::AvMcu;
use confab_schema::{
    conference_info::{AdmissionPolicy, CallRecord, DisconnectionMethod, Role},
    uri::{ConferenceUri, McuType},
};
use confab_server::{
    clock::Clock,
    config::Config,
    inproc::InprocNetwork,
    mcu_host::McuHost,
    media_host::DataPlane,
    roles::{McuParts, Parts, start_mcu},
};
use confab_sim::{
    data_plane::SimulatedPlane,
    deployment::{Deployment, START, user},
    faults::{self, Faults},
    gate::Gate,
    handset::{Handset, Make},
    network::Weather,
    person::Person,
    sockets::Sockets,
};
use confab_sip::sdp::rtp::Direction;

/// How strong a tone is that is heard all the time, and one that is not at all.
const WHOLE: f64 = 0.85;
const NONE: f64 = 0.03;
/// Packets that were sent before are heard.
const ON_THE_WAY: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

/// A conference in which Vivian leads, and its phones.
struct House {
    deployment: Deployment,
    sockets: Sockets,
    plane: SimulatedPlane,
    faults: Faults,
    vivian: Person,
    conference: ConferenceUri,
    phones: u16,
}

impl House {
    async fn in_weather(weather: Weather) -> House {
        House::on(weather, InprocNetwork::default()).await
    }

    /// The same, whose servers are on this network.
    async fn on(weather: Weather, network: InprocNetwork) -> House {
        faults::hush();
        let clock = Clock::start_at(START);
        let faults = Faults::default();
        let sockets = Sockets::new(clock, weather, Entropy::from_seed([4; 32]));
        let plane = SimulatedPlane::new(clock, &sockets, &faults);
        let data_plane: Arc<dyn DataPlane> = Arc::new(plane.clone());
        let parts =
            Parts { av_mcu: Some(faults.av_mcu()), data_plane: Some(data_plane), network, ..faults.parts() };
        let deployment = Deployment::of(parts).await;
        let mut vivian = deployment.sign_on("vivian").await;
        let conference = NewConference {
            subject: "The harbour".into(),
            invitees: vec![(user("vivian"), Role::Presenter)],
            media: vec![McuType::Chat, McuType::AudioVideo],
            admission: AdmissionPolicy::OpenAuthenticated,
            expires: None,
        };
        let conference = vivian.schedules_this(conference).await;
        vivian.joins(&conference).await;
        House { deployment, sockets, plane, faults, vivian, conference, phones: 0 }
    }

    async fn quiet() -> House {
        House::in_weather(Weather::default()).await
    }

    /// Two who are in and say nothing, so that the server of voices has nothing to tell.
    async fn two_who_listen(&mut self) -> (Handset, Handset) {
        let (ann, bob) = (self.joins("ann").await, self.joins("bob").await);
        for phone in [&ann, &bob] {
            phone.is_silent(true);
        }
        ann.waits(SECOND * 5).await;
        (ann, bob)
    }

    /// Somebody's phone, with a clock that is wrong by so many millionths.
    fn phone_with(&mut self, name: &str, drift_ppm: i64) -> Handset {
        self.phones += 1;
        let hz = 300 + 100 * u32::from(self.phones);
        let make = Make { name: name.into(), number: self.phones, hz, drift_ppm };
        Handset::new(make, self.deployment.connect().0, &self.sockets, self.deployment.server.clock)
    }

    /// Somebody is in by phone, and talks.
    async fn joins(&mut self, name: &str) -> Handset {
        self.joins_with(name, 0).await
    }

    async fn joins_with(&mut self, name: &str, drift_ppm: i64) -> Handset {
        let phone = self.phone_with(name, drift_ppm);
        phone.joins(&self.conference.to_string()).await;
        phone.talks(true);
        phone
    }

    /// Vivian has somebody's voice kept out, or heard again.
    /// From now on there is a second server of voices, behind a gate of the network between servers; a conference is
    /// there in which nobody is yet.
    async fn moves_behind_a_gate(&mut self, outside: &InprocNetwork) -> (McuHost, Gate) {
        let inside = InprocNetwork::default();
        let (clock, flows) = (self.deployment.server.clock, &self.deployment.server.flows);
        // Of two that are idle the factory takes the one whose name comes first.
        let (name, inner) = ("alpha.inproc", ["alpha.inproc", "alpha.inproc:sip"]);
        let gate = Gate::new(clock, outside, &inside, &inner, &["mcufactory.inproc", "focus.inproc"]);
        let parts = McuParts { mcu: Box::new(AvMcu::default()), media: Some(Arc::new(self.plane.clone())) };
        let alpha = start_mcu(parts, &Config::default(), &inside, name, clock, flows);
        self.vivian.leaves().await;
        self.vivian.waits(HEALTH_PERIOD * 2).await;
        let conference = NewConference {
            subject: "It is cut off".into(),
            invitees: vec![],
            media: vec![McuType::Chat, McuType::AudioVideo],
            admission: AdmissionPolicy::OpenAuthenticated,
            expires: None,
        };
        self.conference = self.vivian.schedules_this(conference).await;
        (alpha, gate)
    }

    async fn mutes(&mut self, name: &str, muted: bool) {
        self.vivian.sees_that("the phone", |picture| picture.on_phones().contains(&name)).await;
        let outcome = self.vivian.commands(Command::Mute { user: user(name), muted }).await;
        assert_eq!(outcome, Outcome::Success);
    }

    async fn records(&self) -> Vec<CallRecord> {
        self.deployment.server.store.calls(&self.conference, 100).await.expect("the store answers")
    }
}

/// Lets these listen for so long.
async fn listen(phones: &[&Handset], time: Duration) {
    phones.iter().for_each(|phone| phone.listens_anew());
    phones[0].waits(time).await;
}

/// Whether each of them hears each other one and nobody himself, at least this strong.
fn all_hear_each_other(phones: &[&Handset], least: f64) {
    for one in phones {
        for other in phones {
            let strength = one.strength(other.make().hz);
            let fits =
                if one.make().number == other.make().number { strength < NONE } else { strength > least };
            assert!(fits, "{} hears {}: {strength:.3}", one.make().name, other.make().name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn three_phones_hear_each_other_and_nobody_himself() {
    let mut house = House::quiet().await;
    let (ann, bob, eve) = (house.joins("ann").await, house.joins("bob").await, house.joins("eve").await);
    ann.waits(SECOND).await;
    listen(&[&ann, &bob, &eve], SECOND).await;
    all_hear_each_other(&[&ann, &bob, &eve], WHOLE);
    assert_eq!(ann.packets(), 50, "one for each 20 ms");
    assert_eq!(ann.sources(), [bob.source(), eve.source()].into());
    house.vivian.sees_that("all of them", |picture| picture.on_phones() == ["ann", "bob", "eve"]).await;

    eve.hangs_up();
    eve.is_out().await;
    ann.waits(SECOND).await;
    listen(&[&ann, &bob, &eve], SECOND).await;
    all_hear_each_other(&[&ann, &bob], WHOLE);
    assert!(ann.strength(eve.make().hz) < NONE, "though she speaks on");
    assert_eq!((eve.packets(), ann.sources()), (0, [bob.source()].into()));
    ann.hangs_up();
    bob.hangs_up();
    house.vivian.sees_that("nobody", |picture| picture.on_phones().is_empty()).await;
    house.vivian.waits(SECOND).await;
    assert_eq!(house.plane.ports(), 0);
    let records = house.records().await;
    let who: Vec<&str> = records.iter().map(|record| record.user.as_str()).collect();
    assert_eq!(who.len(), 3, "{who:?}");
    for CallRecord { ending, quality, codec, .. } in records {
        let quality = quality.expect("the data plane has said how it was");
        assert_eq!((ending, codec.as_deref()), (DisconnectionMethod::Departed, Some("PCMU")));
        assert!(quality.received > 40 && quality.lost + quality.late == 0, "{quality:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn phones_hear_each_other_over_a_bad_line() {
    // Ways of up to 45 ms, each by its own: packets that were sent 20 ms apart overtake each other.
    let mut house = House::in_weather(Weather { delay_ms: 15, lost: 5, twice: 5 }).await;
    let (ann, bob) = (house.joins("ann").await, house.joins("bob").await);
    ann.waits(SECOND * 10).await;
    listen(&[&ann, &bob], SECOND * 10).await;
    all_hear_each_other(&[&ann, &bob], 0.75);
    for phone in [&ann, &bob] {
        assert!((440..500).contains(&phone.packets()), "some of 500 are lost: {}", phone.packets());
        phone.hangs_up();
    }
    house.vivian.sees_that("nobody", |picture| picture.on_phones().is_empty()).await;
    house.vivian.waits(SECOND).await;
    let records = house.records().await;
    assert_eq!(records.len(), 2);
    for record in records {
        let quality = record.quality.expect("the data plane has said how it was");
        let share = quality.lost as f64 / (quality.received + quality.lost) as f64;
        assert!((0.02..0.09).contains(&share), "{quality:?}");
        assert!((3_000..30_000).contains(&quality.jitter_us), "{quality:?}");
        assert!((250..435).contains(&quality.mos), "{quality:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_changes_is_the_same_voice() {
    let mut house = House::in_weather(Weather { delay_ms: 5, lost: 1, twice: 1 }).await;
    let (ann, bob) = (house.joins("ann").await, house.joins("bob").await);
    for _ in 0..5 {
        let before = ann.source();
        ann.changes_source();
        assert_ne!(before, ann.source());
        ann.waits(SECOND * 2).await;
        listen(&[&ann, &bob], SECOND).await;
        all_hear_each_other(&[&ann, &bob], 0.8);
        assert_eq!(bob.sources(), [ann.source()].into());
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_drift_and_the_delay_stays() {
    let mut house = House::quiet().await;
    let fast = house.joins_with("ann", 200).await;
    let slow = house.joins_with("bob", -200).await;
    let wrong = house.joins_with("eve", 1000).await;
    let right = house.joins("dan").await;
    right.is_silent(true);
    let all = [&fast, &slow, &wrong, &right];
    for phone in [&fast, &slow, &wrong] {
        phone.is_silent(true);
    }
    let mut worst = Duration::ZERO;
    for _ in 0..5 {
        for phone in [&fast, &slow, &wrong] {
            right.waits(SECOND / 2).await;
            listen(&all, SECOND).await;
            assert_eq!(right.first_sound(START), None, "nobody says anything");
            phone.is_silent(false);
            let spoken = house.deployment.server.clock.now();
            right.waits(SECOND).await;
            let delay = right.first_sound(spoken).expect("it is heard").since(spoken);
            worst = worst.max(delay);
            // The packet in which she begins, up to two ticks' time, the packet that is heard.
            assert!(delay <= Duration::from_millis(100), "{}: {delay:?}", phone.make().name);
            phone.is_silent(true);
        }
        // For a minute all three talk at once.
        for phone in [&fast, &slow, &wrong] {
            phone.is_silent(false);
        }
        right.waits(SECOND * 59).await;
        listen(&all, SECOND).await;
        for phone in [&fast, &slow, &wrong] {
            let strength = right.strength(phone.make().hz);
            assert!(strength > 0.8, "{}: {strength:.3}", phone.make().name);
            phone.is_silent(true);
        }
    }
    assert!(worst > Duration::from_millis(10), "it was measured: {worst:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_muted_holds_or_is_put_out_is_not_heard() {
    let mut house = House::in_weather(Weather { delay_ms: 3, lost: 1, twice: 1 }).await;
    let (ann, bob, eve) = (house.joins("ann").await, house.joins("bob").await, house.joins("eve").await);
    let all = [&ann, &bob, &eve];

    house.mutes("ann", true).await;
    ann.waits(ON_THE_WAY).await;
    listen(&all, SECOND).await;
    for phone in [&bob, &eve] {
        assert!(phone.strength(ann.make().hz) < NONE && !phone.sources().contains(&ann.source()));
    }
    assert!(ann.strength(bob.make().hz) > 0.8, "she hears the others");
    house.mutes("ann", false).await;
    ann.waits(SECOND).await;
    listen(&all, SECOND).await;
    all_hear_each_other(&all, 0.8);

    for (direction, heard, hears) in [
        (Direction::Inactive, false, false),
        (Direction::SendOnly, true, false),
        (Direction::RecvOnly, false, true),
        (Direction::SendRecv, true, true),
    ] {
        bob.turns(direction).await;
        ann.waits(SECOND).await;
        listen(&all, SECOND).await;
        let (is_heard, does_hear) = (ann.strength(bob.make().hz), bob.strength(ann.make().hz));
        assert_eq!(
            (is_heard > 0.8, does_hear > 0.8),
            (heard, hears),
            "{direction:?}: {is_heard} {does_hear}"
        );
        assert_eq!(
            (is_heard > NONE, does_hear > NONE),
            (heard, hears),
            "{direction:?}: {is_heard} {does_hear}"
        );
    }

    let outcome = house.vivian.commands(Command::Eject { user: user("eve") }).await;
    assert_eq!(outcome, Outcome::Success);
    eve.is_out().await;
    ann.waits(ON_THE_WAY).await;
    listen(&all, SECOND).await;
    for phone in [&ann, &bob] {
        assert!(phone.strength(eve.make().hz) < NONE && !phone.sources().contains(&eve.source()));
    }
    assert_eq!(eve.packets(), 0);
    let records = house.records().await;
    let endings: Vec<_> = records.iter().map(|record| (record.user.as_str(), record.ending)).collect();
    assert_eq!(endings, [("sip:eve@example.test", DisconnectionMethod::Booted)]);
}

#[tokio::test(start_paused = true)]
async fn a_second_phone_takes_over_and_who_comes_back_is_heard() {
    let mut house = House::quiet().await;
    let (desk, bob) = (house.joins("ann").await, house.joins("bob").await);
    desk.waits(SECOND).await;
    let mobile = house.joins("ann").await;
    desk.waits(SECOND).await;
    listen(&[&desk, &mobile, &bob], SECOND).await;
    all_hear_each_other(&[&mobile, &bob], WHOLE);
    assert!(bob.strength(desk.make().hz) < NONE && desk.strength(bob.make().hz) < NONE);
    assert!(mobile.strength(desk.make().hz) < NONE && desk.strength(mobile.make().hz) < NONE);
    for _ in 0..3 {
        mobile.hangs_up();
        mobile.is_out().await;
        desk.waits(SECOND).await;
        listen(&[&desk, &mobile, &bob], SECOND).await;
        all_hear_each_other(&[&desk, &bob], WHOLE);
        mobile.joins(&house.conference.to_string()).await;
        desk.waits(SECOND).await;
        listen(&[&desk, &mobile, &bob], SECOND).await;
        all_hear_each_other(&[&mobile, &bob], WHOLE);
    }
}

#[tokio::test(start_paused = true)]
async fn voices_go_on_when_their_server_or_their_room_breaks() {
    let mut house = House::in_weather(Weather { delay_ms: 5, lost: 2, twice: 2 }).await;
    let (ann, bob, eve) = (house.joins("ann").await, house.joins("bob").await, house.joins("eve").await);
    let all = [&ann, &bob, &eve];
    house.mutes("eve", true).await;
    ann.turns(Direction::SendOnly).await;
    ann.turns(Direction::SendRecv).await;
    for round in 1..=4 {
        if round % 2 == 0 {
            house.faults.break_room(10);
        } else {
            house.faults.break_voices(1);
            // It breaks as it hears that nobody speaks.
            ann.is_silent(true);
            bob.is_silent(true);
            ann.waits(SECOND * 2).await;
            ann.is_silent(false);
            bob.is_silent(false);
        }
        ann.waits(SECOND * 5).await;
        assert_eq!((house.faults.lost_voices(), house.faults.are_over()), (round, true));
        listen(&all, SECOND).await;
        all_hear_each_other(&[&ann, &bob], 0.75);
        for phone in [&ann, &bob] {
            assert!(phone.strength(eve.make().hz) < NONE, "who was muted stays so");
            assert!(!phone.sources().contains(&eve.source()));
        }
        assert!(eve.strength(bob.make().hz) > 0.75);
    }
    assert_eq!(house.plane.broken(), 2);
    assert_eq!(house.plane.totals().rooms, 1, "the lost ones are gone");
    house.mutes("eve", false).await;
    ann.waits(SECOND).await;
    listen(&all, SECOND).await;
    all_hear_each_other(&all, 0.75);
    for phone in all {
        phone.hangs_up();
        phone.is_out().await;
    }
    house.vivian.waits(SECOND).await;
    assert_eq!(house.records().await.len(), 3, "one for each call, of the last server");
    assert_eq!(house.plane.ports(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_put_out_as_the_server_of_voices_breaks_is_out() {
    let mut house = House::quiet().await;
    let (ann, bob) = house.two_who_listen().await;
    // It breaks as it hears of that.
    house.faults.break_voices(1);
    let eject = Command::Eject { user: user("ann") };
    assert_eq!(house.vivian.commands(eject).await, Outcome::Success);
    ann.is_out().await;
    bob.waits(SECOND * 5).await;
    assert_eq!((house.faults.lost_voices(), bob.is_in()), (1, true));
    bob.hangs_up();
    bob.is_out().await;
    house.vivian.waits(SECOND).await;
    assert_eq!(house.plane.ports(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_ends_as_its_server_of_voices_breaks_ends_for_phones() {
    let mut house = House::quiet().await;
    let (ann, bob) = house.two_who_listen().await;
    // It breaks as it hears of the end.
    house.faults.break_voices(1);
    house.vivian.wants(Command::End).await;
    ann.is_out().await;
    bob.is_out().await;
    assert_eq!(house.faults.lost_voices(), 1);
    house.vivian.waits(SECOND).await;
    assert_eq!((house.plane.ports(), house.plane.totals().rooms), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_ends_as_its_server_of_voices_is_cut_off_ends_for_phones() {
    let outside = InprocNetwork::default();
    let mut house = House::on(Weather::default(), outside.clone()).await;
    let (alpha, gate) = house.moves_behind_a_gate(&outside).await;
    let before = house.plane.totals().rooms;
    house.vivian.joins(&house.conference).await;
    let (ann, bob) = (house.joins("ann").await, house.joins("bob").await);
    assert_eq!(alpha.conference_count(), 1, "the conference is behind the gate");
    gate.shut();
    house.vivian.wants(Command::End).await;
    ann.is_out().await;
    bob.is_out().await;
    gate.open();
    ann.waits(HEALTH_LIMIT).await;
    assert_eq!((alpha.conference_count(), house.plane.ports()), (0, 0));
    assert_eq!(house.plane.totals().rooms, before);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_cut_off_lets_go_of_its_rooms() {
    let outside = InprocNetwork::default();
    let mut house = House::on(Weather::default(), outside.clone()).await;
    let (alpha, gate) = house.moves_behind_a_gate(&outside).await;
    let (ann, bob) = (house.joins("ann").await, house.joins("bob").await);
    assert_eq!(alpha.conference_count(), 1, "the conference is behind the gate");
    let before = house.plane.totals().rooms;
    gate.shut();
    ann.waits(HEALTH_LIMIT * 2).await;
    listen(&[&ann, &bob], SECOND).await;
    all_hear_each_other(&[&ann, &bob], WHOLE);
    assert_eq!(ann.packets(), 50, "from one server alone");
    gate.open();
    ann.waits(HEALTH_LIMIT).await;
    assert_eq!((alpha.conference_count(), house.plane.totals().rooms), (0, before));
    listen(&[&ann, &bob], SECOND).await;
    all_hear_each_other(&[&ann, &bob], WHOLE);
}
