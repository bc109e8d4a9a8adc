//! A bad line: a network namespace beside the scenario's own, whose only way out loses, delays and reorders datagrams
//! (`interop/wire/wire.py`). What goes over TCP is left alone. The kernel's own netem is not everywhere.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use crate::{Deadline, Process, Scratch, scratch, tools};

/// Here, where the server is.
pub const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// There, where phones are started by [`Wire::command`].
pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));

/// How bad a line is, each way.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Of a hundred datagrams so many are lost.
    pub loss_percent: u32,
    /// Each comes later by something between zero and this, in milliseconds; some overtake others.
    pub jitter_ms: u32,
}

/// A line and the namespace at its end.
pub struct Wire {
    namespace: Process,
    _wire: Process,
}

impl Wire {
    /// Lays a line; the same datagrams are lost in each run.
    pub fn lay(scratch: &Scratch, quality: Quality) -> Wire {
        let mut command = Command::new(tools::program("unshare").expect("the scenario has asked for it"));
        command.args(["--net", "sh", "-c", "echo ready; exec cat"]);
        let mut namespace = Process::start(scratch, "wire-namespace", command);
        namespace.wait_line(Deadline::step(), |line| line == "ready");
        let mut command = Command::new(tools::program("python3").expect("the scenario has asked for it"));
        command.arg(scratch::repository().join("interop/wire/wire.py"));
        command.args([quality.loss_percent.to_string(), quality.jitter_ms.to_string()]);
        let mut wire = Process::start(scratch, "wire", command);
        wire.wait_line(Deadline::step(), |line| line == "ready");
        let namespace_id = namespace.id().to_string();
        let script = "set -e
            ip link set wire-far netns \"$1\"
            ip addr add \"$2\" peer \"$3\" dev wire-near; ip link set wire-near up
            there() { nsenter --net=/proc/$1/ns/net ip \"${@:2}\"; }
            there \"$1\" link set lo up
            there \"$1\" addr add \"$3\" peer \"$2\" dev wire-far; there \"$1\" link set wire-far up
            there \"$1\" route add default via \"$2\"";
        let laid = Command::new("bash")
            .args(["-c", script, "bash", &namespace_id, &NEAR.to_string(), &FAR.to_string()])
            .status();
        assert!(laid.is_ok_and(|status| status.success()), "a line cannot be laid");
        Wire { namespace, _wire: wire }
    }

    /// A command that is run at the far end.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.namespace.id()));
        command.arg(tools::program(program).expect("the scenario has asked for it"));
        command
    }
}
