//! Conferencing servers (MCUs) that are processes of their own: Confab's, and one in Python that shares nothing with it.
//! They can be killed, frozen, and cut off from the network.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::server::{binary, run};
use crate::{Deadline, Process, Scratch, Server, ports, scratch, tools};

/// The front end's end of the pair of interfaces behind which an MCU can be cut off.
const NEAR: &str = "mcu-near";
/// Gives a process the far end, in a network of its own. The front end listens on loopback, because it challenges nobody; so
/// what is sent to loopback at the far end goes to the front end's.
const INTO_NETWORK: &str = "echo waiting && read go && echo 1 > /proc/sys/net/ipv4/conf/mcu-far/route_localnet && \
     ip addr add 203.0.113.2/24 dev mcu-far && ip link set mcu-far up && \
     ip route add 127.0.0.0/8 dev mcu-far src 203.0.113.2 && exec \"$@\"";

/// A running MCU. Unless it was killed it must end well.
pub struct Mcu {
    config: PathBuf,
    data: PathBuf,
    process: Process,
    is_killed: bool,
}

impl Mcu {
    /// Starts Confab's IM MCU and waits until it is ready.
    pub fn start(scratch: &Scratch, server: &Server, name: &str) -> Mcu {
        Mcu::start_role(scratch, server, name, "im")
    }

    /// Starts Confab's A/V MCU and waits until it is ready.
    pub fn start_av(scratch: &Scratch, server: &Server, name: &str) -> Mcu {
        Mcu::start_role(scratch, server, name, "av")
    }

    fn start_role(scratch: &Scratch, server: &Server, name: &str, medium: &str) -> Mcu {
        let (config, data) = configure(scratch, server, name, medium, (ports::free(), ports::free()));
        let process = Process::start(scratch, name, serve(&config, &data));
        Mcu { config, data, process, is_killed: false }.ready()
    }

    /// The same in a network of its own, so that it can be cut off. One per scenario, and it needs [`crate::Tool::Namespace`].
    pub fn start_apart(scratch: &Scratch, server: &Server, name: &str) -> Mcu {
        ip(&["link", "add", NEAR, "type", "veth", "peer", "name", "mcu-far"]);
        ip(&["addr", "add", "203.0.113.1/24", "dev", NEAR]);
        ip(&["link", "set", NEAR, "up"]);
        fs::write(format!("/proc/sys/net/ipv4/conf/{NEAR}/route_localnet"), "1")
            .expect("a namespace has settings of its own");
        let place = |port| SocketAddr::from(([203, 0, 113, 2], port));
        let (config, data) = configure(scratch, server, name, "im", (place(5072), place(5073)));
        let serve = serve(&config, &data);
        let mut command = Command::new("unshare");
        command
            .args(["--net", "sh", "-c", INTO_NETWORK, "sh"])
            .arg(serve.get_program())
            .args(serve.get_args());
        let mut process = Process::start(scratch, name, command);
        process.wait_line(Deadline::step(), |line| line == "waiting");
        ip(&["link", "set", "mcu-far", "netns", &process.id().to_string()]);
        process.write_line("go");
        Mcu { config, data, process, is_killed: false }.ready()
    }

    /// Starts the one in Python.
    pub fn start_python(scratch: &Scratch, server: &Server, name: &str) -> Mcu {
        let data = scratch.file(name);
        server.issue_certificate("immcu", &data);
        let mut command = Command::new(tools::program("python3").expect("the scenario has asked for it"));
        // -B: the repository stays as it is.
        command.arg("-B").arg(scratch::repository().join("interop/mcu/mcu.py"));
        command.arg("--factory").arg(format!("https://{}", server.control()));
        command.arg("--control").arg(ports::free().to_string()).arg("--sip").arg(ports::free().to_string());
        command.arg("--certificates").arg(&data);
        let process = Process::start(scratch, name, command);
        Mcu { config: PathBuf::new(), data, process, is_killed: false }.ready()
    }

    fn ready(mut self) -> Mcu {
        self.process.wait_line(Deadline::step(), |line| line == "ready");
        self
    }

    /// Waits until it says this on its standard output.
    pub fn wait_line(&mut self, line: &str) {
        self.process.wait_line(Deadline::step(), |said| said == line);
    }

    /// The flow of this conference as this MCU of Confab's has it; empty if it never was here.
    pub fn flow(&self, conference: &str) -> String {
        let output = run(&["flow", conference], &self.config, &self.data);
        if output.status.success() {
            String::from_utf8_lossy(&output.stdout).into_owned()
        } else {
            String::new()
        }
    }

    /// Has it take no more conferences and waits until the last that is here is over.
    pub fn drain(&self) {
        let output = run(&["drain"], &self.config, &self.data);
        assert!(output.status.success(), "confab drain: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends it at once: kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
        self.is_killed = true;
    }

    /// Stops it in its tracks; its connections stay open and nobody answers on them.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Cuts one that was started apart off from the network. No packet tells anybody.
    pub fn cut_off(&self) {
        ip(&["link", "set", NEAR, "down"]);
    }

    /// Connects it again.
    pub fn reconnect(&self) {
        ip(&["link", "set", NEAR, "up"]);
    }
}

impl Drop for Mcu {
    fn drop(&mut self) {
        if !self.is_killed && !std::thread::panicking() {
            let status = self.process.terminate(Deadline::step());
            assert!(status.success(), "an MCU ended with {status} when it was asked to end");
        }
    }
}

/// A configuration, and a data folder with a certificate of the front end's authority.
fn configure(
    scratch: &Scratch,
    server: &Server,
    name: &str,
    medium: &str,
    (control, sip): (SocketAddr, SocketAddr),
) -> (PathBuf, PathBuf) {
    let (config, data) = (scratch.file(&format!("{name}.toml")), scratch.file(name));
    server.issue_certificate(&format!("{medium}mcu"), &data);
    let factory = server.control();
    let text = format!(
        "[{medium}_mcu]\ncontrol = \"{control}\"\nsip = \"{sip}\"\nfactory = \"https://{factory}\"\n"
    );
    fs::write(&config, text).expect("the temporary folder can be written");
    (config, data)
}

fn serve(config: &PathBuf, data: &PathBuf) -> Command {
    let mut command = Command::new(binary());
    command.arg("serve").arg("--config").arg(config).arg("--data").arg(data);
    command
}

fn ip(words: &[&str]) {
    let status =
        Command::new(tools::program("ip").expect("namespaces are made with it")).args(words).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {words:?} failed");
}
