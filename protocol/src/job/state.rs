use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a job is (`state` on the wire).
///
/// Only `done` and `failed` are terminal. A state that this crate does not know is not terminal, and is kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// Accepted, waiting for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It succeeded; the result is there.
    Done,
    /// It failed, or was cancelled; the error is there.
    Failed,
    /// Any other word, as it came.
    Other(Box<str>),
}

impl JobState {
    /// Whether the job will not change any more.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for JobState {
    fn from(word: &str) -> Self {
        match word {
            "queued" => Self::Queued,
            "running" => Self::Running,
            "done" => Self::Done,
            "failed" => Self::Failed,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JobState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for JobState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(word.as_ref()))
    }
}
