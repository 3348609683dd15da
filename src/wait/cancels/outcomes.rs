use std::collections::HashSet;

use crate::JobId;

/// What a shutdown knows of the jobs: which have ended, and which go on without a wait. It grows until the service is dropped, so that
/// each call of `shutdown` returns the same jobs. A service that shuts down takes no new jobs, which bounds it.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    ended: HashSet<JobId>,
    going_on: HashSet<JobId>,
    /// Their waits were ended, and their callers are about to drop them.
    to_be_dropped: HashSet<JobId>,
}

impl Outcomes {
    /// The job was cancelled, or has ended by itself.
    pub(super) fn ended(&mut self, job_id: JobId) {
        self.to_be_dropped.remove(&job_id);
        self.ended.insert(job_id);
    }

    /// The wait for the job was ended, the policy lets it go on, or its cancel failed.
    pub(super) fn goes_on(&mut self, job_id: JobId) {
        self.going_on.insert(job_id);
    }

    /// The job will be cancelled as soon as its caller drops it.
    pub(super) fn expect_drop(&mut self, job_id: JobId) {
        self.to_be_dropped.insert(job_id);
    }

    pub(super) fn dropped(&mut self, job_id: &JobId) {
        self.to_be_dropped.remove(job_id);
    }

    pub(super) fn expects_drop(&self) -> bool {
        !self.to_be_dropped.is_empty()
    }

    /// The jobs that go on, each once. `left`: the ones that are still to be cancelled.
    pub(super) fn going_on<'a>(&'a self, left: impl Iterator<Item = &'a JobId>) -> Vec<JobId> {
        let jobs: HashSet<_> = self.going_on.iter().chain(left).filter(|job| !self.ended.contains(*job)).collect();
        let mut jobs: Vec<_> = jobs.into_iter().cloned().collect();
        jobs.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        jobs
    }
}
