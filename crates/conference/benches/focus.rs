//! What a Focus does as a conference grows: somebody joins, one thing changes and all are told,
//! somebody subscribes and is told everything. Machines alone: no SIP and no sockets. Above 500
//! people the meeting is a large one. `make bench BENCH=focus` runs this; the figures are in
//! `docs/performance.md`.

use std::time::Duration;

use confab_conference::{
    focus::{Action, Event, Focus, JoinId, SubscriptionId},
    policy::{Identity, MeetingPolicy},
    record::ConferenceRecord,
};
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    cccp::{AddUser, Command, ConferenceKeys, Request},
    conference_info::{AdmissionPolicy, Endpoint, Role, User, View},
    uri::{ConferenceUri, McuType, UserUri},
};
use divan::{Bencher, counter::ItemsCount};

const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:5F0D6A3BC1E24788";
/// Subscribers; each ten of them are one person's, for his full document grows with the people.
const SUBSCRIBERS: [usize; 3] = [250, 1000, 10_000];
/// As many as one person may have.
const EACH: usize = 10;
/// People in the conference, in the last case many enough for a large meeting.
const PEOPLE: [usize; 4] = [10, 250, 500, 10_000];
/// More than the time in which changes are gathered, even in a large meeting.
const QUIET: Duration = Duration::from_secs(3);

fn main() {
    divan::main();
}

struct Meeting {
    focus: Focus,
    now: Time,
    last_id: u64,
    out: Vec<Action>,
}

impl Meeting {
    fn of(people: usize, subscriptions_each: usize) -> Meeting {
        let mut meeting = Meeting {
            focus: Focus::new(record(), policy(), Entropy::from_seed([1; 32])),
            now: Time::from_unix_secs(1_000_000),
            last_id: 0,
            out: Vec::new(),
        };
        for number in 0..people {
            meeting.join(number, 0);
            for _ in 0..subscriptions_each {
                meeting.subscribe(number);
            }
        }
        meeting.tell();
        meeting
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn hear(&mut self, event: Event) {
        self.out.clear();
        self.focus.handle(self.now, event, &mut self.out);
    }

    fn join(&mut self, number: usize, endpoint: usize) -> JoinId {
        let join = JoinId(self.next_id());
        let user = user(number);
        let endpoint = Endpoint::new(format!("{{{endpoint}}}"));
        let person =
            User { roles: vec![Role::Attendee], endpoints: vec![endpoint], ..User::new(user.to_string()) };
        let add = AddUser { mcu_uri: None, keys: ConferenceKeys::of(CONFERENCE), user: person };
        let request = Request::new(1, user.to_string(), CONFERENCE, Command::AddUser(add));
        let display_name = format!("Person number {number}");
        self.hear(Event::Join { join, user, identity: Identity::Enterprise, display_name, request });
        assert!(matches!(self.out[..], [Action::Admit { .. }, ..]), "everybody may join");
        join
    }

    fn subscribe(&mut self, number: usize) -> SubscriptionId {
        let subscription = SubscriptionId(self.next_id());
        self.hear(Event::Subscribe { subscription, user: user(number), view: View::Microsoft });
        subscription
    }

    /// Time passes, and all are told what has changed; how many were.
    fn tell(&mut self) -> usize {
        self.now = self.now + QUIET;
        self.out.clear();
        self.focus.handle_timeout(self.now, &mut self.out);
        let told = self.out.iter().map(|action| match action {
            Action::Notify { subscriptions, .. } => subscriptions.len(),
            Action::NotifyEach { documents, .. } => {
                documents.iter().map(|of_one| of_one.subscriptions.len()).sum()
            }
            _ => 0,
        });
        told.sum()
    }
}

/// Somebody comes in from a second program or goes out of it, and everybody is told.
#[divan::bench(args = SUBSCRIBERS, sample_count = 50)]
fn one_change_to_all(bencher: Bencher<'_, '_>, subscribers: usize) {
    let mut meeting = Meeting::of(subscribers / EACH, EACH);
    let mut second = None;
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        match second.take() {
            Some(join) => meeting.hear(Event::Left { join }),
            None => second = Some(meeting.join(1, 1)),
        }
        assert_eq!(meeting.tell(), subscribers);
    });
}

/// Somebody is let in and goes again, while nobody is told yet.
#[divan::bench(args = PEOPLE)]
fn join_and_leave(bencher: Bencher<'_, '_>, people: usize) {
    let mut meeting = Meeting::of(people, 0);
    bencher.bench_local(|| {
        let join = meeting.join(people, 0);
        meeting.hear(Event::Left { join });
    });
}

/// Somebody subscribes, is given the full document, and ends it.
#[divan::bench(args = PEOPLE)]
fn subscribe(bencher: Bencher<'_, '_>, people: usize) {
    let mut meeting = Meeting::of(people, 0);
    bencher.bench_local(|| {
        let subscription = meeting.subscribe(1);
        assert!(matches!(meeting.out[..], [Action::AcceptSubscription { .. }]), "everybody may watch");
        meeting.hear(Event::Unsubscribed { subscription });
    });
}

fn user(number: usize) -> UserUri {
    UserUri::parse(&format!("sip:person{number}@example.test")).expect("a plain name makes an address")
}

fn policy() -> MeetingPolicy {
    MeetingPolicy {
        max_participants: usize::MAX,
        large_meeting: 500,
        max_conferences_per_organizer: 10,
        allow_anonymous: false,
        lobby: false,
        media: vec![McuType::Chat],
        default_lifetime_s: 3600,
        empty_limit_s: 600,
        idle_limit_s: 24 * 3600,
    }
}

fn record() -> ConferenceRecord {
    ConferenceRecord {
        uri: ConferenceUri::parse(CONFERENCE).expect("it is written right"),
        version: 1,
        subject: "Plans".into(),
        description: String::new(),
        expires: Time::from_unix_secs(2_000_000_000),
        admission: AdmissionPolicy::OpenAuthenticated,
        conference_key: None,
        locked: false,
        lobby: false,
        participants: Vec::new(),
        media: vec![McuType::Chat],
        notification_data: None,
        organizer_data: None,
        created: Time::from_unix_secs(900_000),
        updated: Time::from_unix_secs(900_000),
        last_activated: None,
    }
}
