use super::Times;
use super::handle::Faults;
use crate::JobId;
use crate::jobs::Jobs;

/// Faults of the jobs themselves.
#[derive(Debug, Clone, Copy)]
#[must_use = "it names jobs, and a fault of theirs is to follow"]
pub struct JobFaults<'a> {
    faults: &'a Faults,
}

impl<'a> JobFaults<'a> {
    pub(super) fn new(faults: &'a Faults) -> Self {
        Self { faults }
    }

    /// Has a worker take the job, which is `running` then, and not ask the backend until it is [released](Self::release). It
    /// keeps its worker, of which a daemon has one unless told otherwise. It can be cancelled, and a stop waits for it as for
    /// any job that runs, up to the [drain time-out](crate::Builder::drain).
    pub fn stall(self, times: Times) {
        self.faults.state().stall.arm((), times);
    }

    /// Lets all stalled jobs go on, and stalls no more.
    pub fn release(self) {
        self.faults.state().release();
    }
}

impl Faults {
    /// Returns when that run of a job may begin; `false` if nobody wants it any more.
    pub(crate) async fn begin(&self, jobs: &Jobs, job_id: &JobId, attempt: u64) -> bool {
        let mut released = {
            let mut state = self.state();
            if state.stall.take().is_none() {
                return true;
            }
            state.begin.subscribe()
        };
        self.note(|seen| seen.stalled_jobs += 1);
        tokio::select! {
            biased;
            () = jobs.abandoned(job_id, attempt) => false,
            _ = released.changed() => true,
        }
    }
}
