//! pidgin-sipe, the unmodified OCS client plugin, driven through `build/purple-driver` (events and commands: its README).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::sound::{self, Ear};
use crate::{Deadline, Line, Process, Scratch, poll, scratch, tools};

/// The rate of what purple-driver records, in samples a second.
const RECORDED_RATE: u32 = 16_000;
/// How many of the last events a failed wait shows.
const SHOWN_EVENTS: usize = 12;

/// Where and how a SIPE signs on.
#[derive(Clone, Copy, Debug)]
pub enum SignOn {
    /// Over TCP to this address.
    Tcp(SocketAddr),
    /// Over TLS to this address; any certificate is accepted.
    Tls(SocketAddr),
    /// It finds the server by itself, through DNS.
    Discover,
}

/// A libpurple client with one SIPE account.
pub struct Sipe {
    name: String,
    process: Process,
    debug_log: PathBuf,
    unread: Vec<Value>,
    all: Vec<Value>,
    ear: Option<Ear>,
}

impl Sipe {
    /// Starts a client for `sip:NAME@example.test`; it begins to sign on.
    pub fn start(scratch: &Scratch, name: &str, sign_on: SignOn) -> Sipe {
        Sipe::run(scratch, name, sign_on, None, &[])
    }

    /// Starts a client that says this tone in calls, accepts them, and waits until it has signed on.
    pub fn with_voice(scratch: &Scratch, name: &str, sign_on: SignOn, tone: u32) -> Sipe {
        Sipe::with_settings(scratch, name, sign_on, tone, &[])
    }

    /// The same with settings of its account, each `KEY=VALUE`.
    pub fn with_settings(
        scratch: &Scratch,
        name: &str,
        sign_on: SignOn,
        tone: u32,
        settings: &[&str],
    ) -> Sipe {
        let mut sipe = Sipe::run(scratch, name, sign_on, Some(tone), settings);
        sipe.wait("signed-on", |_| true);
        sipe
    }

    /// What it hears in calls.
    pub fn ear(&self) -> &Ear {
        self.ear.as_ref().expect("it was started with a voice")
    }

    fn run(scratch: &Scratch, name: &str, sign_on: SignOn, tone: Option<u32>, settings: &[&str]) -> Sipe {
        let debug_log = scratch.log(&format!("{name}-sipe.log"));
        let mut command = Command::new(tools::purple_driver());
        // NTLM is what SIPE takes for granted; with a server that challenges nobody it makes no difference.
        command.args(["-u", &format!("{name}@example.test"), "-p", "unused", "-a", "ntlm"]);
        let heard = scratch.file(&format!("{name}-heard.raw"));
        match tone {
            None => {
                command.arg("--no-media");
            }
            Some(tone) => {
                let loudness = sound::AMPLITUDE / f64::from(i16::MAX);
                command.arg("--accept-calls").arg("--record").arg(&heard).arg("--audio").arg(format!(
                    "audiotestsrc is-live=true wave=sine freq={tone} volume={loudness:.4} ! audioconvert ! audioresample"
                ));
            }
        }
        for setting in settings {
            command.args(["-o", setting]);
        }
        command.arg("-d").arg(&debug_log);
        match sign_on {
            SignOn::Tcp(server) => command.args(["-s", &server.to_string(), "-t", "tcp"]),
            SignOn::Tls(server) => command.args(["-s", &server.to_string(), "-t", "tls", "--accept-tls"]),
            SignOn::Discover => command.args(["-t", "auto", "--accept-tls"]),
        };
        // One scan of GStreamer's plugins for all runs: HOME, where the result would be kept, is new for each.
        command.env("GST_REGISTRY", scratch::repository().join("build/gstreamer-registry.bin"));
        let mut process = Process::start(scratch, name, command);
        process.also_log(debug_log.clone());
        let ear = tone.map(|_| Ear::raw(name, heard, RECORDED_RATE));
        Sipe { name: name.to_owned(), process, debug_log, unread: Vec::new(), all: Vec::new(), ear }
    }

    /// Starts a client and waits until it has signed on.
    pub fn signed_on(scratch: &Scratch, name: &str, sign_on: SignOn) -> Sipe {
        let mut sipe = Sipe::start(scratch, name, sign_on);
        sipe.wait("signed-on", |_| true);
        sipe
    }

    /// Joins this conference, and its call by its own menu; waits until its sound has found a way.
    pub fn joins_the_call(&mut self, conference: &str) {
        self.command(&["join-conf", conference]);
        let joined = self.wait("chat-joined", |_| true);
        self.joins_the_call_of(joined["conv"].as_str().expect("a chat has a name"));
    }

    /// The same in a conference that it is in already.
    pub fn joins_the_call_of(&mut self, chat: &str) {
        // The menu has the entry once the client has read who is in, which it announces in no way; and no more when it has been
        // asked whether it joins a call that is going on, and has said yes.
        let joined = poll(Deadline::step(), || {
            let has_joined = self.try_command(&["chat-call", chat]).is_ok();
            (has_joined || self.unread.iter().any(|event| event["ev"] == "media-new")).then_some(())
        });
        assert!(joined.is_some(), "{} is not offered the call", self.name);
        self.wait("media-candidate-pair", |_| true);
    }

