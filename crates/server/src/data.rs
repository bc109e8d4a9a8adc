//! The data directory: the database (or the way to one), the keys, the administrator's socket, and who
//! may use it.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use confab_store::{PostgresAddress, PostgresClaim, PostgresStore, SqliteStore, Store};
use tokio::time::timeout;
use tracing::warn;

use crate::{
    config::{AuthScheme, Config},
    vault::Vault,
};

/// Marks the directory of a server that challenges nobody.
const DEMO_MARK: &str = "demo";
const LOCK: &str = "lock";
const DATABASE: &str = "confab.sqlite";
/// How long a server waits between two looks for its database.
const DATABASE_PAUSE: Duration = Duration::from_millis(500);

/// An open data directory.
pub struct Data {
    path: PathBuf,
    /// Held while a server runs on the directory.
    _lock: Option<File>,
}

impl Data {
    /// Opens the directory for a server, making it if it is not there; no second server can.
    ///
    /// # Errors
    /// Sentences that name the directory and what is wrong with it.
    pub fn for_server(path: &Path, auth: &[AuthScheme]) -> anyhow::Result<Data> {
        make(path)?;
        let lock = File::create(path.join(LOCK))
            .with_context(|| format!("the data directory {} cannot be written", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another server runs on {}; stop it first", path.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        check_mark(path, auth)?;
        Ok(Data { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Opens the directory for a command beside a server that may be running.
    ///
    /// # Errors
    /// Sentences that name the directory and what is wrong with it.
    pub fn for_command(path: &Path) -> anyhow::Result<Data> {
        make(path)?;
        Ok(Data { path: path.to_owned(), _lock: None })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The conferencing database: the one that the configuration names, or the one in here.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn store(&self, config: &Config) -> anyhow::Result<Arc<dyn Store>> {
        match database(config)? {
            Some(address) => Ok(Arc::new(PostgresStore::open(&address).await?)),
            None => Ok(Arc::new(SqliteStore::open(self.path.join(DATABASE)).await?)),
        }
    }

    /// The right to serve the conferencing database, if others could serve it too. In here nobody can.
    /// A server may start before its database does: it is waited for, but not for ever.
    ///
    /// # Errors
    /// If another server has it, or the database is still out of reach when the configured time is
    /// over.
    pub async fn claim(&self, config: &Config) -> anyhow::Result<Option<PostgresClaim>> {
        let Some(address) = database(config)? else { return Ok(None) };
        let patience = Duration::from_secs(config.database_wait_seconds);
        let mut last = match PostgresClaim::take(&address).await {
            Ok(claim) => return Ok(Some(claim)),
            Err(error) if error.may_pass() && !patience.is_zero() => error,
            Err(error) => return Err(error.into()),
        };
        warn!("{last}; it is waited for, {} s at most", patience.as_secs());
        let waiting = async {
            loop {
                tokio::time::sleep(DATABASE_PAUSE).await;
                match PostgresClaim::take(&address).await {
                    Err(error) if error.may_pass() => last = error,
                    taken => return taken,
                }
            }
        };
        match timeout(patience, waiting).await {
            Ok(taken) => Ok(Some(taken?)),
            Err(_) => Err(last).with_context(|| format!("waited {} s in vain", patience.as_secs())),
        }
    }

    /// What opens the accounts' secrets.
    ///
    /// # Errors
    /// If its key cannot be read.
    pub fn vault(&self) -> anyhow::Result<Arc<Vault>> {
        Ok(Arc::new(Vault::open(&self.path)?))
    }
}

/// Where the PostgreSQL database is, if the configuration names one.
///
/// # Errors
/// Sentences that name the file with its URL, and never quote the URL: it may have a password in it.
pub fn database(config: &Config) -> anyhow::Result<Option<PostgresAddress>> {
    let file = &config.database_url_file;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let unreadable = || format!("database_url_file: {} cannot be read", file.display());
    let text = fs::read_to_string(file).with_context(unreadable)?;
    let mode = fs::metadata(file).with_context(unreadable)?.permissions().mode();
    let url = text.lines().next().unwrap_or_default().trim();
    let address =
        url.parse().with_context(|| format!("database_url_file: {} is not right", file.display()))?;
    ensure!(
        mode & 0o007 == 0,
        "database_url_file: everybody can read {}, and a password may stand in it; chmod o= {0}",
        file.display()
    );
    Ok(Some(address))
}

fn make(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!("the data directory {} cannot be made; name another with --data", path.display())
    })
}

/// A server that challenges nobody must not get at the data of one that does, nor leave its own to
/// one.
fn check_mark(path: &Path, auth: &[AuthScheme]) -> anyhow::Result<()> {
    let mark = path.join(DEMO_MARK);
    if !auth.is_empty() {
        ensure!(
            !mark.exists(),
            "{} is the data directory of a server that challenged nobody; use another one with auth switched on",
            path.display()
        );
        return Ok(());
    }
    if path.join(DATABASE).exists() && !mark.exists() {
        bail!(
            "auth = [] challenges nobody, so it does not run on {}, which belongs to a server that does; \
             use another data directory or set auth = [\"digest\"]",
            path.display()
        );
    }
    fs::write(&mark, "This server challenges nobody. Its data is for tests.\n")
        .with_context(|| format!("{} cannot be written", mark.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_closed_servers_keep_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        drop(Data::for_server(&path, &[]).unwrap());
        let error = Data::for_server(&path, &[AuthScheme::Digest]).err().unwrap();
        assert!(error.to_string().contains("challenged nobody"));

        let path = directory.path().join("other");
        drop(Data::for_server(&path, &[AuthScheme::Digest]).unwrap());
        fs::write(path.join(DATABASE), "").unwrap();
        let error = Data::for_server(&path, &[]).err().unwrap();
        assert!(error.to_string().contains("challenges nobody"));
    }

    #[test]
    fn the_way_to_the_database_is_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        let with = |url: &str, mode: u32| {
            fs::write(&file, url).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let config = Config { database_url_file: file.clone(), ..Config::default() };
            database(&config).map(|address| address.unwrap().to_string())
        };
        let url = "postgres://confab:horse@db.example.test/confab";
        let expect = "confab of the PostgreSQL server db.example.test";
        assert_eq!(with(&format!("{url}\n# the other one is at home\n"), 0o640).unwrap(), expect);
        for (url, mode, word) in [
            (url, 0o644, "everybody can read"),
            ("", 0o600, "cannot be read"),
            ("horse", 0o600, "cannot be read"),
            ("postgres://confab:horse@db.example.test", 0o600, "names no database"),
            ("postgres://confab:horse@db.example.test/confab?sslmode=disable", 0o600, "certificate"),
        ] {
            let error = format!("{:#}", with(url, mode).unwrap_err());
            assert!(error.contains(word) && error.contains(file.to_str().unwrap()), "{error}");
            assert!(!error.contains("horse"), "{error}");
        }
        assert!(database(&Config::default()).unwrap().is_none());
    }

    #[test]
    fn one_server_per_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Data::for_server(directory.path(), &[]).unwrap();
        let error = Data::for_server(directory.path(), &[]).err().unwrap();
        assert!(error.to_string().contains("another server"));
        assert!(Data::for_command(directory.path()).is_ok());
    }
}
