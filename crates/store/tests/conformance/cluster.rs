//! A PostgreSQL server of the test's own: in a temporary directory, on a Unix socket there, run by
//! somebody who may nothing else when the test is root. It ends with the test, however that ends.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Where Debian's packages put the servers, a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Who runs the server when we are root, which it refuses to be run by.
const NOBODY: [&str; 3] = ["setpriv", "--reuid=nobody", "--regid=nogroup"];
/// The role that owns everything.
pub const OWNER: &str = "confab";
/// The file that `scripts/test.sh` hands in to collect the tests this machine cannot run.
const NOT_RUN: &str = "CONFAB_NOT_RUN";
/// How often, and at most how many times, we look whether the server answers.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const LOOKS: u32 = 2_400;

/// Starts the server, says its process ID, and waits for a word: without one (we are gone) it ends
/// the server and leaves nothing; at `stop` it leaves the data; at `dead` there is nothing to end.
const KEEPER: &str = r#"
directory=$1 bin=$2; shift 2
"$@" "$bin/postgres" -D "$directory/data" -k "$directory" </dev/null >>"$directory/log" 2>&1 &
echo $!
read -r word
[ "$word" = dead ] || { kill -CONT $!; kill -QUIT $!; } 2>/dev/null
wait $!
[ -n "$word" ] || rm -rf "$directory"
"#;

/// No network, what our tests need and no more, and every commit on disk.
const SETTINGS: &str = "listen_addresses = ''\nmax_connections = 60\nshared_buffers = 16MB\nfsync = on\n";

/// A server and its data.
pub struct Cluster {
    directory: PathBuf,
    bin: PathBuf,
    running: Option<Running>,
}

struct Running {
    keeper: Child,
    word: ChildStdin,
    process: u32,
}

impl Cluster {
    /// A running server for `test`. Where there is none to run, the test is noted as not run; or it
    /// fails, when nobody collects such notes or nothing may be missing.
    pub fn of(test: &str) -> Option<Cluster> {
        let Some(bin) = newest() else {
            not_run(test, "PostgreSQL's server is not installed");
            return None;
        };
        // Kept: the keeper removes it, even when this process is killed.
        let directory = TempDir::with_prefix("confab-pg-").unwrap().keep();
        if is_root() {
            fine(Command::new("chown").arg("nobody:nogroup").arg(&directory));
        }
        let mut words = as_nobody();
        words.push(bin.join("initdb").to_str().unwrap().to_owned());
        let initialize = [
            "-U",
            OWNER,
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ];
        words.extend(initialize.map(str::to_owned));
        fine(Command::new(&words[0]).args(&words[1..]).arg(directory.join("data")).stdout(Stdio::null()));
        let mut cluster = Cluster { directory, bin, running: None };
        cluster.append("postgresql.conf", SETTINGS);
        cluster.start();
        Some(cluster)
    }

    /// Starts the server (again) and waits until it answers.
    pub fn start(&mut self) {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&self.directory, &self.bin])
            .args(as_nobody())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let word = keeper.stdin.take().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        self.running = Some(Running { keeper, word, process: said.trim().parse().unwrap() });
        for _ in 0..LOOKS {
            if self.psql("postgres", "SELECT 1").output().unwrap().status.success() {
                return;
            }
            thread::park_timeout(LOOK_AGAIN);
        }
        panic!("PostgreSQL does not start: {}", fs::read_to_string(self.directory.join("log")).unwrap());
    }

    /// Ends the server; the data stays.
    pub fn stop(&mut self) {
        self.end("stop");
    }

    /// Kills the server with all its processes, as a power failure would.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.end("dead");
    }

    /// Stops all its processes where they are. Connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Makes an empty database; its language is one that folds letters in its own way.
    pub fn create(&self, database: &str) {
        let language = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'tr'";
        self.sql("postgres", &format!("CREATE DATABASE {database} {language}"));
    }

    /// The URL of a database here.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user={OWNER}", self.directory.display())
    }

    /// The directory that the server's own user can read.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Does something behind the store's back; returns what it shows.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let done = self.psql(database, sql).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A client that runs `sql`.
    pub fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", OWNER, "-d", database, "-c", sql]);
        psql.arg("-h").arg(&self.directory).stdin(Stdio::null());
        psql
    }

    /// Adds to a file of the server's, or makes one that only the server can read.
    pub fn append(&self, name: &str, text: &str) {
        let path = self.directory.join("data").join(name);
        let mut file = File::options().create(true).append(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if is_root() {
            fine(Command::new("chown").arg("nobody:nogroup").arg(path));
        }
    }

    fn signal(&self, signal: &str) {
        let process = self.running.as_ref().expect("it runs").process;
        // The first of them first, so that it starts no others.
        send(signal, &[process.to_string()]);
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children: Vec<String> =
            children.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        if !children.is_empty() {
            send(signal, &children);
        }
    }

    fn end(&mut self, word: &str) {
        let Some(Running { mut keeper, word: mut input, .. }) = self.running.take() else { return };
        writeln!(input, "{word}").unwrap();
        keeper.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match self.running.take() {
            Some(Running { mut keeper, word, .. }) => {
                drop(word);
                let _ = keeper.wait();
            }
            None => drop(fs::remove_dir_all(&self.directory)),
        }
    }
}

/// The programs of the newest version there is.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.filter_map(|version| {
        let bin = version.ok()?.path().join("bin");
        let number: u32 = bin.parent()?.file_name()?.to_str()?.parse().ok()?;
        (bin.join("initdb").exists() && bin.join("postgres").exists()).then_some((number, bin))
    });
    versions.max().map(|(_, bin)| bin)
}

fn not_run(test: &str, why: &str) {
    let notes = std::env::var_os(NOT_RUN).filter(|_| std::env::var_os("CI").is_none_or(|ci| ci != "true"));
    let notes =
        notes.unwrap_or_else(|| panic!("{test} cannot run: {why}. `make setup` installs what is missing"));
    println!("{test} is not run: {why}");
    let mut notes = File::options().create(true).append(true).open(notes).unwrap();
    writeln!(notes, "{test}: {why}").unwrap();
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n")
}

/// What stands before a command that the server's own user runs.
fn as_nobody() -> Vec<String> {
    let words = if is_root() { [&NOBODY[..], &["--clear-groups"]].concat() } else { vec!["env"] };
    words.into_iter().map(str::to_owned).collect()
}

fn send(signal: &str, processes: &[String]) {
    // One that ends just now is no mistake.
    let _ = Command::new("sh")
        .args(["-c", r#"kill -s "$@" 2>/dev/null"#, "kill", signal])
        .args(processes)
        .status();
}

fn fine(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
