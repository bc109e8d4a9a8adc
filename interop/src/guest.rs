//! Somebody who joins a conference without signing in: a program in Python that shares nothing with Confab.

use std::process::Command;

use crate::{
    Deadline, Process, Scratch, Server, scratch,
    sipp::{Scenario, Sipp, Transport},
    tools,
};

/// The key that alice gives to her conference, as `sipp/factory_open.xml` has it.
pub const KEY: &str = "harvest-2026";

/// alice opens her conference with this ID to whoever knows the key.
pub fn open(scratch: &Scratch, server: &Server, conference: &str) {
    let alice = Scenario {
        file: "factory_open",
        server: Some(server.address()),
        transport: Transport::Tcp,
        user: "alice",
        password: "unused",
        authenticated_uri: "example.test",
        keys: &[("conf", conference)],
        call_id: None,
    };
    Sipp::run(scratch, &alice);
}

/// A guest at work.
pub struct Guest(Process);

impl Guest {
    /// He is on his way into the conference with this URI, under this name.
    pub fn start(scratch: &Scratch, server: &Server, conference: &str, key: &str, name: &str) -> Guest {
        let mut command = Command::new(tools::program("python3").expect("the scenario has asked for it"));
        // -B: the repository stays as it is.
        command.arg("-B").arg(scratch::repository().join("interop/guest/guest.py"));
        command.arg("--server").arg(server.address().to_string()).arg("--conference").arg(conference);
        command.args(["--key", key, "--name", name]);
        Guest(Process::start(scratch, "guest", command))
    }

    /// Waits until he says something that begins so; the rest of it.
    pub fn says(&mut self, beginning: &str) -> String {
        let line = self.0.wait_line(Deadline::step(), |line| line.starts_with(beginning));
        line[beginning.len()..].to_owned()
    }
}