    /// Waits until the client has said this in its debug log.
    pub fn wait_logged(&self, text: &str) {
        let said = poll(Deadline::step(), || {
            let log = std::fs::read_to_string(&self.debug_log).unwrap_or_default();
            log.contains(text).then_some(())
        });
        assert!(said.is_some(), "{}: the client never said {text:?}", self.name);
    }

    /// Its SIP URI.
    pub fn uri(&self) -> String {
        format!("sip:{}@example.test", self.name)
    }

    /// Runs a command and waits until the client has taken it (not until the server has agreed).
    pub fn command(&mut self, words: &[&str]) {
        if let Err(why) = self.try_command(words) {
            panic!("{}: {words:?} failed: {why}", self.name);
        }
    }

    /// As [`Sipe::command`], where the client may refuse; the error is the driver's.
    pub fn try_command(&mut self, words: &[&str]) -> Result<(), String> {
        let line: Vec<String> =
            words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        self.process.write_line(&line.join(" "));
        let answer = self.wait_any(&["done", "failed"], |event| event["cmd"] == words[0]);
        match answer["ev"].as_str() {
            Some("done") => Ok(()),
            _ => Err(answer["why"].as_str().unwrap_or("no reason given").to_owned()),
        }
    }

    /// Waits for an event of this name that fits; others stay there for later waits.
    pub fn wait(&mut self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_any(&[event], fits)
    }

    /// As [`Sipe::wait`], for an event of any of these names.
    pub fn wait_any(&mut self, events: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Deadline::step();
        let wanted =
            |event: &Value| event["ev"].as_str().is_some_and(|ev| events.contains(&ev)) && fits(event);
        if let Some(index) = self.unread.iter().position(wanted) {
            return self.unread.remove(index);
        }
        loop {
            let event = self.next(deadline, events);
            if wanted(&event) {
                return event;
            }
            self.unread.push(event);
        }
    }

    /// Repeats a command that lists something as events of this name until one fits (the client announces no change of it).
    pub fn ask_until(&mut self, words: &[&str], event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Deadline::step();
        loop {
            self.command(words);
            let index = self.unread.iter().position(|listed| listed["ev"] == event && fits(listed));
            if let Some(index) = index {
                return self.unread.remove(index);
            }
            assert!(deadline.left().is_some(), "{}: {words:?} never listed what was expected", self.name);
            self.unread.retain(|listed| listed["ev"] != event);
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
    }

    /// Waits for the notice that a join was refused; it must give a reason in words.
    pub fn is_refused(&mut self) {
        let notice = self.wait("notice", |event| event["level"] == "error");
        let reason = notice["secondary"].as_str().unwrap_or_default();
        assert!(reason.split_whitespace().count() >= 3, "no sentence that tells a person why: {notice}");
    }

    /// What it has heard from others in conferences, in order, as far as it was waited for.
    pub fn messages(&self) -> Vec<&str> {
        let heard = self
            .all
            .iter()
            .filter(|event| event["ev"] == "message" && event["kind"] == "chat" && event["dir"] == "in");
        heard.filter_map(|event| event["text"].as_str()).collect()
    }

    /// Every SIP message it has sent and received until now, with other debug output of libpurple.
    pub fn sip_log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.debug_log).unwrap_or_default()).into_owned()
    }

    /// The URI of the Focus that it last invited itself to.
    pub fn focus_uri(&self) -> String {
        let log = self.sip_log();
        let invite = log.lines().rev().find_map(|line| {
            let uri = line.split("INVITE ").nth(1)?.strip_suffix(" SIP/2.0")?;
            uri.contains("app:conf:focus:id:").then(|| uri.to_owned())
        });
        invite.unwrap_or_else(|| panic!("{} has joined no conference", self.name))
    }

    /// Signs off and ends; a client that crashed instead fails the test.
    pub fn quit(mut self) {
        self.process.write_line("quit");
        let status = self.process.wait(Deadline::step());
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    fn next(&mut self, deadline: Deadline, awaited: &[&str]) -> Value {
        match self.process.line(deadline) {
            Line::Text(line) => {
                let event: Value =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}: not JSON: {line}", self.name));
                self.all.push(event.clone());
                event
            }
            Line::Ended => panic!("{} ended; awaited {awaited:?}; {}", self.name, self.last_events()),
            Line::Late => panic!("{}: no {awaited:?} in time; {}", self.name, self.last_events()),
        }
    }

    fn last_events(&self) -> String {
        let from = self.all.len().saturating_sub(SHOWN_EVENTS);
        let events: Vec<String> = self.all[from..].iter().map(Value::to_string).collect();
        format!("its last events:\n{}", events.join("\n"))
    }
}
