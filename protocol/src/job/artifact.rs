use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::json::lenient;

/// A file that a job produced in addition to its result, such as an image (an element of `artifacts` in a job's status).
///
/// The wire format is foreman's own (`foreman_daemon::http_api`). An absent field has its default: an empty string, 0 or
/// `None`. A `null`, and a value of another type, is read as an absent field.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// `name`: the file name, as the daemon sent it. Untrusted: it may contain `..` or be an absolute path.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// `content_type`: the media type.
    #[serde(default, deserialize_with = "lenient")]
    pub content_type: String,
    /// `size`: the size of the decoded data, in bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub size: u64,
    /// `url`: where the data can be fetched if `data` is absent.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `data`: base64, decoded on demand, so that a damaged artifact does not make the job's result unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl Artifact {
    /// Creates an artifact that contains its data.
    #[must_use]
    pub fn new(name: impl Into<String>, content_type: impl Into<String>, data: &[u8]) -> Self {
        Self {
            name: name.into(),
            content_type: content_type.into(),
            size: data.len() as u64,
            url: None,
            data: Some(STANDARD.encode(data)),
        }
    }

    /// Decodes the data. `None` if the artifact has no data; it usually has a [`url`](Self::url) then.
    ///
    /// # Errors
    ///
    /// `ArtifactError` if the data is not base64, or if its length differs from [`size`](Self::size). Absent data is not an
    /// error.
    pub fn data(&self) -> Result<Option<Bytes>, ArtifactError> {
        let Some(data) = &self.data else { return Ok(None) };
        let error = |kind| ArtifactError { name: self.name.clone(), kind };
        let data = STANDARD.decode(data).map_err(|source| error(ErrorKind::Base64(source)))?;
        if data.len() as u64 != self.size {
            return Err(error(ErrorKind::Size { announced: self.size, actual: data.len() }));
        }
        Ok(Some(data.into()))
    }
}

/// The data of an [`Artifact`] is not base64, or its length differs from the artifact's `size`.
#[derive(Debug)]
pub struct ArtifactError {
    name: String,
    kind: ErrorKind,
}

#[derive(Debug)]
enum ErrorKind {
    Base64(base64::DecodeError),
    Size { announced: u64, actual: usize },
}

impl ArtifactError {
    /// The name of the artifact.
    #[must_use]
    pub fn artifact(&self) -> &str {
        &self.name
    }

    /// The cause, for conversion into another error type. `None` for a size mismatch.
    #[must_use]
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        match self.kind {
            ErrorKind::Base64(error) => Some(error.into()),
            ErrorKind::Size { .. } => None,
        }
    }
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.kind {
            ErrorKind::Base64(_) => write!(f, "artifact {name:?} is not base64"),
            ErrorKind::Size { announced, actual } => {
                write!(f, "artifact {name:?} has {actual} bytes (announced {announced})")
            }
        }
    }
}

impl Error for ArtifactError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            ErrorKind::Base64(error) => Some(error),
            ErrorKind::Size { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(json: &str) -> Artifact {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn data_is_decoded_and_size_checked() {
        let good = artifact(r#"{"name":"a.txt","content_type":"text/plain","size":2,"data":"aGk="}"#);
        assert_eq!(good.data().unwrap().unwrap(), "hi");
        let short = artifact(r#"{"name":"a.txt","content_type":"text/plain","size":3,"data":"aGk="}"#);
        let error = short.data().unwrap_err();
        assert_eq!(error.to_string(), "artifact \"a.txt\" has 2 bytes (announced 3)");
        let invalid = artifact(r#"{"name":"a.txt","size":3,"data":"*"}"#);
        assert!(invalid.data().unwrap_err().to_string().contains("not base64"));
    }

    #[test]
    fn artifact_with_url_has_no_data() {
        let remote = artifact(r#"{"name":"a","content_type":"b","size":9,"data":null,"url":"http://h/a"}"#);
        assert!(remote.data().unwrap().is_none());
        assert_eq!(remote.url.as_deref(), Some("http://h/a"));
    }

    #[test]
    fn new_artifact_round_trips() {
        let written = Artifact::new("a", "text/plain", b"hello");
        let read = artifact(&serde_json::to_string(&written).unwrap());
        assert_eq!(read.data().unwrap().unwrap(), "hello");
    }
}
