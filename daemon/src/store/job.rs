use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::job_spec::JobSpec;
use crate::owner::Owner;
use crate::{Artifact, JobId, JobState, JobStatus};

/// A checked submission.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) owner: Owner,
    pub(crate) submission: JobSpec,
    /// The body that `submission` was parsed from.
    pub(crate) body: Bytes,
    pub(crate) webhook: Option<Uri>,
    pub(crate) traceparent: Option<HeaderValue>,
    /// Jobs of the owner with a higher one are first.
    pub(crate) priority: i8,
    /// When it fails if it has not been started by then.
    pub(crate) start_by: Option<Timestamp>,
    pub(crate) key: Option<IdempotencyKey>,
}

#[cfg(test)]
impl NewJob {
    /// A submission with this body and without a key, of nobody in particular.
    pub(crate) fn of_test(body: &str) -> Self {
        Self {
            owner: Owner::ANONYMOUS,
            submission: serde_json::from_str(body).unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            webhook: None,
            traceparent: None,
            priority: 0,
            start_by: None,
            key: None,
        }
    }
}

/// An idempotency key and the SHA-256 of the conversation: the request body without its callback URL and event stream.
#[derive(Debug)]
pub(crate) struct IdempotencyKey {
    pub(crate) text: Box<[u8]>,
    pub(crate) digest: [u8; 32],
}

/// The job of a submission.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) job_id: JobId,
    /// Whether an earlier submission with the same key created it.
    pub(crate) replayed: bool,
}

/// Why a submission was rejected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// The key was used with another body.
    KeyReused,
    /// The queue is full.
    Full,
    /// The owner has as many queued jobs as one may have.
    TooManyOfOwner,
    /// The jobs in memory have as many bytes as they may.
    MemoryFull,
}

/// The job that was next in the queue.
#[derive(Debug)]
pub(crate) enum NextJob {
    Run(Taken),
    /// Its row does not decode, and it has failed.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(dead_code, reason = "only SQLite has damaged rows")
    )]
    Damaged(JobId),
}

/// A job that a worker has taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) job_id: JobId,
    /// The attempt, counted from 1.
    pub(crate) attempt: u64,
    /// How many attempts count so far, with this one.
    pub(crate) spent: u64,
    /// When the job fails if it has not been started by then. `None` once an attempt has counted.
    pub(crate) start_by: Option<Timestamp>,
    pub(crate) submission: Arc<JobSpec>,
}

/// Whether an attempt that has ended counts against the limit of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Counts,
    Free,
}

/// The error of a job that has not started by its deadline.
pub(crate) const DEADLINE: &str = "deadline";

/// How many overdue jobs are failed in one transaction. It bounds how long others wait for it.
pub(crate) const OVERDUE_LIMIT: usize = 500;

/// The jobs that have failed because their time has passed.
#[derive(Debug)]
pub(crate) struct Overdue {
    pub(crate) jobs: Vec<JobId>,
    /// When the next one will.
    pub(crate) next: Option<Timestamp>,
}

/// The state of a job and its current attempt.
#[derive(Debug)]
pub(crate) struct JobProgress {
    pub(crate) state: JobState,
    pub(crate) attempt: u64,
}

impl JobProgress {
    /// Whether `attempt` is the current one and has not ended.
    pub(crate) fn is_current(&self, attempt: u64) -> bool {
        self.state == JobState::Running && self.attempt == attempt
    }
}

/// The output of a successful attempt.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) result: Box<RawValue>,
    pub(crate) artifacts: Vec<Artifact>,
}

/// How the last attempt of a job ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Done(Output),
    Failed(String),
}

/// The result of a cancellation.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// The job is `failed` now.
    Ended(Arc<JobStatus>),
    /// The job had already ended, in this state.
    Terminal(JobState),
    Unknown,
}

/// Selects the jobs of a page.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) owner: Owner,
    pub(crate) state: Option<JobState>,
    /// Only jobs with a smaller number: older ones.
    pub(crate) before: Option<u64>,
    pub(crate) limit: usize,
    /// With results and artifacts.
    pub(crate) results: bool,
}

/// The largest page with results, in bytes of results and artifacts. A job that has more is on a page of its own.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// A page of jobs, newest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Arc<JobStatus>>,
    /// [`Query::before`] of the next page, if there is one.
    pub(crate) next: Option<u64>,
}

impl Page {
    /// The first of the jobs that were found, as many as the query asks for.
    pub(crate) fn of<E>(
        query: &Query,
        found: impl Iterator<Item = Result<(u64, Arc<JobStatus>), E>>,
    ) -> Result<Self, E> {
        let mut page = PageBuilder::new(query);
        for job in found {
            let (number, status) = job?;
            if !page.add(number, status) {
                break;
            }
        }
        Ok(page.page)
    }
}

/// A page to which jobs are added as they are found.
#[derive(Debug)]
pub(crate) struct PageBuilder {
    page: Page,
    limit: usize,
    last: Option<u64>,
    bytes: usize,
}

impl PageBuilder {
    pub(crate) fn new(query: &Query) -> Self {
        Self { page: Page { jobs: Vec::new(), next: None }, limit: query.limit, last: None, bytes: 0 }
    }

    /// Adds the next job. Returns `false` if there is no room for it: the page is complete.
    pub(crate) fn add(&mut self, number: u64, status: Arc<JobStatus>) -> bool {
        self.bytes = self.bytes.saturating_add(output_size(&status));
        if self.page.jobs.len() == self.limit || (self.bytes > MAX_PAGE_BYTES && self.last.is_some()) {
            self.page.next = self.last;
            return false;
        }
        self.page.jobs.push(status);
        self.last = Some(number);
        true
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn finish(self) -> Page {
        self.page
    }
}

/// About how many bytes the result, the error and the artifacts take.
pub(super) fn output_size(status: &JobStatus) -> usize {
    let result = status.result.as_ref().map_or(0, |result| result.get().len());
    // As base64.
    let of = |artifact: &Artifact| usize::try_from(artifact.size).unwrap_or(usize::MAX).saturating_mul(4) / 3;
    let error = status.error.as_ref().map_or(0, String::len);
    status.artifacts.iter().map(of).fold(result.saturating_add(error), usize::saturating_add)
}
