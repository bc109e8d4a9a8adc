//! Runs a scenario in a network of its own: the test executes itself again under `in-namespace.sh`.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::scratch::logs_of;
use crate::tools::{self, Tool};
use crate::{Deadline, Scratch, poll};

/// The address that a network of one's own has, beside loopback; clients that leave loopback out find it.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// Set inside, to the name of the test.
const INSIDE: &str = "CONFAB_INTEROP_INSIDE";
/// The file that `scripts/test.sh` hands in to collect the scenarios this machine cannot run.
const NOT_RUN: &str = "CONFAB_NOT_RUN";
/// No scenario takes longer than this, in seconds.
const LONGEST: u64 = 150;

/// Runs the scenario of the test function named `test`, in a network of its own where the machine allows that and on free
/// loopback ports where it does not. Without something in `needs` the scenario is noted as not run, or fails when nobody
/// collects such notes.
pub fn run(test: &str, needs: &[Tool], scenario: impl FnOnce(&Scratch)) {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        scenario(&Scratch::new(test));
    } else if let Some(why) = tools::missing(needs) {
        not_run(test, &why);
    } else if tools::namespaces_allowed() {
        run_inside(test);
    } else {
        scenario(&Scratch::new(test));
    }
}

fn not_run(test: &str, why: &str) {
    let Some(notes) = std::env::var_os(NOT_RUN) else {
        panic!("{test} cannot run: {why}. `make setup` installs what is missing");
    };
    let mut notes = File::options().create(true).append(true).open(notes).expect("the notes can be written");
    writeln!(notes, "{test}: {why}").expect("the notes can be written");
}

fn run_inside(test: &str) {
    let folder = logs_of(test);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let path = folder.join("output.log");
    let output = File::create(&path).expect("the target folder can be written");
    let mut child = Command::new(tools::in_namespace_script())
        .arg(std::env::current_exe().expect("a running test has a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, test)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a file can be opened twice"))
        .stderr(output)
        .spawn()
        .expect("in-namespace.sh can be started");
    let ended = wait(&mut child, Deadline::after(LONGEST));
    let output = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
    // A misspelt name would run no test at all and succeed.
    let passed = ended.is_some_and(|status| status.success()) && output.contains("test result: ok. 1 passed");
    if !passed {
        println!("{output}");
        let how =
            ended.map_or(format!("did not end within {LONGEST} s"), |status| format!("ended with {status}"));
        panic!("{test} {how} in its namespace; its output is above, its logs are in {}", folder.display());
    }
}

/// Waits for the child; kills it, and with it all in its namespace, when the deadline passes.
fn wait(child: &mut Child, deadline: Deadline) -> Option<ExitStatus> {
    let ended = poll(deadline, || child.try_wait().expect("a child can be waited for"));
    if ended.is_none() {
        let _ = child.kill(); // it may have ended just now
        let _ = child.wait();
    }
    ended
}
