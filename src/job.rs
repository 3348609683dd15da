//! Jobs: [`JobId`], [`JobHandle`], [`JobState`], [`JobStatus`], [`JobResult`] and [`Artifact`].

mod handle;
mod result;
#[cfg(feature = "artifact-files")]
mod save;
#[cfg(feature = "artifact-files")]
mod save_error;

#[doc(inline)]
pub use foreman_protocol::{Artifact, ArtifactError, JobId, JobState, JobStatus};

pub use self::handle::JobHandle;
pub use self::result::JobResult;
#[cfg(feature = "artifact-files")]
#[cfg_attr(docsrs, doc(cfg(feature = "artifact-files")))]
pub use self::save::{SavedArtifact, save_artifact};
#[cfg(feature = "artifact-files")]
#[cfg_attr(docsrs, doc(cfg(feature = "artifact-files")))]
pub use self::save_error::SaveArtifactError;
