use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The state of a job (`state` in a job's status, and the query parameter `state` of `GET /jobs`).
///
/// `done` and `failed` are terminal. An unknown state is not terminal; its name is stored as received.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// `queued`: accepted, and waiting for a worker.
    Queued,
    /// `running`: a worker runs the job.
    Running,
    /// `done`: the job succeeded. Its status contains the result.
    Done,
    /// `failed`: the job failed or was cancelled. Its status contains the error.
    Failed,
    /// Any other name, as received.
    Other(Box<str>),
}

impl JobState {
    /// Whether the job has ended, so that its state does not change any more.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for JobState {
    fn from(name: &str) -> Self {
        match name {
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
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(name.as_ref()))
    }
}
