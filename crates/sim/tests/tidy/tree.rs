//! The repository: every file of it, and every Rust source. It is read as folders, because a clone may
//! have been unpacked where there is no git.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
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
        let mut files = BTreeSet::new();
        list(&root, &root, &ignored(&root), &mut files);
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

/// The folders of the root that `.gitignore` names, such as `target`; and `.git`, which may be a file.
fn ignored(root: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(root.join(".gitignore")).unwrap();
    let folders = text.lines().filter_map(|line| line.strip_prefix('/')?.strip_suffix('/'));
    folders.chain([".git"]).map(|folder| root.join(folder)).collect()
}

fn list(root: &Path, folder: &Path, ignored: &[PathBuf], files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if ignored.contains(&path) {
            continue;
        }
        if path.is_dir() {
            list(root, &path, ignored, files);
        } else if path.is_file() {
            files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}
