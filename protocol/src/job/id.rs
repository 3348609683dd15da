use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::InvalidValue;

/// The longest id that is taken, in bytes.
const MAX: usize = 512;

/// The id of a job, as the daemon gave it (`job_id` on the wire).
///
/// Never empty, at most 512 bytes, and free of what could lead a URL elsewhere: no `/`, no `\`, no `..`, no control
/// characters. It is percent-encoded where it stands in a path. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct JobId(Arc<str>);

impl JobId {
    /// Checks and takes an id.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for one that no daemon gives.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidValue> {
        let id = id.as_ref();
        let why = if id.is_empty() {
            "must not be empty"
        } else if id.len() > MAX {
            "is longer than 512 bytes"
        } else if id.contains(['/', '\\']) || id.contains("..") || id == "." {
            "must not hold `/`, `\\` or `..`"
        } else if id.chars().any(char::is_control) {
            "must not hold control characters"
        } else {
            return Ok(Self(id.into()));
        };
        Err(InvalidValue::new("job_id", why))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
    fn refuses_what_could_lead_a_path_elsewhere() {
        let long = "a".repeat(MAX + 1);
        for id in ["", ".", "..", "a/b", "../a", "a\\b", "a\nb", "\u{7f}", "a..b", long.as_str()] {
            let error = JobId::new(id).unwrap_err();
            assert!(error.to_string().starts_with("invalid job_id: "), "{error}");
        }
    }

    #[test]
    fn takes_what_daemons_give() {
        for id in ["7", "01JD8ZK7", "a b", "ä?#%", "a.b", &"a".repeat(MAX)] {
            assert_eq!(JobId::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn json_is_checked_too() {
        assert!(serde_json::from_str::<JobId>(r#""..""#).is_err());
        assert_eq!(serde_json::to_string(&JobId::new("7").unwrap()).unwrap(), r#""7""#);
    }
}
