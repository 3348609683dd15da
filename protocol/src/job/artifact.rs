use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Something a job made beside its result, such as an image (`artifacts` on the wire).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Its name, as the daemon says it. Not to be trusted as a path.
    #[serde(default)]
    pub name: String,
    /// Its media type.
    #[serde(default)]
    pub content_type: String,
    /// Its size in bytes, decoded.
    #[serde(default)]
    pub size: u64,
    /// Where to fetch it, when it is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Base64, as it came: decoded on demand, so that one bad artifact does not cost the job's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl Artifact {
    /// An artifact that carries its bytes.
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

    /// The decoded bytes; `None` when the daemon sent a URL in their place.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`], naming the artifact, if the data is not base64 or its size is not what the artifact says.
    pub fn data(&self) -> Result<Option<Bytes>, ArtifactError> {
        let Some(data) = &self.data else { return Ok(None) };
        let damaged = |damage| ArtifactError { name: self.name.clone(), damage };
        let data = STANDARD.decode(data).map_err(|error| damaged(Damage::Base64(error)))?;
        if data.len() as u64 != self.size {
            return Err(damaged(Damage::Size { announced: self.size, actual: data.len() }));
        }
        Ok(Some(data.into()))
    }
}

/// The data of an [`Artifact`] cannot be used: it is not base64, or not as large as the artifact says.
#[derive(Debug)]
pub struct ArtifactError {
    name: String,
    damage: Damage,
}

#[derive(Debug)]
enum Damage {
    Base64(base64::DecodeError),
    Size { announced: u64, actual: usize },
}

impl ArtifactError {
    /// The name of the artifact.
    #[must_use]
    pub fn artifact(&self) -> &str {
        &self.name
    }

    /// The cause, for an error type that includes this one.
    #[must_use]
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        match self.damage {
            Damage::Base64(error) => Some(error.into()),
            Damage::Size { .. } => None,
        }
    }
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.damage {
            Damage::Base64(_) => write!(f, "artifact {name:?} is not base64"),
            Damage::Size { announced, actual } => {
                write!(f, "artifact {name:?} says that it has {announced} bytes and has {actual}")
            }
        }
    }
}

impl Error for ArtifactError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.damage {
            Damage::Base64(error) => Some(error),
            Damage::Size { .. } => None,
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
    fn data_is_decoded_and_its_size_checked() {
        let good = artifact(r#"{"name":"a.txt","content_type":"text/plain","size":2,"data":"aGk="}"#);
        assert_eq!(good.data().unwrap().unwrap(), "hi");
        let short = artifact(r#"{"name":"a.txt","content_type":"text/plain","size":3,"data":"aGk="}"#);
        let error = short.data().unwrap_err();
        assert_eq!(error.to_string(), "artifact \"a.txt\" says that it has 3 bytes and has 2");
        let odd = artifact(r#"{"name":"a.txt","size":3,"data":"*"}"#);
        assert!(odd.data().unwrap_err().to_string().contains("not base64"));
    }

    #[test]
    fn one_by_url_has_no_data() {
        let remote = artifact(r#"{"name":"a","content_type":"b","size":9,"data":null,"url":"http://h/a"}"#);
        assert!(remote.data().unwrap().is_none());
        assert_eq!(remote.url.as_deref(), Some("http://h/a"));
    }

    #[test]
    fn made_here_it_reads_back() {
        let made = Artifact::new("a", "text/plain", b"hello");
        let read = artifact(&serde_json::to_string(&made).unwrap());
        assert_eq!(read.data().unwrap().unwrap(), "hello");
    }
}
