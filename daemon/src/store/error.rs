use std::fmt;
use std::sync::Arc;

/// The store could not do what it was asked for: nothing of it was done.
#[derive(Debug, Clone)]
pub(crate) struct StoreError {
    why: &'static str,
    // Shared by all that were in the same group.
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// The transaction of a group ended before its time, by the failure of one of them.
    #[cfg(feature = "sqlite")]
    pub(super) fn ended() -> Self {
        Self { why: "the store took back what was to be kept with a change that failed", source: None }
    }

    /// The store has ended.
    pub(crate) fn closed() -> Self {
        Self { why: "the store is closed", source: None }
    }
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self { why: Self::why(&error), source: Some(Arc::new(error)) }
    }
}

#[cfg(feature = "sqlite")]
impl StoreError {
    /// What people call it.
    fn why(error: &rusqlite::Error) -> &'static str {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, ReadOnly};
        match error.sqlite_error_code() {
            Some(DiskFull) => "the disk of the store is full",
            Some(DatabaseBusy | DatabaseLocked) => "the store is locked by another process",
            Some(DatabaseCorrupt | NotADatabase) => "the store's file is damaged",
            Some(ReadOnly) => "the store's file cannot be written",
            _ => "the store failed",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
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
    fn a_full_disk_and_a_damaged_file_are_told_apart() {
        for (code, why) in [
            (rusqlite::ffi::SQLITE_FULL, "the disk of the store is full"),
            (rusqlite::ffi::SQLITE_BUSY, "the store is locked by another process"),
            (rusqlite::ffi::SQLITE_CORRUPT, "the store's file is damaged"),
            (rusqlite::ffi::SQLITE_NOTADB, "the store's file is damaged"),
            (rusqlite::ffi::SQLITE_IOERR, "the store failed"),
        ] {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            assert_eq!(StoreError::from(error).to_string(), why);
        }
    }
}
