//! One change in a conference, and everybody is told: by the Focus with its dialogs alone, and by a
//! whole server up to the last subscriber's connection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use confab_conference::{
    focus::Focus,
    policy::{Identity, MeetingPolicy},
    record::ConferenceRecord,
};
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    conference_info::AdmissionPolicy,
    uri::{ConferenceUri, McuType},
};
use confab_server::focus_host::{Action, Event, FocusHost, Sender};
use confab_sip::{Flow, Request, TransactionOutput, Transactions, Transport};
use tokio::{io::AsyncWriteExt, time::sleep};

use crate::{
    bed::{Bed, DOMAIN, STREAM_BUFFER},
    caller::Caller,
    participant::{Participant, Told},
    report::{Spread, Watch, line, micros, millis, spread},
};

/// Subscribers, of whom ten each are one person's: his full document grows with the people.
const SUBSCRIBERS: [usize; 3] = [250, 1000, 10_000];
/// As many as one person may have.
const EACH: usize = 10;
/// Changes measured.
const ROUNDS: usize = 15;
/// More than the time in which changes are gathered, if the organizer is among them.
const QUIET: Duration = Duration::from_millis(200);
/// The same in a large meeting, if he is not.
const REST: Duration = Duration::from_secs(3);

/// The Focus with its SIP dialogs, as machines: from the change to the requests that tell of it.
pub fn of_one_focus() {
    for subscribers in SUBSCRIBERS {
        let mut meeting = Meeting::of(subscribers);
        let measured = spread((0..ROUNDS).map(|_| meeting.one_change(subscribers)).collect());
        let each = micros(measured.median) / subscribers as f64;
        let figure = format!("{:>8.2} ms, {each:.2} µs each", millis(measured.median));
        line(&format!("one change told to {subscribers} by Focus and dialogs"), &figure);
        let people = subscribers / EACH;
        let lost = meeting.all_are_lost(people);
        let figure = format!("{:>8.2} ms, {:.2} µs each", millis(lost), micros(lost) / people as f64);
        line(&format!("{people} people, {EACH} subscriptions each, lost at once"), &figure);
    }
}

/// A Focus and its dialogs.
struct Meeting {
    host: FocusHost,
    /// They name the requests, as in a front end.
    transactions: Transactions,
    now: Time,
    conference: ConferenceUri,
    visitor: usize,
}

impl Meeting {
    fn of(subscribers: usize) -> Meeting {
        let conference = Caller::new("ann").conference("0123456789ABCDEF");
        let focus = Focus::new(record(conference.clone()), policy(), Entropy::from_seed([1; 32]));
        let mut meeting = Meeting {
            host: FocusHost::new(focus, DOMAIN.into(), Entropy::from_seed([2; 32])),
            transactions: Transactions::new(Entropy::from_seed([3; 32]), usize::MAX),
            now: Time::from_unix_secs(1_000_000),
            conference: conference.clone(),
            visitor: subscribers,
        };
        for number in 0..subscribers / EACH {
            let mut person = Caller::new(&format!("person{number}"));
            meeting.hear(number, person.joining(&conference));
            for _ in 0..EACH {
                meeting.hear(number, person.subscribing(&conference));
            }
        }
        meeting.tell();
        meeting
    }

    /// Everybody's connection is lost; how long it takes to take them all out.
    fn all_are_lost(&mut self, people: usize) -> Duration {
        let watch = Watch::start();
        for number in 0..people {
            self.host.handle(self.now, Event::FlowClosed { flow: flow(number) }, &mut Vec::new());
        }
        watch.wall()
    }

    fn hear(&mut self, number: usize, request: Request) {
        let flow = flow(number);
        let mut outputs = Vec::new();
        self.transactions.receive(self.now, flow, request.into(), &mut outputs);
        let mut out = Vec::new();
        for output in outputs {
            if let TransactionOutput::Request { key, flow, request } = output {
                let request = Box::new(request);
                let event = Event::Request { key, flow, sender: sender(number), request };
                self.host.handle(self.now, event, &mut out);
            }
        }
        let accepted =
            |action: &Action| matches!(action, Action::Respond { response, .. } if response.status == 200);
        assert!(out.iter().any(accepted), "everybody may join and watch");
    }

    /// Time passes, and all are told what has changed.
    fn tell(&mut self) -> Vec<Action> {
        self.now = self.now + REST;
        let mut out = Vec::new();
        while self.host.deadline().is_some_and(|at| at <= self.now) {
            self.host.handle_timeout(self.now, &mut out);
        }
        out
    }

    /// What somebody is told of one change, as it stands on the wire.
    fn telling(&mut self) -> Bytes {
        self.someone_joins();
        let told = self.tell().into_iter().find_map(|action| match action {
            Action::Send { request, .. } => Some(request.to_bytes()),
            _ => None,
        });
        told.expect("everybody is told")
    }

