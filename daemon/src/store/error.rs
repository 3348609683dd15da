use std::fmt;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use tokio_postgres::error::SqlState;

#[cfg(feature = "postgres")]
const TOKEN_LOCKED: &str = "queue of the token locked in the database";
#[cfg(feature = "postgres")]
const DAMAGED_ROW: &str = "row damaged in the store";

/// A transaction failed, and has changed nothing unless it is in doubt.
#[derive(Debug, Clone)]
pub(crate) struct StoreError {
    message: &'static str,
    /// The database has not answered to a commit.
    #[cfg(feature = "postgres")]
    in_doubt: bool,
    /// The file is damaged, so that nothing more may be written to it.
    #[cfg(feature = "sqlite")]
    pub(super) damaged: bool,
    // Shared by all transactions of a group.
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Another change of the group failed and rolled back the whole group.
    #[cfg(feature = "sqlite")]
    pub(super) fn rolled_back() -> Self {
        Self {
            message: "transaction rolled back: another change in its group failed",
            damaged: false,
            #[cfg(feature = "postgres")]
            in_doubt: false,
            source: None,
        }
    }

    /// Whether the transaction may have happened.
    pub(crate) fn is_in_doubt(&self) -> bool {
        #[cfg(feature = "postgres")]
        return self.in_doubt;
        #[cfg(not(feature = "postgres"))]
        false
    }

    /// Whether other requests fail in the same way, as far as is known.
    pub(crate) fn is_outage(&self) -> bool {
        #[cfg(feature = "postgres")]
        return !self.in_doubt && !self.is_refused_value() && ![TOKEN_LOCKED, DAMAGED_ROW].contains(&self.message);
        #[cfg(not(feature = "postgres"))]
        true
    }

    /// The store is closed.
    pub(crate) fn closed() -> Self {
        Self {
            message: "store closed",
            #[cfg(feature = "postgres")]
            in_doubt: false,
            #[cfg(feature = "sqlite")]
            damaged: false,
            source: None,
        }
    }
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let damaged = matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase));
        Self {
            message: Self::message(&error),
            damaged,
            #[cfg(feature = "postgres")]
            in_doubt: false,
            source: Some(Arc::new(error)),
        }
    }
}

#[cfg(feature = "postgres")]
impl StoreError {
    /// The database has not answered in time. What it was asked for may have happened.
    pub(super) fn database_silent() -> Self {
        Self::database("database does not answer", None)
    }

    /// A row was read but does not decode.
    pub(super) fn damaged_row(error: crate::BoxError) -> Self {
        Self::database(DAMAGED_ROW, Some(Arc::from(error as Box<dyn std::error::Error + Send + Sync>)))
    }

    fn database(message: &'static str, source: Option<Arc<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            message,
            in_doubt: false,
            #[cfg(feature = "sqlite")]
            damaged: false,
            source,
        }
    }

    /// The database has not answered to a commit, and not said since whether it has happened.
    pub(crate) fn in_doubt() -> Self {
        Self { in_doubt: true, ..Self::database("database does not answer: the job may be queued", None) }
    }

    /// Another session has the row of the token locked.
    pub(super) fn token_locked() -> Self {
        Self::database(TOKEN_LOCKED, None)
    }

    /// Another session has the row of the job locked.
    pub(super) fn job_locked() -> Self {
        Self::database("job locked in the database", None)
    }

    /// Another session has held a lock for too long, or two have waited for each other.
    pub(super) fn is_locked(&self) -> bool {
        self.is_lock_timeout() || self.sql_state() == Some(&SqlState::T_R_DEADLOCK_DETECTED)
    }

    /// Whether the database has refused a value, so that it refuses the change each time.
    pub(crate) fn is_refused_value(&self) -> bool {
        // Class 22: data exception; class 54: program limit exceeded.
        self.sql_state().is_some_and(|code| matches!(code.code().get(..2), Some("22" | "54")))
    }

    /// Whether a lock of another transaction was waited for in vain.
    pub(super) fn is_lock_timeout(&self) -> bool {
        self.sql_state() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    fn sql_state(&self) -> Option<&SqlState> {
        self.source.as_deref()?.downcast_ref::<tokio_postgres::Error>()?.code()
    }
}

#[cfg(feature = "postgres")]
impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let message = match error.code() {
            None => "database connection failed",
            Some(code) if *code == SqlState::DISK_FULL => "database disk full",
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => "database is read-only",
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "database has no connection left",
            // Class 57: the database is stopped, starts, or has cancelled the statement. Class 08: connection exception.
            Some(code) if matches!(code.code().get(..2), Some("57" | "08")) => "database not available",
            Some(_) => "database failure",
        };
        Self::database(message, Some(Arc::new(error)))
    }
}

#[cfg(feature = "postgres")]
impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::{HookError, PoolError};
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::Timeout(_) | PoolError::PostCreateHook(HookError::Message(_)) => Self::database_silent(),
            error => Self::database("database connection failed", Some(Arc::new(error))),
        }
    }
}

#[cfg(feature = "sqlite")]
impl StoreError {
    fn message(error: &rusqlite::Error) -> &'static str {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, ReadOnly};
        match error.sqlite_error_code() {
            Some(DiskFull) => "store disk full",
            Some(DatabaseBusy | DatabaseLocked) => "store locked by another process",
            Some(DatabaseCorrupt | NotADatabase) => "store file damaged",
            Some(ReadOnly) => "store file is read-only",
            _ => "store failure",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_cause() {
        for (code, message) in [
            (rusqlite::ffi::SQLITE_FULL, "store disk full"),
            (rusqlite::ffi::SQLITE_BUSY, "store locked by another process"),
            (rusqlite::ffi::SQLITE_CORRUPT, "store file damaged"),
            (rusqlite::ffi::SQLITE_NOTADB, "store file damaged"),
            (rusqlite::ffi::SQLITE_IOERR, "store failure"),
        ] {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            assert_eq!(StoreError::from(error).to_string(), message);
        }
    }
}
