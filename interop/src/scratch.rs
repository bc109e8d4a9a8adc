//! Where one scenario keeps its files.

use std::path::{Path, PathBuf};

/// The folders of one scenario: logs under `target/interop/NAME`, kept until the next run, and a short-lived folder.
pub struct Scratch {
    logs: PathBuf,
    files: tempfile::TempDir,
}

impl Scratch {
    /// Makes both folders; the logs of an earlier run are removed.
    pub(crate) fn new(test: &str) -> Scratch {
        let logs = logs_of(test).join("logs");
        let _ = std::fs::remove_dir_all(&logs); // absent at the first run
        std::fs::create_dir_all(&logs).expect("the target folder can be written");
        // Short on purpose: a Unix socket's path may have 107 bytes.
        let files = tempfile::Builder::new()
            .prefix("confab-")
            .tempdir()
            .expect("the temporary folder can be written");
        Scratch { logs, files }
    }

    /// A path for a log that outlives the scenario.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(name)
    }

    /// A path for a file or folder that ends with the scenario.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

/// `target/interop/TEST`, beside the profile folder this test runs from.
pub(crate) fn logs_of(test: &str) -> PathBuf {
    profile_dir().parent().expect("target/PROFILE has a parent").join("interop").join(test)
}

/// `target/PROFILE`, where cargo has put the binaries that belong to this test (it lies in `target/PROFILE/deps`).
pub(crate) fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.parent().and_then(Path::parent).expect("cargo puts tests in target/PROFILE/deps").to_owned()
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("interop lies in the repository")
}
