use std::collections::BTreeMap;

use crate::JobId;

/// The jobs that wait for a worker, first in, first out, by the number each got when it was submitted.
#[derive(Debug, Default)]
pub(super) struct Queue(BTreeMap<u64, JobId>);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, number: u64, job_id: JobId) {
        self.0.insert(number, job_id);
    }

    pub(super) fn pop(&mut self) -> Option<JobId> {
        self.0.pop_first().map(|(_, job_id)| job_id)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.0.remove(&number);
    }

    /// The place of a job in it, where 1 is next. Counts, so it costs as much as the place is far.
    pub(super) fn position(&self, number: u64) -> Option<u64> {
        self.0.contains_key(&number).then(|| self.0.range(..=number).count() as u64)
    }
}
