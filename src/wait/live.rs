use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::sync::Notify;

use crate::JobId;
use crate::submission::{SharedSubmission, SubmissionState};

/// The waits of one service that have not ended, and whether the service takes new ones.
#[derive(Debug, Default)]
pub(super) struct Live {
    phase: AtomicU8,
    waits: Mutex<Slab<Arc<SharedSubmission>>>,
    /// The last wait left while the service was shutting down.
    empty: Notify,
}

/// The place of one wait.
#[derive(Debug)]
pub(super) struct Place(NonZeroU32);

const OPEN: u8 = 0;
/// New waits are refused.
const DRAINING: u8 = 1;
/// All waits end.
const CLOSED: u8 = 2;

impl Live {
    /// A wait starts. `None` if the service is shutting down.
    pub(super) fn enter(&self, submission: &Arc<SharedSubmission>) -> Option<Place> {
        let mut waits = self.waits();
        // Under the lock, so that a drain that sees no wait has seen the last one.
        if self.is_draining() {
            return None;
        }
        // A slab is never that large: each entry takes 16 bytes.
        u32::try_from(waits.insert(Arc::clone(submission)) + 1).ok().and_then(NonZeroU32::new).map(Place)
    }

    /// The wait ends.
    pub(super) fn leave(&self, Place(place): Place) {
        let mut waits = self.waits();
        let submission = waits.try_remove(place.get() as usize - 1);
        let is_last = waits.is_empty() && self.is_draining();
        drop(waits);
        drop(submission);
        if is_last {
            self.empty.notify_waiters();
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.phase.load(SeqCst) != OPEN
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase.load(SeqCst) == CLOSED
    }

    /// Refuses new waits.
    pub(super) fn drain(&self) {
        let _waits = self.waits();
        self.phase.fetch_max(DRAINING, SeqCst);
    }

    /// Ends all waits. Returns the jobs that have not ended, with their submissions.
    pub(super) fn close(&self) -> Vec<(JobId, Arc<SharedSubmission>)> {
        let submissions: Vec<_> = {
            let waits = self.waits();
            self.phase.store(CLOSED, SeqCst);
            waits.iter().map(|(_, submission)| Arc::clone(submission)).collect()
        };
        let unfinished = |state: &SubmissionState| state.job_id().cloned().filter(|_| !state.has_result());
        let jobs = submissions
            .iter()
            .filter_map(|submission| submission.read(unfinished).map(|job_id| (job_id, Arc::clone(submission))));
        let jobs = jobs.collect();
        for submission in submissions {
            submission.update(SubmissionState::touch);
        }
        jobs
    }

    /// Completes when no wait is left. For a service that drains.
    pub(super) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if self.waits().is_empty() {
                return;
            }
            empty.await;
        }
    }

    fn waits(&self) -> MutexGuard<'_, Slab<Arc<SharedSubmission>>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
