//! The URL of a PostgreSQL database, which is a secret: a password may stand in it.
//!
//! It is taken apart strictly. What is not known is refused, for it may be a piece of a password that
//! was not escaped; so no sentence here quotes the URL.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{IDLE_IN_TRANSACTION_TIMEOUT, STATEMENT_TIMEOUT};

/// What may stand behind the question mark.
const PARAMETERS: [&str; 7] = ["host", "port", "user", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// Those of them that name a file.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// What a certificate or key begins with.
const PEM: &str = "-----BEGIN";

/// Where a PostgreSQL database is and how to get in. Its `Display` and `Debug` are without the
/// password.
#[derive(Clone)]
pub struct PostgresAddress {
    options: PgConnectOptions,
    /// The files that it names, by parameter.
    files: Vec<(&'static str, PathBuf)>,
}

/// Why a URL is of no use. None of these sentences quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL, or of another kind.
    #[error(
        "the database's URL cannot be read; write it like postgres://confab:PASSWORD@db.example.com/confab or \
         postgres:///confab?host=/run/postgresql, and a / ? # @ or % in the password as %2F %3F %23 %40 or %25"
    )]
    Malformed,
    /// A parameter is none of ours.
    #[error(
        "the database's URL has a parameter that is not known; host, port, user, sslmode, sslrootcert, sslcert \
         and sslkey are. A ? in the password is written %3F"
    )]
    UnknownParameter,
    /// It does not name a database.
    #[error("the database's URL names no database; write its name behind the server's, as in /confab")]
    NoDatabase,
    /// Passwords and records would cross the network for everybody to read or change.
    #[error(
        "the database is on another machine, so its certificate must be checked: use sslmode=verify-full (which \
         holds when no sslmode is given) or verify-ca, with sslrootcert=FILE for an authority of your own"
    )]
    Unprotected,
}

impl FromStr for PostgresAddress {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<PostgresAddress, AddressError> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or(AddressError::Malformed)?;
        let query = rest.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let names: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
            .collect();
        if names.iter().any(|name| !PARAMETERS.contains(name)) {
            return Err(AddressError::UnknownParameter);
        }
        // One without a host would be one with an empty name.
        let mut options: PgConnectOptions = url.parse().map_err(|_| AddressError::Malformed)?;
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        options = options.host(&host);
        if options.get_database().is_none_or(str::is_empty) {
            return Err(AddressError::NoDatabase);
        }
        let protected = matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
        if !names.contains(&"sslmode") {
            let local = is_local(&options);
            options = options.ssl_mode(if local { PgSslMode::Prefer } else { PgSslMode::VerifyFull });
        } else if !protected && !is_local(&options) {
            return Err(AddressError::Unprotected);
        }
        let millis = |time: std::time::Duration| time.as_millis().to_string();
        let options = options.application_name("confab").options([
            // An answer may promise that it is durable, whatever the server's default is.
            ("synchronous_commit", "on".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("search_path", "confab".to_owned()),
            ("statement_timeout", millis(STATEMENT_TIMEOUT)),
            ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION_TIMEOUT)),
        ]);
        Ok(PostgresAddress { options, files: files(query) })
    }
}

impl PostgresAddress {
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Looks at the files that the URL names, for whoever needs them later does not say which.
    ///
    /// # Errors
    /// A sentence that names the first one that cannot be read.
    pub(super) async fn check_files(&self) -> Result<(), String> {
        for (parameter, path) in &self.files {
            tokio::fs::read(path).await.map_err(|error| {
                format!("{parameter} names the file {}, which cannot be read ({error})", path.display())
            })?;
        }
        Ok(())
    }
}

/// The files that these parameters name.
fn files(query: &str) -> Vec<(&'static str, PathBuf)> {
    let named = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = FILES.into_iter().find(|known| *known == name)?;
        let value = decoded(value);
        // What the file would hold may stand here itself; that is quoted nowhere.
        (!value.is_empty() && !value.contains(PEM)).then(|| (name, PathBuf::from(value)))
    };
    query.split('&').filter_map(named).collect()
}

