//! A child process of a test: its output line by line, its log, and its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use crate::{Deadline, Scratch, poll};

/// How much of its log a failed scenario shows, in lines; the whole log is kept.
const SHOWN_LINES: usize = 250;
/// How long a process may take to end when it is asked to, in seconds.
const ENDING: u64 = 5;

/// What [`Process::line`] got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line of standard output, without its end.
    Text(String),
    /// Standard output is closed.
    Ended,
    /// The deadline has passed.
    Late,
}

/// A running child. Dropped, it is asked to end and then made to; when the test is failing, its log is printed.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    more_logs: Vec<PathBuf>,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts the command; standard output and error go to the log `NAME.log`, the former also to [`Process::line`].
    pub fn start(scratch: &Scratch, name: &str, mut command: Command) -> Process {
        let log = scratch.log(&format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file.try_clone().expect("a file can be opened twice"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}: {command:?}"));
        let output = child.stdout.take().expect("standard output is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || copy(output, file, &sender));
        Process { name: name.to_owned(), input: child.stdin.take(), child, log, more_logs: Vec::new(), lines }
    }

    /// A further file to print when the test fails.
    pub fn also_log(&mut self, path: PathBuf) {
        self.more_logs.push(path);
    }

    /// The next line of its standard output.
    pub fn line(&mut self, deadline: Deadline) -> Line {
        match self.lines.recv_timeout(deadline.left().unwrap_or_default()) {
            Ok(line) => Line::Text(line),
            Err(RecvTimeoutError::Disconnected) => Line::Ended,
            Err(RecvTimeoutError::Timeout) => Line::Late,
        }
    }

    /// Waits for a line of its standard output that fits, and skips those before it.
    pub fn wait_line(&mut self, deadline: Deadline, mut fits: impl FnMut(&str) -> bool) -> String {
        loop {
            match self.line(deadline) {
                Line::Text(line) if fits(&line) => return line,
                Line::Text(_) => {}
                Line::Ended => panic!("{} ended before it wrote the expected line", self.name),
                Line::Late => panic!("{} did not write the expected line in time", self.name),
            }
        }
    }

    /// Writes a line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("standard input is open until the end");
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        written.unwrap_or_else(|error| panic!("{} takes no input: {error}", self.name));
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Deadline) -> ExitStatus {
        self.ended_by(deadline).unwrap_or_else(|| panic!("{} did not end in time", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn terminate(&mut self, deadline: Deadline) -> ExitStatus {
        self.signal("TERM");
        self.wait(deadline)
    }

    /// Ends it at once (SIGKILL), as a power failure would.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name. std knows no other than SIGKILL; the shell's own `kill` is everywhere.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &self.child.id().to_string()])
            .status(); // it may have ended by itself
    }

    fn ended_by(&mut self, deadline: Deadline) -> Option<ExitStatus> {
        poll(deadline, || self.child.try_wait().expect("a child can be waited for"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // A frozen one would not hear it.
            self.signal("CONT");
            self.signal("TERM");
            if self.ended_by(Deadline::after(ENDING)).is_none() {
                self.kill();
            }
        }
        if std::thread::panicking() {
            for log in std::iter::once(&self.log).chain(&self.more_logs) {
                print_end(&self.name, log);
            }
        }
    }
}

fn copy(output: ChildStdout, mut log: File, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        let _ = writeln!(log, "{line}"); // a full disk must not stop the reading
        if sender.send(line).is_err() {
            return; // nobody reads any more
        }
    }
}

fn print_end(name: &str, log: &PathBuf) {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(SHOWN_LINES);
    println!("---- {name}: {} ({} of {} lines)", log.display(), lines.len() - shown, lines.len());
    println!("{}", lines[shown..].join("\n"));
}
