use super::{Faults, Times};

/// Faults of jobs.
#[derive(Debug, Clone, Copy)]
#[must_use = "it only selects jobs; call a method to set a fault"]
pub struct JobFaults<'a> {
    faults: &'a Faults,
}

impl<'a> JobFaults<'a> {
    pub(super) fn new(faults: &'a Faults) -> Self {
        Self { faults }
    }

    /// Stalls a job: a worker takes it, so that it is `running`, but does not call the backend until the job is
    /// [released](Self::release).
    ///
    /// The job occupies its worker, and a daemon has one by default. It can be cancelled. A
    /// [shutdown](crate::Daemon::shutdown) waits for it up to the [drain timeout](crate::Builder::drain).
    pub fn stall(self, times: Times) {
        self.faults.state().stall.arm((), times);
    }

    /// Resumes all stalled jobs, and stalls no more.
    pub fn release(self) {
        self.faults.state().release_jobs();
    }
}
