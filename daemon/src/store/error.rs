use std::fmt;
use std::sync::Arc;

/// A transaction failed, and has changed nothing.
#[derive(Debug, Clone)]
pub(crate) struct StoreError {
    message: &'static str,
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
        Self { damaged: false, message: "transaction rolled back: another change in its group failed", source: None }
    }

    /// The store is closed.
    pub(crate) fn closed() -> Self {
        Self {
            message: "store closed",
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
        Self { message: Self::message(&error), damaged, source: Some(Arc::new(error)) }
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
