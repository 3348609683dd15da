use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::{Artifact, ArtifactError};

/// An artifact was not saved; the error of [`save_artifact`](super::save_artifact).
///
/// `Display` is one phrase without the cause, in which control characters of the name are escaped. The cause is in
/// [`source`](Error::source).
#[derive(Debug)]
pub struct SaveArtifactError {
    name: String,
    reason: Reason,
}

#[derive(Debug)]
pub(super) enum Reason {
    Name,
    NoData { url: Option<String> },
    Data(ArtifactError),
    Exists(PathBuf),
    NotADirectory(PathBuf),
    Io(PathBuf, io::Error),
}

impl Reason {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io(path.to_owned(), error)
    }
}

impl SaveArtifactError {
    pub(super) fn new(artifact: &Artifact, reason: Reason) -> Self {
        Self { name: artifact.name.clone(), reason }
    }

    /// The name of the artifact, as the daemon sent it.
    #[must_use]
    pub fn artifact(&self) -> &str {
        &self.name
    }

    /// The file or directory that could not be created. `None` if the artifact itself cannot be saved.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.reason {
            Reason::Exists(path) | Reason::NotADirectory(path) | Reason::Io(path, _) => Some(path),
            Reason::Name | Reason::NoData { .. } | Reason::Data(_) => None,
        }
    }

    /// The name is not a relative path that stays below its directory.
    #[must_use]
    pub fn is_invalid_name(&self) -> bool {
        matches!(self.reason, Reason::Name)
    }

    /// The daemon did not send the data. It may have sent a [`url`](Artifact::url).
    #[must_use]
    pub fn is_without_data(&self) -> bool {
        matches!(self.reason, Reason::NoData { .. })
    }

    /// The data is not base64, or its length is not the announced one: see [`Artifact::data`].
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self.reason, Reason::Data(_))
    }

    /// A file of that name exists, and it has another content or is not a regular file.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        matches!(self.reason, Reason::Exists(_))
    }
}

impl fmt::Display for SaveArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "artifact {:?} not saved: ", self.name)?;
        match &self.reason {
            Reason::Name => f.write_str("the name is not a valid relative path"),
            Reason::NoData { url: Some(url) } => write!(f, "the response has its URL only, {url:?}"),
            Reason::NoData { url: None } => f.write_str("the response has neither its data nor its URL"),
            Reason::Data(_) => f.write_str("the data is damaged"),
            Reason::Exists(path) => write!(f, "{} exists with different content", path.display()),
            Reason::NotADirectory(path) => write!(f, "{} exists and is not a directory", path.display()),
            Reason::Io(path, _) => write!(f, "cannot create {}", path.display()),
        }
    }
}

impl Error for SaveArtifactError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Data(error) => Some(error),
            Reason::Io(_, error) => Some(error),
            _ => None,
        }
    }
}
