//! The phases of a run: everybody joins, all settles, it is measured, everybody leaves.

use std::sync::mpsc::{Sender, channel};

use serde_json::Value;

use crate::agents::{Agents, State};
use crate::clock::{self, MILLISECOND, SECOND};
use crate::machine::{self, Processes};
use crate::media::{self, Command, Measured, Media, Path};
use crate::options::{Mode, Options};
use crate::report::{self, Joined, Work};

/// Everybody leaves at this many a second at least.
const LEAVING: f64 = 200.0;
/// How long the last leaver is waited for, in seconds.
const LAST: f64 = 6.0;

/// The report of a run, and whether the server passed every check.
pub fn run(options: &Options) -> Result<(Value, bool), String> {
    machine::allow_files();
    match (options.mode, &options.remotes) {
        (Mode::Churn, _) => churn(options),
        (Mode::Load, None) => load(options),
        (Mode::Load, Some(_)) => listen(options),
    }
}

/// The address of each conference, by its number from 0.
fn targets(options: &Options) -> Result<impl Fn(usize) -> String + use<>, String> {
    let lines = match &options.targets {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let lines: Vec<String> =
                text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
            if lines.len() < options.conferences {
                return Err(format!("{} names fewer conferences than --conferences", path.display()));
            }
            Some(lines)
        }
    };
    let (base, target) = (options.conference_base, options.target.clone());
    Ok(move |conference: usize| match &lines {
        Some(lines) => lines[conference].clone(),
        None => target.replace("{conf}", &(base + conference).to_string()),
    })
}

fn load(options: &Options) -> Result<(Value, bool), String> {
    let sockets = media::open(options, options.people())?;
    let ports = sockets.iter().map(|socket| socket.local_addr().map(|address| address.port()));
    let ports: Vec<u16> = ports.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let media = start(Media::new(options, sockets));
    let (targets, size) = (targets(options)?, options.size);
    let target = |person: usize| targets(person / size).replace("{n}", &person.to_string());
    let mut agents = Agents::new(options, &ports, options.people(), target, media.clone())?;
    let idle = Processes::now(&options.pid);
    let begin = clock::now() + 20 * MILLISECOND;
    agents.call_all(begin);
    let limit = begin + clock::nanoseconds(options.people() as f64 / options.rate + options.timeout + 1.0);
    agents.go_on(limit, &[State::Idle, State::Inviting]);
    let joined = Processes::now(&options.pid);
    let up = agents.count(&[State::Up]);
    eprintln!("{up} of {} have joined in {:.1} s", options.people(), clock::seconds(clock::now() - begin));
    agents.go_on(clock::now() + clock::nanoseconds(options.settle), &[]);
    let work = Work::begin(options, idle, joined);
    tell(&media, Command::Measure);
    agents.go_on(clock::now() + clock::nanoseconds(options.duration), &[]);
    let work = work.end(options);
    let measured = finish(&media)?;
    let still_up = agents.count(&[State::Up]);
    let rate = options.rate.max(LEAVING);
    agents.hang_up_all(clock::now(), rate);
    let limit = clock::now() + clock::nanoseconds(options.people() as f64 / rate + LAST);
    agents.go_on(limit, &[State::Up, State::Ending]);
    let joined = Joined::by_calls(&agents, up, still_up, &measured);
    Ok(report::load(options, &joined, measured, &work))
}

/// As [`load`], for people who were joined by other means.
fn listen(options: &Options) -> Result<(Value, bool), String> {
    let file = options.remotes.as_ref().expect("it was looked at");
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let media = start(Media::new(options, media::open(options, options.people())?));
    let idle = Processes::now(&options.pid);
    let mut people = 0;
    for (person, line) in text.lines().enumerate().take(options.people()) {
        let mut words = line.split_ascii_whitespace();
        let remote = words.next().and_then(|word| word.parse().ok());
        let remote = remote.ok_or_else(|| format!("{}: no address in {line:?}", file.display()))?;
        let payload_type = words.next().and_then(|word| word.parse().ok());
        let payload_type = payload_type.unwrap_or(options.codec.payload_type());
        tell(&media, Command::Start(person, Box::new(Path { remote, payload_type, protection: None })));
        people += 1;
    }
    let wait = |seconds: f64| std::thread::park_timeout(std::time::Duration::from_secs_f64(seconds));
    wait(options.settle);
    let work = Work::begin(options, idle, idle);
    tell(&media, Command::Measure);
    wait(options.duration);
    let work = work.end(options);
    let measured = finish(&media)?;
    Ok(report::load(options, &Joined::otherwise(people), measured, &work))
}

fn churn(options: &Options) -> Result<(Value, bool), String> {
    let calls = clock::nanoseconds(options.rate * options.duration).div_ceil(SECOND);
    let calls = usize::try_from(calls).map_err(|_| "there are too many calls")?;
    // Nobody reads what comes to it; the kernel drops what is too much.
    let sink = media::open(options, 1)?;
    let port = sink[0].local_addr().map_err(|error| error.to_string())?.port();
    let (targets, conferences) = (targets(options)?, options.conferences);
    let target = |call: usize| targets(call % conferences).replace("{n}", &call.to_string());
    let (media, _nobody) = channel();
    let mut agents = Agents::new(options, &[port], calls, target, media)?;
    let work = Work::begin(options, Processes::now(&options.pid), Processes::now(&options.pid));
    let begin = clock::now() + 20 * MILLISECOND;
    agents.call_all(begin);
    let limit = 2.0 * options.duration + options.timeout + options.hold + 1.0;
    let busy = [State::Idle, State::Inviting, State::Up, State::Ending];
    agents.go_on(begin + clock::nanoseconds(limit), &busy);
    let work = work.end(options);
    Ok(report::churn(options, &mut agents, begin, &work))
}

fn start(media: Media) -> Sender<Command> {
    let (sender, commands) = channel();
    std::thread::spawn(move || {
        if let Err(error) = media.run(&commands) {
            eprintln!("confab-load: the sound has stopped: {error}");
        }
    });
    sender
}

fn tell(media: &Sender<Command>, command: Command) {
    let _ = media.send(command); // a thread that has ended has said why, and `finish` notices
}

fn finish(media: &Sender<Command>) -> Result<Measured, String> {
    let (sender, measured) = channel();
    tell(media, Command::Finish(sender));
    measured.recv().map_err(|_| "the thread of the sound has ended".to_owned())
}
