//! What a scenario needs on the machine, and what is missing. The packages are named in `scripts/packages.txt` only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::scratch;

/// Something a scenario needs that may be missing on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The pidgin-sipe plugin and our driver for it.
    Sipe,
    /// baresip with its ctrl_tcp module.
    Baresip,
    /// linphonec.
    Linphone,
    /// SIPp.
    Sipp,
    /// coturn.
    Coturn,
    /// dnsmasq.
    Dnsmasq,
    /// Python 3.
    Python,
    /// A network of one's own: `in-namespace.sh` works here.
    Namespace,
    /// A bad line (see [`crate::wire`]): a namespace, Python and the right to make TUN interfaces.
    Line,
    /// More files open at once than ten thousand connections need.
    ManyFiles,
}

impl Tool {
    /// Why it cannot be used here, if so.
    fn missing(self) -> Option<String> {
        match self {
            Tool::Sipe if !Path::new("/usr/lib/purple-2/libsipe.so").exists() => {
                Some("pidgin-sipe is not installed".into())
            }
            Tool::Sipe if !purple_driver().exists() => {
                Some(format!("{} is not built (make setup)", purple_driver().display()))
            }
            Tool::Sipe => None,
            Tool::Baresip => absent("baresip"),
            Tool::Linphone => absent("linphonec"),
            Tool::Sipp => absent("sipp"),
            Tool::Coturn => absent("turnserver"),
            Tool::Dnsmasq => absent("dnsmasq"),
            Tool::Python => absent("python3"),
            Tool::Namespace if namespaces_allowed() => None,
            Tool::Namespace => Some("this machine allows no network namespace".into()),
            Tool::Line if !namespaces_allowed() => Tool::Namespace.missing(),
            Tool::Line if !may_make_interfaces() => Some("/dev/net/tun cannot be opened".into()),
            Tool::Line => absent("python3").or_else(|| absent("nsenter")),
            Tool::ManyFiles if open_files() >= MANY_FILES => None,
            Tool::ManyFiles => {
                Some(format!("a process may have {} files open here, not {MANY_FILES}", open_files()))
            }
        }
    }
}

/// What a process with eleven thousand connections needs, and some.
const MANY_FILES: u64 = 12_000;

/// How many files a process may have open at most; `in-namespace.sh` allows it all of them.
fn open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    hard.map_or(0, |hard| hard.parse().unwrap_or(u64::MAX))
}

fn may_make_interfaces() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
}

/// The first thing of these that is missing, as a sentence.
pub(crate) fn missing(needs: &[Tool]) -> Option<String> {
    needs.iter().find_map(|tool| tool.missing())
}

/// Whether `in-namespace.sh` works here; tried once.
pub(crate) fn namespaces_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let tried = Command::new(in_namespace_script())
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}

/// The script that runs a command in a network of its own.
pub(crate) fn in_namespace_script() -> PathBuf {
    scratch::repository().join("interop/in-namespace.sh")
}

/// The libpurple driver: `CONFAB_PURPLE_DRIVER`, or what `scripts/setup.sh` has built.
pub(crate) fn purple_driver() -> PathBuf {
    match std::env::var_os("CONFAB_PURPLE_DRIVER") {
        Some(path) => path.into(),
        None => scratch::repository().join("build/purple-driver"),
    }
}

/// The program's path: in PATH or where Debian keeps what only root has in PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn absent(name: &str) -> Option<String> {
    program(name).is_none().then(|| format!("{name} is not installed"))
}
