//! Jobs, in the JSON that the daemon sends.

mod artifact;
mod id;
mod state;
mod status;

pub use self::artifact::{Artifact, ArtifactError};
pub use self::id::JobId;
pub use self::state::JobState;
pub use self::status::JobStatus;
