//! dnsmasq as the name server of a namespace, so that clients find the server by SRV records alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::{Deadline, Process, Scratch, ports, tools};

/// The address that the namespace's resolv.conf names.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A running name server; it knows what it was started with and nothing else.
pub struct Dns {
    _process: Process,
}

impl Dns {
    /// Answers the SRV question for `service` (`_sipinternal._tcp.example.test`) with `host` and the server's port, and the
    /// address question for `host` with the server's address.
    pub fn start(scratch: &Scratch, service: &str, host: &str, server: SocketAddr) -> Dns {
        let mut command = Command::new(tools::program("dnsmasq").expect("the scenario has asked for it"));
        // --no-daemon, because dnsmasq cannot change its user in a user namespace, and only there it does not try.
        command.args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        command.arg("--log-queries").arg(format!("--listen-address={ADDRESS}"));
        command.arg("--local=/test/"); // what is not known does not exist
        command.arg(format!("--address=/{host}/{}", server.ip()));
        command.arg(format!("--srv-host={service},{host},{}", server.port()));
        let process = Process::start(scratch, "dnsmasq", command);
        ports::wait_until_open(SocketAddr::from((ADDRESS, 53)), Deadline::step());
        Dns { _process: process }
    }
}
