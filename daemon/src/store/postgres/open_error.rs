use super::config::DatabaseUrl;
use super::migrate::VERSION;
use crate::BoxError;

/// Why a database cannot be opened as a store.
#[derive(Debug)]
pub(crate) struct PostgresOpenError {
    kind: OpenErrorKind,
    source: Option<BoxError>,
}

#[derive(Debug, Clone)]
enum OpenErrorKind {
    Connect,
    Migrate,
    Foreign,
    Encoding(String),
    Newer(i32),
}

impl PostgresOpenError {
    /// The database cannot be reached, or refuses the user.
    pub(super) fn connect(source: impl Into<BoxError>) -> Self {
        Self { kind: OpenErrorKind::Connect, source: Some(source.into()) }
    }

    /// The tables cannot be read, created or migrated.
    pub(super) fn migrate(source: impl Into<BoxError>) -> Self {
        Self { kind: OpenErrorKind::Migrate, source: Some(source.into()) }
    }

    /// The schema contains the tables of another program.
    pub(super) fn foreign() -> Self {
        Self { kind: OpenErrorKind::Foreign, source: None }
    }

    /// The database cannot store every text.
    pub(super) fn encoding(name: String) -> Self {
        Self { kind: OpenErrorKind::Encoding(name), source: None }
    }

    /// The tables have a later version than this one supports.
    pub(super) fn newer(version: i32) -> Self {
        Self { kind: OpenErrorKind::Newer(version), source: None }
    }

    /// The message of the error, without its source.
    pub(crate) fn message(&self, url: &DatabaseUrl) -> String {
        match self.kind {
            OpenErrorKind::Connect => format!("cannot connect to store {url}"),
            OpenErrorKind::Migrate => format!("cannot prepare the tables of store {url}"),
            OpenErrorKind::Encoding(ref name) => {
                format!("store {url} has the encoding {name}; it must be UTF8")
            }
            OpenErrorKind::Foreign => format!("store {url} is a database of another program"),
            OpenErrorKind::Newer(version) => {
                format!("store {url} has format version {version}, which is newer than {VERSION}")
            }
        }
    }

    pub(crate) fn into_source(self) -> Option<BoxError> {
        self.source
    }
}
