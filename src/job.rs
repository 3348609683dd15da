//! Jobs as the daemon tells of them: [`JobId`], [`JobState`], [`JobStatus`], [`JobResult`] and [`Artifact`].

mod artifact;
mod id;
mod result;
mod state;
mod status;

pub use self::artifact::Artifact;
pub use self::id::JobId;
pub use self::result::JobResult;
pub use self::state::JobState;
pub use self::status::JobStatus;
pub(crate) use self::status::null_is_absent;