    fn someone_joins(&mut self) {
        self.visitor += 1;
        let request = Caller::new(&format!("person{}", self.visitor)).joining(&self.conference);
        self.hear(self.visitor, request);
    }

    /// Somebody joins; how long it takes to write to everybody.
    fn one_change(&mut self, subscribers: usize) -> Duration {
        self.someone_joins();
        let watch = Watch::start();
        let out = self.tell();
        let told = watch.wall();
        let sent = out.iter().filter(|action| matches!(action, Action::Send { .. }));
        assert_eq!(sent.count(), subscribers, "everybody is told");
        told
    }
}

/// From the change to the last subscriber's connection, through every queue of a server. The change is a join, which is
/// work of its own: how much is measured while nobody is told of it.
pub async fn of_a_whole_server() {
    for subscribers in SUBSCRIBERS {
        let bed = Bed::start().await;
        let told = Arc::new(Told::default());
        let mut organizer = Participant::new("ann", bed.connect(), &Arc::default());
        let conference = organizer.schedule("0123456789ABCDEF").await;
        let (_, alone) = changes(&mut organizer, &conference, &told, 0).await;
        let mut people = Vec::new();
        for number in 0..subscribers / EACH {
            let mut person = Participant::new(&format!("person{number}"), bed.connect(), &told);
            person.join(&conference).await;
            for _ in 0..EACH {
                person.subscribe(&conference).await;
            }
            people.push(person);
        }
        let (wall, work) = changes(&mut organizer, &conference, &told, subscribers).await;
        let each = micros(work.median.saturating_sub(alone.median)) / subscribers as f64;
        let figure = format!(
            "{:>8.2} ms to the last (p99 {:.2}), {each:.2} µs of work each, {:.2} ms for the join",
            millis(wall.median),
            millis(wall.p99),
            millis(alone.median)
        );
        line(&format!("one change told to {subscribers} by a whole server"), &figure);
    }
}

/// The same bytes through the same pipes to the same readers, but from nobody who had to think: what of
/// the figures above is not the server's.
pub async fn of_pipes_alone() {
    for subscribers in SUBSCRIBERS {
        let told = Arc::new(Told::default());
        let document = Meeting::of(subscribers).telling();
        let mut writers = Vec::new();
        for number in 0..subscribers / EACH {
            let (near, far) = tokio::io::duplex(STREAM_BUFFER);
            let person = Participant::new(&format!("person{number}"), near, &told);
            let (writer, mut documents) = tokio::sync::mpsc::channel::<Bytes>(EACH);
            let writing = tokio::spawn(async move {
                let (_, mut far) = tokio::io::split(far);
                while let Some(document) = documents.recv().await {
                    far.write_all(&document).await.expect("somebody reads");
                }
            });
            writers.push((writer, writing, person));
        }
        let mut work = Vec::new();
        for _ in 0..ROUNDS {
            let before = told.count();
            let watch = Watch::start();
            for (writer, ..) in &writers {
                for _ in 0..EACH {
                    writer.send(document.clone()).await.expect("somebody writes");
                }
            }
            told.until(before + subscribers).await;
            work.push(watch.work());
        }
        let each = micros(spread(work).median) / subscribers as f64;
        line(
            &format!("the same to {subscribers} by pipes and reading ends alone"),
            &format!("{each:>8.2} µs each"),
        );
    }
}

/// The organizer comes and goes, and all are told each time: how long until the last was, and how
/// much work it made.
async fn changes<S>(
    organizer: &mut Participant<S>,
    conference: &ConferenceUri,
    told: &Told,
    subscribers: usize,
) -> (Spread, Spread)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let (mut wall, mut work) = (Vec::new(), Vec::new());
    let mut dialog = None;
    for _ in 0..ROUNDS {
        // What came before has been told.
        sleep(QUIET).await;
        let before = told.count();
        let watch = Watch::start();
        match dialog.take() {
            Some(dialog) => organizer.leave(dialog).await,
            None => dialog = Some(organizer.join(conference).await),
        }
        told.until(before + subscribers).await;
        wall.push(watch.wall());
        work.push(watch.work());
    }
    (spread(wall), spread(work))
}

fn flow(number: usize) -> Flow {
    Flow { id: number as u64, transport: Transport::Tcp }
}

fn sender(number: usize) -> Sender {
    let Caller { user, .. } = Caller::new(&format!("person{number}"));
    Sender { user, identity: Identity::Enterprise, display_name: format!("Person number {number}") }
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

fn record(uri: ConferenceUri) -> ConferenceRecord {
    ConferenceRecord {
        uri,
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
