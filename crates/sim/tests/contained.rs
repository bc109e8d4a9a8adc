//! A panic in one conference touches no other. The IM MCU of the first deployment is ours, but for a
//! word at which the machine of that one conference panics; the Focus of the second breaks when told.

use std::time::Duration;

use confab_client::{Command, Ending, Outcome};
use confab_machine::{Entropy, Machine, Time};
use confab_mcu::{Action, Conference, ConferenceSpec, Event, ImMcu, Mcu, Refusal};
use confab_schema::{conference_info::Role, uri::McuType};
use confab_sim::{
    deployment::{Deployment, user},
    faults::Faults,
};

/// The word.
const POISON: &str = "abracadabra";

/// Our IM MCU, but fragile.
struct FragileMcu;

struct FragileConference(Conference);

impl Mcu for FragileMcu {
    fn media(&self) -> McuType {
        ImMcu.media()
    }

    fn add_conference(&mut self, spec: ConferenceSpec, entropy: Entropy) -> Result<Conference, Refusal> {
        ImMcu.add_conference(spec, entropy).map(|whole| Box::new(FragileConference(whole)) as Conference)
    }
}

impl Machine for FragileConference {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        if let Event::SipRequest { request, .. } = &event {
            let said = String::from_utf8_lossy(&request.body);
            assert!(!said.contains(POISON), "this conference breaks on purpose");
        }
        self.0.handle(now, event, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.0.deadline()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        self.0.handle_timeout(now, out);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_is_contained() {
    let deployment = Deployment::with_im_mcu(Box::new(FragileMcu)).await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    let mut bob = deployment.sign_on("bob").await;
    let mut hao = deployment.sign_on("hao").await;
    let broken = vivian.schedules("This one breaks", vec![]).await;
    vivian.joins(&broken).await;
    amy.joins(&broken).await;
    let whole = bob.schedules("This one goes on", vec![]).await;
    bob.joins(&whole).await;
    hao.joins(&whole).await;

    amy.says(POISON).await;

    // The other conference does not notice.
    bob.says("all well?").await;
    assert_eq!(hao.hears().await, ("bob".to_owned(), "all well?".to_owned()));
    assert_eq!(bob.commands(Command::Promote { user: user("hao") }).await, Outcome::Success);

    // In the broken one the sessions go on with the machine that replaces it: nobody comes anew.
    vivian.says("still there?").await;
    assert_eq!(amy.hears().await, ("vivian".to_owned(), "still there?".to_owned()));
    amy.says("of course").await;
    assert_eq!(vivian.hears().await, ("amy".to_owned(), "of course".to_owned()));

    // Who comes later is in the same chat, and leaders still lead.
    let mut kim = deployment.sign_on("kim").await;
    kim.joins(&broken).await;
    kim.says("late, but here").await;
    assert_eq!(vivian.hears().await, ("kim".to_owned(), "late, but here".to_owned()));
    assert_eq!(amy.hears().await, ("kim".to_owned(), "late, but here".to_owned()));
    vivian.wants(Command::End).await;
    assert_eq!(amy.is_out().await, Ending::ConferenceEnded);
    assert_eq!(vivian.is_out().await, Ending::ConferenceEnded);

    // And nobody else's meeting was touched to the end.
    hao.says("it was quiet here").await;
    assert_eq!(bob.hears().await, ("hao".to_owned(), "it was quiet here".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_focus_that_breaks_goes_on_from_its_snapshot() {
    let faults = Faults::default();
    let deployment = Deployment::of(faults.parts()).await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    let conference = vivian.schedules("This one breaks and goes on", vec![]).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;
    vivian.sees_that("both on the chat", |picture| picture.on_chat() == ["amy", "vivian"]).await;
    let version = vivian.picture().version;

    // A question is answered with an error, and may be asked again.
    faults.break_focus(1);
    let Outcome::Refused(refusal) = vivian.commands(Command::Promote { user: user("amy") }).await else {
        panic!("a broken Focus did what it was told")
    };
    assert_eq!(refusal.status, 500);
    assert_eq!(vivian.commands(Command::Promote { user: user("amy") }).await, Outcome::Success);
    amy.sees_that("the new role", |picture| picture.people[&user("amy")].role == Role::Presenter).await;
    assert!(amy.picture().version > version, "the versions go on too");

    // Dialogs, subscriptions and the MCU's sessions went on all the while.
    amy.says("did you notice anything?").await;
    assert_eq!(vivian.hears().await, ("amy".to_owned(), "did you notice anything?".to_owned()));
    let mut bob = deployment.sign_on("bob").await;
    bob.joins(&conference).await;
    bob.says("what was there to notice?").await;
    assert_eq!(amy.hears().await, ("bob".to_owned(), "what was there to notice?".to_owned()));

    // What nobody would say again is heard once more.
    vivian.waits(Duration::from_secs(61)).await;
    faults.break_focus(1);
    bob.leaves().await;
    vivian.sees_that("that Bob is gone", |picture| picture.on_chat() == ["amy", "vivian"]).await;

    // Twice within a minute is too often. Everybody is told, and the next meeting begins anew.
    faults.break_focus(1);
    vivian.commands(Command::Lock { locked: true }).await;
    assert_eq!(amy.is_out().await, Ending::ConferenceEnded);
    assert_eq!(vivian.is_out().await, Ending::ConferenceEnded);
    assert_eq!(deployment.server.directory.active_conferences(), [], "the meeting is over");
    assert_eq!(amy.joins(&conference).await, Role::Attendee, "in a new meeting");
    let trace = deployment.trace(&conference);
    let broke = trace.iter().filter(|record| record.note.summary.contains("the Focus broke"));
    assert_eq!(broke.count(), 3, "it is in the trace");
}
