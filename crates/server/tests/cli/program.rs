//! The program under test: run to its end, or running while others speak to it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// How long the program may be silent when something is awaited.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a finished program said.
pub struct Said {
    pub success: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output of a program that succeeded.
    pub fn fine(self) -> String {
        assert!(self.success, "it failed: {}{}", self.out, self.err);
        self.out
    }

    /// The sentence of a program that failed.
    pub fn refused(self) -> String {
        assert!(!self.success, "it succeeded: {}{}", self.out, self.err);
        let sentence = self.err.lines().skip_while(|line| !line.starts_with("confab: "));
        let sentence = sentence.collect::<Vec<_>>().join("\n");
        assert!(sentence.split(' ').count() > 4, "not a sentence: {sentence}");
        sentence
    }
}

enum Line {
    Out(String),
    Err(String),
    Ended,
}

/// A running program; ended by its id when dropped.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Line>,
    /// Everything it has said until now.
    pub out: String,
    pub err: String,
    streams: usize,
}

impl Program {
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confab"));
        command.args(arguments).env_remove("CONFAB_LOG").envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("confab can be started");
        let (sender, lines) = channel();
        follow(child.stdout.take().unwrap(), sender.clone(), Line::Out);
        follow(child.stderr.take().unwrap(), sender, Line::Err);
        let input = child.stdin.take();
        Program { child, input, lines, out: String::new(), err: String::new(), streams: 2 }
    }

    /// Waits for a line of standard output that `wanted` makes something of.
    pub fn hears<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.next() {
                Some(Line::Out(line)) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Some(_) => {}
                None => panic!("no {what} in:\n{}\n{}", self.out, self.err),
            }
        }
    }

    /// Waits for a line of standard output that contains `text`.
    pub fn says(&mut self, text: &str) {
        self.hears(text, |line| line.contains(text).then_some(()));
    }

    /// Waits for a line of standard output for each of `texts` that contains it, in whatever order.
    pub fn says_all(&mut self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while let Some(next) = missing.first() {
            let next = *next;
            let said = self.hears(next, |line| missing.iter().position(|text| line.contains(text)));
            missing.remove(said);
        }
    }

    /// Waits for a line of standard error that contains `text`.
    pub fn warns(&mut self, text: &str) {
        while !self.err.contains(text) {
            assert!(self.next().is_some(), "no {text} in:\n{}\n{}", self.out, self.err);
        }
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").expect("it reads its input");
    }

    /// Closes its input.
    pub fn hangs_up(&mut self) {
        self.input = None;
    }

    /// Asks it to stop as a supervisor does.
    pub fn is_told_to_stop(&mut self) {
        let id = self.child.id().to_string();
        let told = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(told.is_ok_and(|status| status.success()), "a signal can be sent");
    }

    /// Waits until it ends by itself.
    pub fn ends(mut self) -> Said {
        self.hangs_up();
        while self.next().is_some() {}
        assert_eq!(self.streams, 0, "it does not end; it said:\n{}\n{}", self.out, self.err);
        let status: ExitStatus = self.child.wait().unwrap();
        Said { success: status.success(), out: self.out.clone(), err: self.err.clone() }
    }

    /// The next line; `None` when all has been said, or nothing is for too long.
    fn next(&mut self) -> Option<Line> {
        while self.streams > 0 {
            let line = self.lines.recv_timeout(PATIENCE).ok()?;
            match &line {
                Line::Out(text) => self.out += &format!("{text}\n"),
                Line::Err(text) => self.err += &format!("{text}\n"),
                Line::Ended => {
                    self.streams -= 1;
                    continue;
                }
            }
            return Some(line);
        }
        None
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // That it has ended already is no mistake.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stream: impl Read + Send + 'static, sender: Sender<Line>, make: fn(String) -> Line) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(make(line));
        }
        let _ = sender.send(Line::Ended);
    });
}

/// Runs the program to its end.
pub fn confab(arguments: &[&str], input: &str) -> Said {
    let mut program = Program::start(arguments, &[]);
    // One that refuses at once never reads it.
    let _ = program.input.as_mut().unwrap().write_all(input.as_bytes());
    program.ends()
}

/// A place with a configuration and a data directory of its own.
pub struct Place {
    directory: TempDir,
}

/// Everybody's SIP domain.
pub const DOMAIN: &str = "example.test";

impl Place {
    /// `auth` as it stands in the file.
    pub fn new(auth: &str) -> Place {
        let listen = r#"["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0"]"#;
        Place::with(&format!("domain = \"{DOMAIN}\"\nauth = {auth}\n[front_end]\nlisten = {listen}\n"))
    }

    pub fn with(configuration: &str) -> Place {
        let directory = tempfile::Builder::new().prefix("confab-").tempdir().unwrap();
        fs::write(directory.path().join("confab.toml"), configuration).unwrap();
        Place { directory }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// A file with this content.
    pub fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.file(name), content).unwrap();
        text(&self.file(name))
    }

    /// Runs `confab WORDS…` here.
    pub fn confab(&self, words: &[&str], input: &str) -> Said {
        confab(&self.words(words), input)
    }

    pub fn add(&self, name: &str, password: &str) {
        self.confab(&["user", "add", name], &format!("{password}\n")).fine();
    }

    /// Starts a server here and waits until it is ready.
    pub fn serve(&self) -> Server {
        self.serve_logging("info")
    }

    pub fn serve_logging(&self, log: &str) -> Server {
        let mut program = self.begins_to_serve(log);
        program.says("ready");
        Server { program }
    }

    /// Starts a server here that may never be ready.
    pub fn begins_to_serve(&self, log: &str) -> Program {
        Program::start(&self.words(&["serve"]), &[("CONFAB_LOG", log)])
    }

    fn words<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        // They live as long as the test process, which is short.
        let own = ["--config".into(), text(&self.file("confab.toml")), "--data".into(), text(&self.data())];
        words.iter().copied().chain(own.map(|word: String| &*word.leak())).collect()
    }
}

/// A server that is ready.
pub struct Server {
    pub program: Program,
}

impl Server {
    /// How it is reached over this transport, as `--server` takes it.
    pub fn at(&self, transport: &str) -> String {
        let heading = format!("SIP over {transport} on ");
        let line = self.program.out.lines().find_map(|line| line.strip_prefix(&heading));
        format!("{transport}:{}", line.expect("it says where it listens"))
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
