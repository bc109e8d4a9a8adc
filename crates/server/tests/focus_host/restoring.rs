//! A Focus that breaks is put back to before and goes on, once; a snapshot is all there is of it; and
//! what it heard can be saved and replayed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use confab_conference::focus;
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    cccp::{Command, ConferenceKeys, UserKeys},
    conference_info::Role,
    uri::McuType,
};
use confab_server::focus_host::{Action, Event, FocusHost, Restorable, SavedFlow};
use confab_sip::{Flow, Method, Transport};

use crate::hall::{CONFERENCE, Hall, flow, header, lock, user};

/// A connection at whose end it breaks whenever it hears of that.
const POISON: Flow = Flow { id: 13, transport: Transport::Tcp };

/// A host that breaks at the next events, as often as the fuse says.
struct Fragile {
    whole: FocusHost,
    fuse: Arc<AtomicU32>,
}

impl Fragile {
    fn burn(&self) {
        let lit = self.fuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(lit.is_err(), "this host breaks on purpose");
    }
}

impl Machine for Fragile {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        let poisoned = matches!(event, Event::FlowClosed { flow: POISON });
        self.whole.handle(now, event, out);
        assert!(!poisoned, "this host breaks on purpose");
        self.burn();
    }

    fn deadline(&self) -> Option<Time> {
        self.whole.deadline()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        self.whole.handle_timeout(now, out);
        self.burn();
    }
}

impl Restorable for Fragile {
    fn copy(&self) -> Box<dyn Restorable> {
        Box::new(Fragile { whole: self.whole.clone(), fuse: Arc::clone(&self.fuse) })
    }

    fn host(&self) -> &FocusHost {
        &self.whole
    }

    fn host_mut(&mut self) -> &mut FocusHost {
        &mut self.whole
    }
}

/// A hall whose Focus breaks as often as is written into the fuse.
fn fragile_hall() -> (Hall, Arc<AtomicU32>) {
    let fuse = Arc::new(AtomicU32::new(0));
    let of_host = Arc::clone(&fuse);
    let hall = Hall::with(|whole| Box::new(Fragile { whole, fuse: of_host }));
    (hall, fuse)
}

fn promote(who: &str) -> Command {
    let keys = UserKeys { entity: CONFERENCE.into(), user: user(who).to_string() };
    Command::ModifyUserRoles { keys, roles: vec![Role::Presenter] }
}

#[test]
fn a_question_that_breaks_it_is_answered_and_all_else_goes_on() {
    let (mut hall, fuse) = fragile_hall();
    let mut ann = hall.joins(1, "ann");
    let mut bob = hall.joins(2, "bob");
    let watcher = hall.subscribes(2, "bob", "ms-benotify, ms-piggyback-first-notify");
    hall.settles();
    hall.forget();
    fuse.store(1, Ordering::Relaxed);
    let refused = hall.commands(&mut ann, promote("bob"));
    assert_eq!(refused.status, 500);
    hall.settles();
    assert!(hall.sent_to(&watcher).is_empty() && hall.sent_to(&ann).is_empty(), "nothing came of it");

    // The same dialogs, the same people, the next version.
    assert_eq!(hall.commands(&mut bob, lock(true)).status, 403, "Bob was not promoted");
    assert_eq!(hall.commands(&mut ann, promote("bob")).status, 202);
    hall.settles();
    let told = hall.one_sent_to(&watcher);
    let text = String::from_utf8_lossy(&told.request.body).into_owned();
    assert!(text.contains("presenter") && text.contains("bob"), "{text}");
    assert_eq!(hall.commands(&mut bob, lock(true)).status, 202);
    assert!(!hall.has_ended());
}

#[test]
fn one_that_broke_at_its_first_ends_when_nobody_comes() {
    let (mut hall, fuse) = fragile_hall();
    fuse.store(1, Ordering::Relaxed);
    let invite = hall.invite("ann", "ann");
    assert_eq!(hall.asks(flow(1), "ann", invite).status, 500);
    hall.waits(Duration::from_secs(601));
    assert!(hall.has_ended());
}

