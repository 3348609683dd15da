use std::path::Path;

use super::open::VERSION;
use crate::BoxError;

/// Why a file cannot be the store.
#[derive(Debug)]
pub(crate) struct OpenError {
    why: Why,
    source: Option<BoxError>,
}

#[derive(Debug, Clone, Copy)]
enum Why {
    /// Its cause says it.
    Open,
    Lock,
    Sync,
    Thread,
    InUse,
    Foreign,
    Newer(i64),
}

impl OpenError {
    /// The file, or the database in it, cannot be opened.
    pub(crate) fn open(source: impl Into<BoxError>) -> Self {
        Self { why: Why::Open, source: Some(source.into()) }
    }

    /// The lock file cannot be used.
    pub(super) fn lock(source: std::io::Error) -> Self {
        Self { why: Why::Lock, source: Some(source.into()) }
    }

    /// The name of the file cannot be made durable.
    pub(super) fn sync(source: std::io::Error) -> Self {
        Self { why: Why::Sync, source: Some(source.into()) }
    }

    /// The threads that read and write cannot be started.
    pub(super) fn thread(source: std::io::Error) -> Self {
        Self { why: Why::Thread, source: Some(source.into()) }
    }

    /// Another daemon has the file open.
    pub(super) fn in_use() -> Self {
        Self { why: Why::InUse, source: None }
    }

    /// It is a database of another program.
    pub(super) fn foreign() -> Self {
        Self { why: Why::Foreign, source: None }
    }

    /// Its tables are of a later version than this one.
    pub(super) fn newer(version: i64) -> Self {
        Self { why: Why::Newer(version), source: None }
    }

    /// The error in words.
    pub(crate) fn phrase(&self, path: &Path) -> String {
        let path = path.display();
        match self.why {
            Why::Open => format!("cannot open the store {path}"),
            Why::Lock => format!("cannot lock the store {path}"),
            Why::Sync => format!("cannot sync the directory of the store {path}"),
            Why::Thread => format!("cannot start the threads of the store {path}"),
            Why::InUse => format!("the store {path} is in use by another daemon"),
            Why::Foreign => format!("the store {path} is a database of another program"),
            Why::Newer(version) => format!(
                "the store {path} was written by a newer version (its tables are version {version}, this is {VERSION})"
            ),
        }
    }

    pub(crate) fn into_source(self) -> Option<BoxError> {
        self.source
    }
}
