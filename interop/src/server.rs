//! The server under test: a `confab` process with a configuration and a data folder of its own.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Deadline, Process, Scratch, poll, ports, scratch};

/// The SIP domain of every scenario.
pub const DOMAIN: &str = "example.test";

/// MD5 alone: SIPp 3.6 takes the first challenge and knows no other; baresip 1.0 gives up at one it does not know, wherever it
/// stands.
const DIGEST: &str = "[\"digest\"]\ndigest_algorithms = [\"md5\"]";

/// Whether and how the server asks people who they are.
#[derive(Clone, Copy, Debug)]
pub enum Authentication<'a> {
    /// Nobody is asked (`auth = []`): what SIPE needs until the server speaks NTLM.
    Nobody,
    /// SIP Digest, with these user parts and passwords.
    Digest(&'a [(&'a str, &'a str)]),
}

/// A running server.
pub struct Server {
    tcp_and_udp: SocketAddr,
    tls: SocketAddr,
    config: PathBuf,
    data: PathBuf,
    conferences: Vec<String>,
    process: Process,
    control: Option<SocketAddr>,
}

impl Server {
    /// Starts `confab serve` on free loopback ports and waits until it is ready.
    pub fn start(scratch: &Scratch, authentication: Authentication) -> Server {
        Server::start_with(scratch, authentication, "")
    }

    /// The same without a conferencing server of its own (see [`crate::mcu`]); nobody is asked who he is.
    pub fn start_without_mcu(scratch: &Scratch) -> Server {
        let control = ports::free();
        let media = r#"["chat", "audio-video"]"#;
        let more = format!("\n[control]\nlisten = \"{control}\"\nmedia = {media}\n");
        let mut server = Server::start_with(scratch, Authentication::Nobody, &more);
        server.control = Some(control);
        server
    }

    /// The same with these further tables in its configuration.
    pub fn start_with(scratch: &Scratch, authentication: Authentication, more: &str) -> Server {
        Server::start_at(scratch, authentication, Ipv4Addr::LOCALHOST.into(), more)
    }

    /// The same at this address; its media are there as well.
    pub fn start_at(scratch: &Scratch, authentication: Authentication, ip: IpAddr, more: &str) -> Server {
        let [tcp_and_udp, tls] = [ports::free(), ports::free()].map(|free| SocketAddr::new(ip, free.port()));
        let (config, data) = (scratch.file("confab.toml"), scratch.file("data"));
        let auth = if matches!(authentication, Authentication::Nobody) { "[]" } else { DIGEST };
        let text = format!(
            "domain = \"{DOMAIN}\"\nauth = {auth}\n\n[front_end]\n\
             listen = [\"tcp:{tcp_and_udp}\", \"udp:{tcp_and_udp}\", \"tls:{tls}\"]\n{more}"
        );
        fs::write(&config, text).expect("the temporary folder can be written");
        if let Authentication::Digest(accounts) = authentication {
            for (user, password) in accounts {
                add_account(&config, &data, user, password);
            }
        }
        let process = serve(scratch, "confab", &config, &data);
        Server { tcp_and_udp, tls, config, data, conferences: Vec::new(), process, control: None }
    }

    /// Where it listens over TCP and UDP.
    pub fn address(&self) -> SocketAddr {
        self.tcp_and_udp
    }