#[test]
fn a_fact_that_broke_it_is_heard_once_more() {
    let (mut hall, fuse) = fragile_hall();
    hall.joins(1, "ann");
    let mut bob = hall.joins(2, "bob");
    let watcher = hall.subscribes(1, "ann", "ms-benotify, ms-piggyback-first-notify");
    hall.settles();
    hall.forget();
    fuse.store(1, Ordering::Relaxed);
    let bye = bob.dialog.request(Method::Bye);
    assert_eq!(hall.within(&mut bob, bye).status, 200);
    assert_eq!(hall.counted(), Some(1), "Bob is out");
    assert!(!hall.has_ended());

    // A minute later it may break again, be it by the time.
    hall.waits(Duration::from_secs(120));
    fuse.store(1, Ordering::Relaxed);
    hall.waits(Duration::from_secs(4000));
    assert_eq!(fuse.load(Ordering::Relaxed), 0, "the subscription has run out");
    let told = hall.sent_to(&watcher);
    assert_eq!(header(&told.last().unwrap().request, "Subscription-State"), "terminated;reason=timeout");
    assert!(!hall.has_ended());
}

#[test]
fn who_breaks_twice_within_a_minute_ends_the_meeting() {
    let (mut hall, fuse) = fragile_hall();
    let mut ann = hall.joins(1, "ann");
    let bob = hall.joins(2, "bob");
    let watcher = hall.subscribes(2, "bob", "ms-benotify, ms-piggyback-first-notify");
    let control_url = "http://immcu.inproc/LiveServer/IMMCU/1".to_owned();
    hall.hear(Event::Focus(focus::Event::McuReady { media: McuType::Chat, control_url }));
    hall.settles();
    hall.forget();
    for status in [500, 500] {
        fuse.store(1, Ordering::Relaxed);
        assert_eq!(hall.commands(&mut ann, lock(true)).status, status);
        hall.waits(Duration::from_secs(30));
    }
    for leg in [&ann, &bob] {
        let bye = hall.one_sent_to(leg);
        assert_eq!(bye.request.method, Method::Bye);
        assert!(header(&bye.request, "Reason").contains("mistake"), "{}", header(&bye.request, "Reason"));
    }
    let told = hall.sent_to(&watcher);
    assert_eq!(header(&told.last().unwrap().request, "Subscription-State"), "terminated;reason=noresource");
    let deleted = hall.done.iter().any(|action| {
        let Action::Focus(focus::Action::EndMcu { request, .. }) = action else { return false };
        request.commands == [Command::DeleteConference(ConferenceKeys::of(CONFERENCE))]
    });
    assert!(deleted, "the MCU need not keep the conference");
    assert!(hall.has_ended());
}

#[test]
fn a_fact_that_breaks_it_again_ends_the_meeting() {
    let (mut hall, _) = fragile_hall();
    let ann = hall.joins(1, "ann");
    hall.joins(13, "bob");
    hall.settles();
    hall.forget();
    hall.hear(Event::FlowClosed { flow: POISON });
    assert_eq!(hall.one_sent_to(&ann).request.method, Method::Bye);
    assert!(hall.has_ended());
}

#[test]
fn one_that_breaks_even_at_the_end_ends_all_the_same() {
    let (mut hall, fuse) = fragile_hall();
    hall.joins(1, "ann");
    fuse.store(u32::MAX, Ordering::Relaxed);
    let key = {
        let invite = hall.invite("bob", "bob");
        hall.receives(flow(2), "bob", invite)
    };
    assert_eq!(hall.answer_to(&key).map(|answer| answer.status), Some(500));
    assert!(hall.has_ended());
}

