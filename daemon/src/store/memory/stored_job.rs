use std::sync::Arc;

use jiff::Timestamp;

use crate::job_spec::JobSpec;
use crate::owner::Owner;
use crate::store::queue::QueuedJob;
use crate::store::{JobProgress, Taken};
use crate::{JobState, JobStatus};

/// A job in memory.
#[derive(Debug)]
pub(super) struct StoredJob {
    pub(super) number: u64,
    pub(super) owner: Owner,
    pub(super) status: Arc<JobStatus>,
    /// How many attempts count.
    pub(super) spent: u64,
    /// `None` once the job has ended.
    pub(super) submission: Option<Arc<JobSpec>>,
    pub(super) priority: i8,
    pub(super) start_by: Option<Timestamp>,
    pub(super) key: Option<Box<[u8]>>,
    /// The name of the event stream.
    pub(super) stream: Option<Box<str>>,
    /// How many bytes it takes besides its submission and its output.
    pub(super) base_size: usize,
    /// How many bytes it takes in all.
    pub(super) size: usize,
}

impl StoredJob {
    pub(super) fn progress(&self) -> JobProgress {
        JobProgress { state: self.status.state.clone(), attempt: self.status.attempt }
    }

    pub(super) fn start(&mut self) -> Option<Taken> {
        let submission = Arc::clone(self.submission.as_ref()?);
        let start_by = self.queued_start_by();
        let status = Arc::make_mut(&mut self.status);
        status.state = JobState::Running;
        status.attempt += 1;
        status.started_at = Some(Timestamp::now());
        self.spent += 1;
        let (job_id, attempt) = (status.job_id.clone(), status.attempt);
        Some(Taken { job_id, attempt, spent: self.spent, start_by, submission })
    }

    pub(super) fn queued(&self) -> QueuedJob {
        let (priority, start_by) = (self.priority, self.queued_start_by());
        QueuedJob { owner: self.owner, priority, start_by, job_id: self.status.job_id.clone() }
    }

    /// The deadline does not matter to a job that has been started.
    fn queued_start_by(&self) -> Option<Timestamp> {
        self.start_by.filter(|_| self.spent == 0)
    }
}