    /// Where it listens over TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls
    }

    /// The certificate that clients over TLS are told to trust.
    pub fn certificate(&self) -> PathBuf {
        self.data.join("tls-certificate.pem")
    }

    /// The most memory it has had so far, in MiB.
    pub fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("a running process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.split_ascii_whitespace().next()?.parse::<u64>().ok());
        peak.expect("the kernel keeps count") / 1024
    }

    /// Ends it without a warning and starts it again with the same data, as after a power failure.
    pub fn kill_and_restart(&mut self, scratch: &Scratch) {
        self.process.kill();
        self.process = serve(scratch, "confab", &self.config, &self.data);
    }

    /// Runs `confab WORDS...` against this server; it must succeed. Returns its standard output.
    pub fn confab(&self, words: &[&str]) -> String {
        let output = self.try_confab(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "confab {words:?} ended with {}:\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// The URI of the one conference there is, which is printed with its flow when the test fails after this.
    pub fn only_conference(&mut self) -> String {
        let list = self.confab(&["conference", "list"]);
        let [_, only] = list.lines().collect::<Vec<_>>()[..] else { panic!("not one conference:\n{list}") };
        let mut words = only.split_whitespace();
        let (Some(id), Some(organizer)) = (words.next(), words.next()) else { panic!("unreadable:\n{list}") };
        self.watch(id);
        format!("sip:{organizer};gruu;opaque=app:conf:focus:id:{id}")
    }

    /// The flow of this conference, which is printed when the test fails after this.
    pub fn flow(&mut self, conference: &str) -> String {
        self.watch(conference);
        self.confab(&["flow", conference])
    }

    /// Where conferencing servers that are processes of their own report.
    pub fn control(&self) -> SocketAddr {
        self.control.expect("this server was started for them")
    }

    /// `confab cert ROLE`: the files with which a process proves its role, into this folder.
    pub fn issue_certificate(&self, role: &str, folder: &Path) {
        self.confab(&["cert", role, "--out", folder.to_str().expect("temporary folders have plain names")]);
    }

    /// Has the flow of this conference printed when the test fails.
    pub fn watch(&mut self, conference: &str) {
        if !self.conferences.iter().any(|known| known == conference) {
            self.conferences.push(conference.to_owned());
        }
    }

    fn try_confab(&self, words: &[&str]) -> Output {
        run(words, &self.config, &self.data)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let status = self.process.terminate(Deadline::step());
            assert!(status.success(), "confab ended with {status} when it was asked to end");
            return;
        }
        for conference in &self.conferences {
            let output = self.try_confab(&["flow", conference]);
            println!("---- confab flow {conference}\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// Starts `confab call WORDS...`, our own client in a terminal, as somebody who knows nothing of the server.
pub fn call(scratch: &Scratch, name: &str, words: &[&str]) -> Process {
    let mut command = Command::new(binary());
    command.arg("call").args(words);
    Process::start(scratch, name, command)
}

/// `confab WORDS...` beside a server.
pub(crate) fn run(words: &[&str], config: &PathBuf, data: &PathBuf) -> Output {
    let mut command = Command::new(binary());
    command.args(words).arg("--config").arg(config).arg("--data").arg(data);
    command.stdin(Stdio::null()).output().expect("confab can be started")
}

fn serve(scratch: &Scratch, name: &str, config: &PathBuf, data: &PathBuf) -> Process {
    let mut command = Command::new(binary());
    command.arg("serve").arg("--config").arg(config).arg("--data").arg(data);
    let mut process = Process::start(scratch, name, command);
    process.wait_line(Deadline::step(), |line| line == "ready");
    process
}

/// `confab user add USER@DOMAIN`, the password as the first line of standard input.
fn add_account(config: &PathBuf, data: &PathBuf, user: &str, password: &str) {
    let mut command = Command::new(binary());
    command.args(["user", "add", &format!("{user}@{DOMAIN}")]);
    command.arg("--config").arg(config).arg("--data").arg(data).stdin(Stdio::piped());
    let mut child = command.spawn().expect("confab can be started");
    let mut input = child.stdin.take().expect("standard input is piped");
    std::io::Write::write_all(&mut input, format!("{password}\n").as_bytes())
        .expect("confab reads a password");
    drop(input);
    let ended = poll(Deadline::step(), || child.try_wait().expect("a child can be waited for"));
    assert!(
        ended.is_some_and(|status| status.success()),
        "confab user add {user} did not succeed: {ended:?}"
    );
}

/// `CONFAB_BIN`, or the one that cargo has built beside this test.
pub(crate) fn binary() -> PathBuf {
    let path = match std::env::var_os("CONFAB_BIN") {
        Some(path) => path.into(),
        None => scratch::profile_dir().join("confab"),
    };
    assert!(path.exists(), "{} is missing: cargo build -p confab-server", path.display());
    path
}
