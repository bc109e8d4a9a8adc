//! Why a database cannot be used, whichever engine it is.

use std::fmt::Display;

/// Why a database cannot be used. It is left as it was found.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later version of the program changed the schema.
    #[error(
        "{database} was written by a newer Confab: it has schema version {found}, and this program knows \
         versions up to {known}. Start the newer program, or restore a backup from before the upgrade."
    )]
    Newer {
        /// The file, or where the database is.
        database: String,
        /// The schema version it has.
        found: i64,
        /// The latest schema version of this program.
        known: i64,
    },
    /// It belongs to another program, or is no database at all.
    #[error("{database} is not a Confab database, so it is left alone. {remedy}")]
    Foreign {
        /// The file, or where the database is.
        database: String,
        /// What to do about it: a sentence.
        remedy: &'static str,
    },
    /// Another program works on it, and there may be one.
    #[error(
        "another Confab server works on {database}, from {place}; stop it first. One that was cut off is \
         forgotten within half a minute."
    )]
    Taken {
        /// Where the database is.
        database: String,
        /// Where the other one is.
        place: String,
    },
    /// It cannot be reached, read, created or written.
    #[error("the database {database} cannot be opened: {reason}")]
    Unavailable {
        /// The file, or where the database is.
        database: String,
        /// What the database or the operating system says.
        reason: String,
        /// Whether it may only be starting yet.
        passing: bool,
    },
}

impl OpenError {
    /// Whether the same may succeed in a while, with nothing done but the database started.
    pub fn may_pass(&self) -> bool {
        matches!(self, OpenError::Unavailable { passing: true, .. })
    }
}

/// An [`OpenError`] that does not know its database yet.
#[derive(Debug)]
pub(crate) enum SchemaError {
    Newer {
        found: i64,
        known: usize,
    },
    Foreign,
    Unavailable(String),
    /// It may only be starting yet.
    Away(String),
}

impl SchemaError {
    /// The same, about this database; `remedy` is for one that is not ours.
    pub(crate) fn of(self, database: impl Display, remedy: &'static str) -> OpenError {
        let database = database.to_string();
        match self {
            SchemaError::Newer { found, known } => {
                OpenError::Newer { database, found, known: i64::try_from(known).expect("there are few") }
            }
            SchemaError::Foreign => OpenError::Foreign { database, remedy },
            SchemaError::Unavailable(reason) => OpenError::Unavailable { database, reason, passing: false },
            SchemaError::Away(reason) => OpenError::Unavailable { database, reason, passing: true },
        }
    }
}

/// The schema version of a database of ours that says it has this one, of `known`.
pub(crate) fn known_version(found: i64, known: usize) -> Result<usize, SchemaError> {
    match usize::try_from(found) {
        Ok(version) if version <= known => Ok(version),
        Ok(_) => Err(SchemaError::Newer { found, known }),
        Err(_) => Err(SchemaError::Foreign),
    }
}