#[test]
fn it_is_put_back_over_any_number_of_snapshots() {
    let (mut hall, fuse) = fragile_hall();
    let mut ann = hall.joins(1, "ann");
    for locked in [true, false].into_iter().cycle().take(601) {
        assert_eq!(hall.commands(&mut ann, lock(locked)).status, 202);
        hall.settles();
    }
    fuse.store(1, Ordering::Relaxed);
    assert_eq!(hall.commands(&mut ann, lock(false)).status, 500);
    hall.forget();
    let newcomer = hall.invite("bob", "bob");
    assert_eq!(hall.asks(flow(2), "bob", newcomer).status, 403, "it is still locked");
    assert_eq!(hall.commands(&mut ann, lock(false)).status, 202);
}

/// A hall to send requests from, and a host beside it.
fn hall_and_host() -> (Hall, FocusHost) {
    let mut of_its_own = None;
    let hall = Hall::with(|host| {
        of_its_own = Some(host.clone());
        Box::new(host)
    });
    (hall, of_its_own.unwrap())
}

#[test]
fn a_written_host_goes_on_as_it_would_have() {
    let (mut hall, mut host) = hall_and_host();
    host.seed(Entropy::from_seed([5; 32]));
    let mut out = Vec::new();
    let mut heard = Vec::new();
    let invites = [hall.invite("ann", "ann"), hall.invite("bob", "bob"), hall.subscribe("ann", "")];
    for (who, request) in ["ann", "bob", "ann"].into_iter().zip(invites) {
        heard.push(hall.event(flow(1), who, request));
    }
    for event in heard {
        host.handle(hall.now, event, &mut out);
        while host.deadline().is_some_and(|at| at <= hall.now) {
            host.handle_timeout(hall.now, &mut out);
        }
    }
    let written = serde_json::to_string(&host).unwrap();
    let mut read: FocusHost = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), written);
    host.seed(Entropy::from_seed([6; 32]));
    read.seed(Entropy::from_seed([6; 32]));
    let more = hall.invite("pat", "pat");
    let more = hall.event(flow(2), "pat", more);
    let later = hall.now + Duration::from_secs(1000);
    let go_on = |mut host: FocusHost| {
        let mut out = Vec::new();
        host.handle(later, more.clone(), &mut out);
        while host.deadline().is_some_and(|at| at <= later) {
            host.handle_timeout(later, &mut out);
        }
        host.handle(later, Event::FlowClosed { flow: flow(1) }, &mut out);
        host.handle(later, Event::Focus(focus::Event::EndRequested), &mut out);
        format!("{out:?}")
    };
    assert_eq!(go_on(host), go_on(read));
}

#[test]
fn a_saved_flow_replays() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    hall.joins(2, "bob");
    hall.subscribes(2, "bob", "ms-benotify, ms-piggyback-first-notify");
    let control_url = "http://immcu.inproc/LiveServer/IMMCU/0123456789abcdef".to_owned();
    hall.hear(Event::Focus(focus::Event::McuReady { media: McuType::Chat, control_url }));
    assert_eq!(hall.commands(&mut ann, lock(true)).status, 202);
    hall.settles();
    hall.hear(Event::FlowWanted { number: 7 });
    let saved = hall.done.iter().find_map(|action| match action {
        Action::GiveFlow { number: 7, flow } => Some(flow.clone()),
        _ => None,
    });
    let flow = saved.expect("it is given");
    assert!(flow.len() >= 6, "joins, a subscription, an MCU, a command, time");
    flow.replay().unwrap();
    let file = flow.anonymous().unwrap().to_json().unwrap();
    for private in ["BOB", "Plans", "0123456789abcdef"] {
        assert!(flow.to_json().unwrap().contains(private), "{private} was there");
        assert!(!file.contains(private), "{private} is in the file");
    }
    let read = SavedFlow::from_json(&file).unwrap();
    assert_eq!(read.len(), flow.len());
    read.replay().unwrap();

    // The seed is Ann's past; another outcome is noticed.
    let other = file.replacen("\"locked\": true", "\"locked\": false", 1);
    assert_ne!(other, file);
    assert!(SavedFlow::from_json(&other).unwrap().replay().is_err());
}
