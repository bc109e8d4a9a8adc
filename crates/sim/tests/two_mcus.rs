//! Two conferencing servers: the idler one gets the next conference, and one that falls silent (no
//! health, no answer on connections that stay open, no SIP) is replaced by the other.

use std::time::Duration;

use confab_client::Command;
use confab_conference::mcu_factory::{HEALTH_LIMIT, HEALTH_PERIOD};
use confab_machine::{Component, FlowRecord, Time};
use confab_mcu::ImMcu;
use confab_server::{
    config::Config,
    inproc::InprocNetwork,
    mcu_host::McuHost,
    roles::{McuParts, Parts, start_mcu},
    sip_transport::{ConnectionLimits, Flows, TransportEvent},
};
use confab_sim::{deployment::Deployment, gate::Gate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

/// What was asked for.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);
/// The one behind the gate. Of two that are idle the factory takes this: its name comes first.
const ALPHA: &str = "alpha.inproc";

/// A deployment with two MCUs, the preferred one behind a gate.
async fn gated() -> (Deployment, McuHost, Gate) {
    let outside = InprocNetwork::default();
    let deployment = Deployment::of(Parts { network: outside.clone(), ..Parts::default() }).await;
    let inside = InprocNetwork::default();
    let clock = deployment.server.clock;
    let inner = [ALPHA, "alpha.inproc:sip"];
    let gate = Gate::new(clock, &outside, &inside, &inner, &["mcufactory.inproc", "focus.inproc"]);
    let (config, flows) = (Config::default(), &deployment.server.flows);
    let alpha =
        start_mcu(McuParts { mcu: Box::new(ImMcu), media: None }, &config, &inside, ALPHA, clock, flows);
    (deployment, alpha, gate)
}

/// When the first note after `since` was written in which one component told another this.
fn when(trace: &[FlowRecord], since: Time, from: Component, to: Component, what: &str) -> Time {
    let is_it = |record: &&FlowRecord| {
        let note = &record.note;
        record.at > since && note.from == from && note.to == to && note.summary.contains(what)
    };
    trace.iter().find(is_it).unwrap_or_else(|| panic!("no {what:?} in {trace:#?}")).at
}

#[tokio::test(start_paused = true)]
async fn the_next_conference_goes_where_fewer_people_are() {
    let (deployment, alpha, _gate) = gated().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    vivian.waits(HEALTH_PERIOD * 2).await;
    let first = vivian.schedules("The first", vec![]).await;
    vivian.joins(&first).await;
    assert_eq!(alpha.conference_count(), 1);
    vivian.waits(HEALTH_PERIOD * 2).await;
    let second = amy.schedules("The second", vec![]).await;
    amy.joins(&second).await;
    assert_eq!(alpha.conference_count(), 1, "nobody is on the other one");
    vivian.leaves().await;
    alpha.drain();
    amy.waits(HEALTH_PERIOD * 2).await;
    let third = vivian.schedules("The third", vec![]).await;
    vivian.joins(&third).await;
    assert_eq!(alpha.conference_count(), 1, "it takes no more, though nobody is on it");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_noticed_and_replaced_within_five_seconds() {
    let (deployment, alpha, gate) = gated().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    vivian.waits(HEALTH_PERIOD * 2).await;
    let conference = vivian.schedules("It falls silent", vec![]).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;
    assert_eq!(alpha.conference_count(), 1, "the conference is behind the gate");

    gate.shut();
    let last = gate.last_sign_of_life();
    // A command hangs there, and so does what is said.
    let mut hao = deployment.sign_on("hao").await;
    hao.wants(Command::Join { conference: conference.clone() }).await;
    vivian.says("is anybody there?").await;
    amy.says("I am").await;
    assert_eq!(amy.hears().await, ("vivian".to_owned(), "is anybody there?".to_owned()));
    assert_eq!(vivian.hears().await, ("amy".to_owned(), "I am".to_owned()));
    hao.says("so am I").await;
    assert_eq!(amy.hears().await, ("hao".to_owned(), "so am I".to_owned()));

    let trace = deployment.trace(&conference);
    let noticed = when(&trace, last, Component::McuFactory, Component::Focus, "is lost");
    let asked = when(&trace, last, Component::McuFactory, Component::ImMcu, "addConference chat");
    assert!(noticed.since(last) <= NOTICED_WITHIN, "noticed after {:?}", noticed.since(last));
    assert!(asked.since(last) <= NOTICED_WITHIN, "the successor was asked after {:?}", asked.since(last));

    // It comes back with those words in its ears, and keeps them to itself.
    gate.open();
    vivian.waits(HEALTH_LIMIT).await;
    assert_eq!(alpha.conference_count(), 0, "it has let go");
    vivian.says("just us?").await;
    assert_eq!(amy.hears().await, ("vivian".to_owned(), "just us?".to_owned()));
    assert_eq!(hao.hears().await, ("vivian".to_owned(), "just us?".to_owned()), "nothing is heard twice");
    amy.says("as before").await;
    assert_eq!(vivian.hears().await, ("hao".to_owned(), "so am I".to_owned()));
    assert_eq!(vivian.hears().await, ("amy".to_owned(), "as before".to_owned()));
    assert_eq!(vivian.picture().on_chat(), ["amy", "hao", "vivian"]);

    // Whoever comes back is as good as any other.
    let next = amy.schedules("It is back", vec![]).await;
    amy.leaves().await;
    amy.joins(&next).await;
    assert_eq!(alpha.conference_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_for_a_moment_keeps_its_conferences() {
    let (deployment, alpha, gate) = gated().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    vivian.waits(HEALTH_PERIOD * 2).await;
    let conference = vivian.schedules("It stumbles", vec![]).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;
    gate.shut();
    vivian.says("hm?").await;
    vivian.waits(HEALTH_LIMIT - HEALTH_PERIOD * 2).await;
    gate.open();
    assert_eq!(amy.hears().await, ("vivian".to_owned(), "hm?".to_owned()));
    vivian.waits(HEALTH_LIMIT).await;
    amy.says("fine").await;
    assert_eq!(vivian.hears().await, ("amy".to_owned(), "fine".to_owned()));
    assert_eq!(alpha.conference_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_conference_does_not_wait_for_a_silent_server() {
    let (deployment, alpha, gate) = gated().await;
    let mut vivian = deployment.sign_on("vivian").await;
    vivian.waits(HEALTH_PERIOD * 2).await;
    let conference = vivian.schedules("It never begins there", vec![]).await;
    gate.shut();
    let start = deployment.server.clock.now();
    vivian.joins(&conference).await;
    let waited = deployment.server.clock.now().since(start);
    assert!(waited < HEALTH_LIMIT, "the other took it after {waited:?}");
    // What it hears of the conference when it is back it is told to forget.
    gate.open();
    vivian.waits(HEALTH_LIMIT * 2).await;
    assert_eq!(alpha.conference_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_is_kept_alive_and_a_silent_one_is_closed() {
    let (flows, mut events) = Flows::new(ConnectionLimits::of_our_own(), 10);
    let (near, mut far) = tokio::io::duplex(1000);
    let flow = flows.add_link(near);
    let start = Instant::now();
    let mut ping = [0; 4];
    while start.elapsed() < HEALTH_LIMIT * 3 {
        far.read_exact(&mut ping).await.expect("the link stands");
        assert_eq!(&ping, b"\r\n\r\n");
        far.write_all(b"\r\n").await.expect("the link stands");
    }
    assert!(timeout(Duration::ZERO, events.recv()).await.is_err(), "who answers is there");
    far.write_all(b"\r\n\r\n").await.expect("the link stands");
    let mut pong = [0; 2];
    far.read_exact(&mut pong).await.expect("the link stands");
    assert_eq!(&pong, b"\r\n");

    let last = Instant::now();
    let event = events.recv().await.expect("it tells of its end");
    assert!(matches!(event, TransportEvent::Closed { flow: closed } if closed == flow));
    assert_eq!(last.elapsed(), HEALTH_LIMIT);
}
