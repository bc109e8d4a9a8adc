//! SIPp: scenarios written by hand in `interop/sipp/*.xml`, one call each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Deadline, Process, Scratch, poll, ports, scratch, sound, tools};

/// How long a scenario waits for one message, in milliseconds.
const RECEIVE_TIMEOUT_MS: &str = "15000";
/// How long a scenario may take, in seconds.
const LONGEST: u64 = 60;

/// The transport that a scenario is run over; it uses one socket.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// A scenario to run.
pub struct Scenario<'a> {
    /// The file in `interop/sipp`, without `.xml`.
    pub file: &'a str,
    /// Where it sends to; `None` for one that only answers.
    pub server: Option<SocketAddr>,
    /// Over what.
    pub transport: Transport,
    /// Whom it plays: filled in for `[user]` and `[authentication]`.
    pub user: &'a str,
    /// The password for `[authentication]`; SIPp answers the first challenge only, which must be for MD5.
    pub password: &'a str,
    /// The Request-URI, without `sip:`, of its requests with `[authentication]`; SIPp would write the server's address there.
    pub authenticated_uri: &'a str,
    /// What else it fills in for `[name]`.
    pub keys: &'a [(&'a str, &'a str)],
    /// The Call-ID of its dialogs after "NAME///", to exchange messages with a scenario that has it; `None`: one of its own.
    pub call_id: Option<&'a str>,
}

/// A scenario in progress.
pub struct Sipp {
    file: String,
    call_id: String,
    local: SocketAddr,
    log: PathBuf,
    messages: PathBuf,
    process: Process,
}

impl Sipp {
    /// Starts the scenario.
    pub fn start(scratch: &Scratch, scenario: &Scenario) -> Sipp {
        Sipp::start_with(scratch, scenario, None, &[])
    }

    /// Starts a scenario that sends this tone as PCMU (`rtp_stream="says.pcmu..."`) from a port of its own; returns the port, at
    /// which a [`crate::tap::Tap`] can listen.
    pub fn speaking(scratch: &Scratch, scenario: &Scenario, tone: u32) -> (Sipp, u16) {
        let port = ports::free_pair();
        let folder = scratch.file(&format!("sipp-{port}"));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        // It fills in no words in the name of this file, so that the name is the same for all.
        sound::write_pcmu(&folder.join("says.pcmu"), tone);
        let more = ["-mi", "127.0.0.1", "-mp", &port.to_string()];
        (Sipp::start_with(scratch, scenario, Some(&folder), &more), port)
    }

    fn start_with(scratch: &Scratch, scenario: &Scenario, folder: Option<&Path>, more: &[&str]) -> Sipp {
        let Scenario { file, server, transport, user, password, authenticated_uri, keys, call_id } = scenario;
        let local = ports::free();
        let name = format!("{file}-{}", local.port());
        let call_id = call_id.map_or_else(|| name.clone(), str::to_owned);
        let log_path = |kind: &str| scratch.log(&format!("sipp-{name}.{kind}"));
        let log = log_path("log");
        let mut command = Command::new(tools::program("sipp").expect("the scenario has asked for it"));
        if let Some(server) = server {
            command.arg(server.to_string());
        }
        command.arg("-sf").arg(scratch::repository().join("interop/sipp").join(format!("{file}.xml")));
        command.args(["-t", if matches!(transport, Transport::Udp) { "u1" } else { "t1" }]);
        command.args([
            "-i",
            "127.0.0.1",
            "-p",
            &local.port().to_string(),
            "-m",
            "1",
            "-nostdin",
            "-timeout_error",
        ]);
        command.args(["-recv_timeout", RECEIVE_TIMEOUT_MS, "-timeout", &format!("{LONGEST}s")]);
        // An INFO or NOTIFY that comes together with what the scenario awaits is answered and no failure.
        command.arg("-aa");
        // What follows "///" in a Call-ID tells SIPp which call a message belongs to: dialogs of one scenario share it.
        command.args(["-cid_str", &call_id]);
        command.arg("-trace_err").arg("-error_file").arg(log_path("errors"));
        command.arg("-trace_msg").arg("-message_file").arg(log_path("messages"));
        command.arg("-trace_logs").arg("-log_file").arg(&log);
        command.args(["-key", "user", user, "-au", user, "-ap", password, "-auth_uri", authenticated_uri]);
        for (name, value) in *keys {
            command.args(["-key", name, value]);
        }
        command.args(more);
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        let mut process = Process::start(scratch, &format!("sipp-{name}"), command);
        process.also_log(log_path("errors"));
        process.also_log(log_path("messages"));
        Sipp { file: (*file).to_owned(), call_id, local, log, messages: log_path("messages"), process }
    }

    /// Runs the scenario to its end.
    pub fn run(scratch: &Scratch, scenario: &Scenario) {
        Sipp::start(scratch, scenario).finish();
    }

    /// Runs the scenario to its end; every message that it has sent or got.
    pub fn run_and_read(scratch: &Scratch, scenario: &Scenario) -> String {
        let sipp = Sipp::start(scratch, scenario);
        let messages = sipp.messages.clone();
        sipp.finish();
        std::fs::read_to_string(messages).expect("SIPp writes down its messages")
    }

    /// Waits until a scenario that only answers can be sent to, and says where.
    pub fn address(&self) -> SocketAddr {
        ports::wait_until_open(self.local, Deadline::step());
        self.local
    }

    /// The Call-ID of its dialogs, after "NAME///" if there are several.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Waits until the scenario has logged this line (`<log message="..."/>`).
    pub fn wait_logged(&mut self, message: &str) {
        let logged = || std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(message));
        let seen = poll(Deadline::step(), || logged().then_some(()));
        seen.unwrap_or_else(|| panic!("{} never came to \"{message}\"", self.file));
    }

    /// Waits for the end; anything but a successful call fails the test.
    pub fn finish(mut self) {
        let status = self.process.wait(Deadline::after(LONGEST + 10));
        assert!(status.success(), "SIPp scenario {} ended with {status}", self.file);
    }
}
