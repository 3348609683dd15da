use std::sync::Arc;
use std::time::Duration;

use super::Trust;
use crate::submission::SharedSubmission;
use crate::submission::daemon_id::DaemonId;
use crate::submission::draft::Draft;
use crate::submission::history::History;
use crate::{Error, JobStatus};

/// The fields that few submissions need.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// An event that came before the response to the submission.
    pub(super) candidate: Option<Candidate>,
    /// When the response to the submission was lost.
    pub(super) lost_at: Duration,
    /// The daemon that an `Api` inside the wait sends to, if it is not the one of the wait.
    pub(super) sent_to: Option<DaemonId>,
    /// Why the response to the submission was lost.
    pub(super) loss: Option<Error>,
    /// When a renewed submission began.
    pub(super) began_at: Duration,
    /// The failed job runs again as this submission.
    pub(super) renewed: Option<Arc<SharedSubmission>>,
    /// The last attempt was refused, and a retry policy is about to make another.
    pub(super) refusal: Option<Error>,
    /// Why the last wait that failed did.
    pub(super) failure: Option<Error>,
    /// Left by a wait that ended while the job was not known for sure.
    pub(super) draft: Option<Arc<Draft>>,
    /// `None` until somebody asks for the states.
    pub(super) history: Option<History>,
}

/// An event that came before the job id was known.
///
/// The signature covers neither the token nor, in foreman's own scheme, the time: a signed event of another job can be sent to the
/// callback URL of this one. Only the response to the submission confirms that the event is of its job, or, if that response is lost, a
/// poll.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) status: JobStatus,
    pub(super) trust: Trust,
}
