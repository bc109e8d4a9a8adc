//! coturn, a TURN server (RFC 8656) that lends phones an address.

use std::net::SocketAddr;
use std::process::Command;

use crate::{Deadline, Process, Scratch, ports, tools};

/// Who may take an address.
pub const USER: &str = "relay";
/// His password.
pub const PASSWORD: &str = "sesame";

/// A running TURN server over UDP.
pub struct Turn {
    address: SocketAddr,
    process: Process,
}

impl Turn {
    /// Starts one on loopback and waits until it listens.
    pub fn start(scratch: &Scratch) -> Turn {
        let address = ports::free();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(tools::program("turnserver").expect("the scenario has asked for it"));
        command.args(["-n", "-a", "-u", &format!("{USER}:{PASSWORD}"), "-r", "example.test"]);
        command.args(["-L", &ip, "-E", &ip, "-p", &port, "--no-tls", "--no-dtls", "--no-cli"]);
        command.args(["--allow-loopback-peers", "--log-file", "stdout", "-v"]);
        // Its own files would go to /var/lib otherwise.
        command.arg("--userdb").arg(scratch.file("turn.db")).arg("--pidfile").arg(scratch.file("turn.pid"));
        let process = Process::start(scratch, "coturn", command);
        ports::wait_until_open(address, Deadline::step());
        Turn { address, process }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has lent somebody an address.
    pub fn has_lent(&mut self) {
        self.process.wait_line(Deadline::step(), |line| line.contains("ALLOCATE processed, success"));
    }

    /// Waits until it has let somebody send through it (CreatePermission or ChannelBind).
    pub fn relays(&mut self) {
        let lets = ["CHANNEL_BIND processed, success", "CREATE_PERMISSION processed, success"];
        self.process.wait_line(Deadline::step(), |line| lets.iter().any(|text| line.contains(text)));
    }
}
