use std::path::Path;

use super::open::VERSION;
use crate::BoxError;

/// Why a file cannot be opened as a store.
#[derive(Debug)]
pub(crate) struct OpenError {
    kind: OpenErrorKind,
    source: Option<BoxError>,
}

#[derive(Debug, Clone, Copy)]
enum OpenErrorKind {
    Open,
    Lock,
    Sync,
    Thread,
    InUse,
    Foreign,
    Newer(i64),
}

impl OpenError {
    /// The file or its database cannot be opened.
    pub(crate) fn open(source: impl Into<BoxError>) -> Self {
        Self { kind: OpenErrorKind::Open, source: Some(source.into()) }
    }

    /// The lock file cannot be used.
    pub(super) fn lock(source: std::io::Error) -> Self {
        Self { kind: OpenErrorKind::Lock, source: Some(source.into()) }
    }

    /// The directory of the file cannot be synced.
    pub(super) fn sync(source: std::io::Error) -> Self {
        Self { kind: OpenErrorKind::Sync, source: Some(source.into()) }
    }

    /// The store threads cannot be started.
    pub(super) fn thread(source: std::io::Error) -> Self {
        Self { kind: OpenErrorKind::Thread, source: Some(source.into()) }
    }

    /// Another daemon has the file open.
    pub(super) fn in_use() -> Self {
        Self { kind: OpenErrorKind::InUse, source: None }
    }

    /// The file is a database of another program.
    pub(super) fn foreign() -> Self {
        Self { kind: OpenErrorKind::Foreign, source: None }
    }

    /// The tables have a later version than this one supports.
    pub(super) fn newer(version: i64) -> Self {
        Self { kind: OpenErrorKind::Newer(version), source: None }
    }

    /// The message of the error, without its source.
    pub(crate) fn message(&self, path: &Path) -> String {
        let path = path.display();
        match self.kind {
            OpenErrorKind::Open => format!("cannot open store {path}"),
            OpenErrorKind::Lock => format!("cannot lock store {path}"),
            OpenErrorKind::Sync => format!("cannot sync the directory of store {path}"),
            OpenErrorKind::Thread => format!("cannot start the store threads of {path}"),
            OpenErrorKind::InUse => format!("store {path} is in use by another daemon"),
            OpenErrorKind::Foreign => format!("store {path} is a database of another program"),
            OpenErrorKind::Newer(version) => {
                format!("store {path} has format version {version}, which is newer than {VERSION}")
            }
        }
    }

    pub(crate) fn into_source(self) -> Option<BoxError> {
        self.source
    }
}