/// A value as whoever parses the URL reads it: `+` is a blank, `%2F` a slash.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (rest, _) = match (first, escaped) {
            (b'%', Some(byte)) => (&after[2..], bytes.push(byte)),
            (b'+', _) => (after, bytes.push(b' ')),
            _ => (after, bytes.push(*first)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A socket file or the loopback interface: nobody is in between.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.options.get_database().unwrap_or_default();
        match self.options.get_socket() {
            Some(socket) => write!(f, "{database} of the PostgreSQL server at {}", socket.display()),
            None => write!(f, "{database} of the PostgreSQL server {}", self.options.get_host()),
        }
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_the_password() {
        let check = |url: &str, expect: &str| {
            let address: PostgresAddress = url.parse().unwrap();
            assert_eq!(address.to_string(), expect);
            assert!(!format!("{address:?}").contains("horse"), "{address:?}");
        };
        check(
            "postgres://ann:horse@db.example.test/confab",
            "confab of the PostgreSQL server db.example.test",
        );
        check("postgresql://ann:horse@[::1]:1/c%20d", "c d of the PostgreSQL server ::1");
        check("postgres:///confab?host=/run/db&user=ann", "confab of the PostgreSQL server at /run/db");
        check("postgres://ann@%2Frun%2Fdb/confab", "confab of the PostgreSQL server at /run/db");
    }

    #[test]
    fn what_is_not_understood_is_refused_without_a_quotation() {
        let check = |url: &str, expect: AddressError| {
            assert_eq!(url.parse::<PostgresAddress>().unwrap_err(), expect, "{url}");
            assert!(!expect.to_string().contains("horse"), "{expect}");
        };
        check("", AddressError::Malformed);
        check("/var/lib/confab.sqlite", AddressError::Malformed);
        check("mysql://ann:horse@localhost/confab", AddressError::Malformed);
        check("postgres://ann:ho#rse@localhost/confab", AddressError::Malformed);
        check("postgres://ann:horse@localhost:70000/confab", AddressError::Malformed);
        check("postgres://localhost/confab?sslmode=perhaps", AddressError::Malformed);
        check("postgres://ann:ho?rse@localhost/confab", AddressError::UnknownParameter);
        check("postgres://localhost/confab?options=-c%20fsync=off", AddressError::UnknownParameter);
        check("postgres://ann:horse@localhost", AddressError::NoDatabase);
        check("postgres://ann:horse@localhost/", AddressError::NoDatabase);
    }

    #[test]
    fn files_are_found_however_they_are_written() {
        let check = |query: &str, expect: &[(&str, &str)]| {
            let found = files(query);
            let found: Vec<_> = found.iter().map(|(name, path)| (*name, path.to_str().unwrap())).collect();
            assert_eq!(found, expect, "{query}");
        };
        check("", &[]);
        check("host=/run/db&sslrootcert=/a/b.pem&user=ann", &[("sslrootcert", "/a/b.pem")]);
        check("sslcert=%2Fa+b%2f%c3%a9&sslkey=50%", &[("sslcert", "/a b/é"), ("sslkey", "50%")]);
        check("sslrootcert=&sslkey=-----BEGIN%20PRIVATE%20KEY-----", &[]);
    }

    #[test]
    fn only_the_own_machine_is_spoken_to_in_clear() {
        let mode = |url: &str| {
            let address: Result<PostgresAddress, AddressError> = url.parse();
            address.map(|address| format!("{:?}", address.options.get_ssl_mode()))
        };
        let check = |url: &str, expect: &str| assert_eq!(mode(url).as_deref(), Ok(expect), "{url}");
        check("postgres:///confab?host=/run/db", "Prefer");
        check("postgres://localhost/confab", "Prefer");
        check("postgres://127.0.0.2/confab?sslmode=disable", "Disable");
        check("postgres://[::1]/confab?sslmode=require", "Require");
        check("postgres://db.example.test/confab", "VerifyFull");
        check("postgres://192.0.2.1/confab?sslmode=verify-ca", "VerifyCa");
        for weak in ["disable", "allow", "prefer", "require"] {
            let url = format!("postgres://db.example.test/confab?sslmode={weak}");
            assert_eq!(mode(&url), Err(AddressError::Unprotected), "{url}");
            let url = format!("postgres://localhost/confab?host=192.0.2.1&sslmode={weak}");
            assert_eq!(mode(&url), Err(AddressError::Unprotected), "{url}");
        }
    }
}
