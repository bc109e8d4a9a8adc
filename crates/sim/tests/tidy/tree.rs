//! The repository: every file that is tracked or about to be, and every Rust source.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::source::Source;

/// The repository, read once.
pub static TREE: LazyLock<Tree> = LazyLock::new(Tree::read);

/// What is in the repository. Paths are relative to its root, with `/`.
pub struct Tree {
    root: PathBuf,
    /// Every file.
    pub files: BTreeSet<String>,
    /// The Rust sources among them.
    pub sources: Vec<Source>,
}

impl Tree {
    fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .expect("git lists the files of this repository");
        assert!(listed.status.success(), "git cannot list {}", root.display());
        let files: BTreeSet<String> = String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            // A file that was deleted and not yet committed is listed still.
            .filter(|path| root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        let rust = files.iter().filter(|path| path.ends_with(".rs"));
        let mut sources: Vec<Source> =
            rust.map(|path| Source::new(path, std::fs::read_to_string(root.join(path)).unwrap())).collect();
        let test_files: BTreeSet<String> = sources.iter().flat_map(Source::test_files).collect();
        for source in &mut sources {
            source.is_test |= test_files.contains(&source.path);
        }
        Tree { root, files, sources }
    }

    /// The root's absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file; `None` if there is no such file, or it is no text.
    pub fn text(&self, path: &str) -> Option<String> {
        self.files.contains(path).then(|| std::fs::read_to_string(self.root.join(path)).ok()).flatten()
    }

    /// Whether a file or folder of this name exists.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.contains(path) || self.files.iter().any(|file| file.starts_with(&folder))
    }

    /// The sources under these folders.
    pub fn sources_in<'a>(&'a self, folders: &'a [&str]) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |source| folders.iter().any(|folder| source.path.starts_with(folder)))
    }

    /// The folder names under `crates/`.
    pub fn crates(&self) -> BTreeSet<&str> {
        self.files
            .iter()
            .filter_map(|path| path.strip_prefix("crates/")?.split_once('/'))
            .map(|(name, _)| name)
            .collect()
    }
}
