use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use serde_json::value::RawValue;

use crate::job_spec::JobSpec;
use crate::owner::Owner;
use crate::{Artifact, JobId, JobState, JobStatus};

/// A submission that was checked.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) owner: Owner,
    pub(crate) submission: JobSpec,
    /// What the submission was read from.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only a file keeps it"))]
    pub(crate) body: Bytes,
    pub(crate) webhook: Option<Uri>,
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) key: Option<IdempotencyKey>,
}

/// An idempotency key and the SHA-256 of the body it came with.
#[derive(Debug)]
pub(crate) struct IdempotencyKey {
    pub(crate) text: Box<[u8]>,
    pub(crate) digest: [u8; 32],
}

/// A job that is there now.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) job_id: JobId,
    /// Whether it was there before, under the same key.
    pub(crate) replayed: bool,
}

/// Why a submission was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// The key was used for another body.
    KeyReused,
    /// As many jobs are queued as may be.
    Full,
}

/// What came of the job that was next.
#[derive(Debug)]
pub(crate) enum NextJob {
    Run(Taken),
    /// It cannot be read any more, and has failed.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "memory does not decay"))]
    Damaged(JobId),
}

/// A job that a worker has now.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) job_id: JobId,
    /// Which run of the job it is; the first is 1.
    pub(crate) attempt: u64,
    pub(crate) submission: Arc<JobSpec>,
}

/// How far a job is.
#[derive(Debug)]
pub(crate) struct JobProgress {
    pub(crate) state: JobState,
    pub(crate) attempt: u64,
}

impl JobProgress {
    /// Whether that run of the job goes on, as far as anybody decided.
    pub(crate) fn is_run(&self, attempt: u64) -> bool {
        self.state == JobState::Running && self.attempt == attempt
    }
}

/// What a run that was done has made.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) result: Box<RawValue>,
    pub(crate) artifacts: Vec<Artifact>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Done(Output),
    Failed(String),
}

/// What came of a cancellation.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// It is `failed` now.
    Ended(Arc<JobStatus>),
    /// It had ended before.
    Terminal(JobState),
    Unknown,
}

/// Which jobs to list.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) owner: Owner,
    pub(crate) state: Option<JobState>,
    /// Only jobs older than the one of this number.
    pub(crate) before: Option<u64>,
    pub(crate) limit: usize,
}

/// Some jobs, newest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Arc<JobStatus>>,
    /// What to ask next for jobs before, if there are more.
    pub(crate) next: Option<u64>,
}
