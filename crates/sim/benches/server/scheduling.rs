//! Scheduling: `addConference` by SERVICE, in memory and on SQLite, where no answer leaves before its
//! record is on the disk.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc, time::Duration};

use confab_store::{MemoryStore, SqliteStore, Store};
use tempfile::TempDir;

use crate::{
    bed::{Bed, folder},
    participant::Participant,
    report::{Watch, line, micros, millis, per_second},
};

/// How long each is measured.
const TIME: Duration = Duration::from_secs(2);
/// People who schedule at the same time.
const SCHEDULERS: [usize; 2] = [1, 32];
/// Conferences of one organizer before and after which scheduling is timed.
const HELD: [usize; 2] = [10, 1000];
/// Conferences that are timed.
const TIMED: usize = 100;
/// Bytes that the disk is made to keep in one write; a record and its page are about as long.
const WRITE: usize = 4096;
/// Writes after which the file is overwritten from its start, as SQLite does with its log.
const WRITES: usize = 1000;

/// Measures all of it.
pub async fn measure() {
    let syncs = syncs_per_second();
    line("writes that this disk keeps per second, each synced", &format!("{syncs:>8.0}"));
    for schedulers in SCHEDULERS {
        let data = folder();
        let rate = rate(database(&data).await, schedulers).await;
        let figure = format!("{rate:>8.0} per second, {:.2} per write that the disk keeps", rate / syncs);
        line(&format!("addConference on SQLite, {schedulers} at a time"), &figure);
    }
    for schedulers in SCHEDULERS {
        let rate = rate(Arc::new(MemoryStore::new()), schedulers).await;
        line(&format!("addConference in memory, {schedulers} at a time"), &format!("{rate:>8.0} per second"));
    }
    growth().await;
}

async fn database(folder: &TempDir) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(folder.path().join("bench.db")).await.expect("a new database can be made"))
}

/// How often this disk takes a small write for good.
fn syncs_per_second() -> f64 {
    let folder = folder();
    let file = File::create(folder.path().join("synced")).expect("a file can be made");
    let write = |number: usize| {
        let place = (number % WRITES * WRITE) as u64;
        file.write_all_at(&[0; WRITE], place).expect("the disk has room");
    };
    (0..WRITES).for_each(write);
    let watch = Watch::start();
    let mut count = 0;
    while watch.wall() < TIME {
        write(count);
        file.sync_data().expect("the disk has room");
        count += 1;
    }
    per_second(count, watch.wall())
}

async fn rate(store: Arc<dyn Store>, schedulers: usize) -> f64 {
    let bed = Bed::on(store).await;
    let watch = Arc::new(Watch::start());
    let mut running = Vec::new();
    for number in 0..schedulers {
        let mut organizer = Participant::new(&format!("organizer{number}"), bed.connect(), &Arc::default());
        let watch = Arc::clone(&watch);
        running.push(tokio::spawn(async move {
            let mut count = 0;
            while watch.wall() < TIME {
                organizer.schedule(&format!("{count:016X}")).await;
                count += 1;
            }
            count
        }));
    }
    let mut count = 0;
    for organizer in running {
        count += organizer.await.expect("everybody can schedule");
    }
    per_second(count, watch.wall())
}

/// What scheduling costs an organizer who has many conferences already.
async fn growth() {
    let data = folder();
    let bed = Bed::on(database(&data).await).await;
    let mut organizer = Participant::new("ann", bed.connect(), &Arc::default());
    let mut held = 0;
    for many in HELD {
        while held < many {
            organizer.schedule(&format!("{held:016X}")).await;
            held += 1;
        }
        let watch = Watch::start();
        for _ in 0..TIMED {
            organizer.schedule(&format!("{held:016X}")).await;
            held += 1;
        }
        let (each, work) = (millis(watch.wall()) / TIMED as f64, micros(watch.work()) / TIMED as f64);
        let figure = format!("{each:>8.2} ms, {work:.0} µs of work");
        line(&format!("addConference on SQLite by one who has {many}"), &figure);
    }
}
