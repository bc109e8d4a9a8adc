//! Joining: all that a client does to be in (INVITE to the Focus, SUBSCRIBE, INVITE to the chat), into
//! one conference as it grows and into many; and how long the Focus' answer takes when it is full.

use std::{sync::Arc, time::Duration};

use confab_schema::uri::ConferenceUri;
use tokio::{io::DuplexStream, time::sleep};

use crate::{
    bed::Bed,
    participant::{Participant, Told},
    report::{Spread, Watch, line, millis, per_second, spread},
};

/// People who join at the same time.
const AT_ONCE: usize = 8;
/// People who join one conference, a quarter at a time.
const PEOPLE: usize = 1000;
/// People in each of many conferences.
const FEW: usize = 4;
/// How often somebody comes and goes while all are in.
const VISITS: usize = 200;
/// The pauses between one visit and the next: within the time in which changes are gathered, so that
/// it is told of ten times a second, and beyond it.
const PAUSES: [(&str, Duration); 2] =
    [("20 ms", Duration::from_millis(20)), ("150 ms", Duration::from_millis(150))];

type Person = Participant<DuplexStream>;

/// Measures all of it.
pub async fn measure() {
    into_one().await;
    into_many().await;
}

async fn into_one() {
    let bed = Bed::start().await;
    let mut organizer = Participant::new("ann", bed.connect(), &Arc::default());
    let conference = organizer.schedule("0123456789ABCDEF").await;
    let empty = organizer.schedule("FEDCBA9876543210").await;
    let told = Arc::new(Told::default());
    let mut inside = Vec::new();
    for quarter in 1..=4 {
        let joining = (0..PEOPLE / 4).map(|_| conference.clone()).collect();
        let watch = Watch::start();
        inside.extend(enter(&bed, joining, inside.len(), &told).await);
        let rate = per_second(PEOPLE / 4, watch.wall());
        let what = format!("joins into one conference, up to {}", quarter * PEOPLE / 4);
        line(&what, &format!("{rate:>8.0} per second"));
    }
    for (pause, time) in PAUSES {
        // In turn, so that whatever else the machine does meets both alike.
        let Spread { median: alone, .. } = visits(&mut organizer, &empty, time).await;
        let Spread { median, p99 } = visits(&mut organizer, &conference, time).await;
        let figure = format!(
            "{:>8.2} ms (p99 {:.2}), {:.1} times that into an empty one",
            millis(median),
            millis(p99),
            millis(median) / millis(alone)
        );
        line(&format!("a join's answer with {PEOPLE} in, every {pause}"), &figure);
    }
}

/// Somebody comes and goes; how long he waits for the answer to his INVITE.
async fn visits(visitor: &mut Person, conference: &ConferenceUri, pause: Duration) -> Spread {
    let mut waited = Vec::new();
    for _ in 0..VISITS {
        sleep(pause).await;
        let watch = Watch::start();
        let dialog = visitor.join(conference).await;
        waited.push(watch.wall());
        visitor.leave(dialog).await;
    }
    spread(waited)
}

async fn into_many() {
    let bed = Bed::start().await;
    let mut organizer = Participant::new("ann", bed.connect(), &Arc::default());
    let mut conferences = Vec::new();
    for number in 0..PEOPLE / FEW {
        conferences.push(organizer.schedule(&format!("{number:016X}")).await);
    }
    let told = Arc::new(Told::default());
    let mut inside = Vec::new();
    for (half, conferences) in [(1, &conferences[..PEOPLE / FEW / 2]), (2, &conferences[PEOPLE / FEW / 2..])]
    {
        let joining: Vec<_> =
            conferences.iter().flat_map(|conference| vec![conference.clone(); FEW]).collect();
        let watch = Watch::start();
        let count = joining.len();
        inside.extend(enter(&bed, joining, inside.len(), &told).await);
        let what = format!("joins into many conferences of {FEW}, up to {} of them", half * PEOPLE / FEW / 2);
        line(&what, &format!("{:>8.0} per second", per_second(count, watch.wall())));
    }
}

/// New people, one for each of `conferences`, join them; a few at a time.
async fn enter(bed: &Bed, conferences: Vec<ConferenceUri>, first: usize, told: &Arc<Told>) -> Vec<Person> {
    let mut people: Vec<Vec<(Person, ConferenceUri)>> = (0..AT_ONCE).map(|_| Vec::new()).collect();
    for (number, conference) in conferences.into_iter().enumerate() {
        let name = format!("person{}", first + number);
        people[number % AT_ONCE].push((Participant::new(&name, bed.connect(), told), conference));
    }
    let running: Vec<_> = people
        .into_iter()
        .map(|mut people| {
            tokio::spawn(async move {
                for (person, conference) in &mut people {
                    person.enter(conference).await;
                }
                people
            })
        })
        .collect();
    let mut inside = Vec::new();
    for people in running {
        inside.extend(people.await.expect("everybody can join").into_iter().map(|(person, _)| person));
    }
    inside
}
