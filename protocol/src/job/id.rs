use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::InvalidValue;

/// The maximum length of an id, in bytes.
const MAX: usize = 512;

/// The id that the daemon assigned to a job (`job_id` in the response to `POST /jobs` and in a job's status).
///
/// An id is an opaque string of 1 to 512 bytes. It is not `.`, and contains no `/`, no `\`, no `..` and no control characters,
/// so that it cannot change the path of a URL. In a path it must be percent-encoded.
///
/// Deserialization applies the same rules. Cloning is cheap: clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct JobId(Arc<str>);

impl JobId {
    /// Creates an id.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for the field `job_id` if the id violates a rule above.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidValue> {
        let id = id.as_ref();
        let reason = if id.is_empty() {
            "must not be empty"
        } else if id.len() > MAX {
            "must be at most 512 bytes"
        } else if id.bytes().all(is_plain) {
            return Ok(Self(id.into()));
        } else if id.contains(['/', '\\']) || id.contains("..") || id == "." {
            "must not contain `/`, `\\` or `..`"
        } else if id.chars().any(char::is_control) {
            "must not contain control characters"
        } else {
            return Ok(Self(id.into()));
        };
        Err(InvalidValue::new("job_id", reason))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether no rule is about this byte. Nearly all ids consist of such bytes, and then one look at each is enough.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({})", self.0)
    }
}

impl AsRef<str> for JobId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidValue;

    fn from_str(id: &str) -> Result<Self, InvalidValue> {
        Self::new(id)
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidValue;

    fn try_from(id: String) -> Result<Self, InvalidValue> {
        Self::new(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_change_a_path_are_rejected() {
        let long = "a".repeat(MAX + 1);
        for id in ["", ".", "..", "a/b", "../a", "a\\b", "a\nb", "\u{7f}", "a..b", long.as_str()] {
            let error = JobId::new(id).unwrap_err();
            assert!(error.to_string().starts_with("invalid job_id: "), "{error}");
        }
    }

    #[test]
    fn other_ids_are_accepted() {
        for id in ["7", "01JD8ZK7", "a b", "ä?#%", "a.b", &"a".repeat(MAX)] {
            assert_eq!(JobId::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn deserialization_checks_the_id() {
        assert!(serde_json::from_str::<JobId>(r#""..""#).is_err());
        assert_eq!(serde_json::to_string(&JobId::new("7").unwrap()).unwrap(), r#""7""#);
    }
}
