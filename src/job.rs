//! Jobs: [`JobId`], [`JobState`], [`JobStatus`], [`JobResult`] and [`Artifact`].

mod result;
mod save;
mod save_error;

#[doc(inline)]
pub use foreman_protocol::{Artifact, ArtifactError, JobId, JobState, JobStatus};

pub use self::result::JobResult;
pub use self::save::{SavedArtifact, save_artifact};
pub use self::save_error::SaveArtifactError;
