//! Jobs: [`JobId`], [`JobState`], [`JobStatus`], [`JobResult`] and [`Artifact`].

mod result;

#[doc(inline)]
pub use foreman_protocol::{Artifact, ArtifactError, JobId, JobState, JobStatus};

pub use self::result::JobResult;
