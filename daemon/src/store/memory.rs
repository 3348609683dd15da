mod state;
mod stored_job;

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use self::state::{JOB_OVERHEAD, MemoryState};
use self::stored_job::StoredJob;
use super::{
    Address, Cancelled, Claim, Cost, DEADLINE, JobProgress, NewJob, NextJob, OVERDUE_LIMIT, Outcome, Overdue, Page,
    Query, Store, StoreOptions, SubmitError, Submitted, Taken, Transaction, Verdict, Wanted,
};
use crate::owner::Owner;
use crate::{JobId, JobState, JobStatus};

/// Stores jobs in memory, under one lock. They are lost when the process ends.
#[derive(Debug)]
pub(crate) struct Memory {
    queue_id: Uuid,
    options: StoreOptions,
    state: Mutex<MemoryState>,
}

impl Memory {
    pub(crate) fn new(options: StoreOptions) -> Self {
        let state = MemoryState::new(&options);
        Self { queue_id: Uuid::new_v4(), options, state: Mutex::new(state) }
    }

    fn submit_now(&self, new: NewJob) -> Result<Submitted, SubmitError> {
        let now = Instant::now();
        let mut state = self.lock();
        state.remove_expired(now, self.options.keep);
        if let Some(key) = &new.key
            && let Some(used) = state.owners.get(&new.owner).and_then(|owned| owned.keys.get(&key.text))
        {
            if used.digest != key.digest {
                return Err(SubmitError::KeyReused);
            }
            let job_id = used.job_id.clone();
            if let Some(url) = new.webhook {
                let ended = state.jobs.get(&job_id).is_none_or(|job| job.status.state.is_terminal());
                state.outbox.move_to(&job_id, Address { url, traceparent: new.traceparent }, ended);
            }
            if let (Some(name), Some(job)) = (new.submission.event_stream, state.jobs.get_mut(&job_id)) {
                job.stream = Some(name.into());
            }
            return Ok(Submitted { job_id, replayed: true });
        }
        if let Some(refused) = state.queue.refuses(new.owner) {
            return Err(refused);
        }
        if state.bytes.saturating_add(JOB_OVERHEAD + new.body.len()) > self.options.memory_budget {
            return Err(SubmitError::MemoryFull);
        }
        Ok(Submitted { job_id: state.add(new, now), replayed: false })
    }

    fn take_now(&self, wanted: &Wanted) -> Option<Taken> {
        let mut state = self.lock();
        let (_, job_id) = state.queue.pop(wanted)?;
        let job = state.jobs.get_mut(&job_id)?;
        let taken = job.start()?;
        state.record(&job_id, Instant::now());
        Some(taken)
    }

    fn restart_now(&self, job_id: &JobId, attempt: u64, error: &str) -> Option<Taken> {
        let mut state = self.lock();
        let job = state.jobs.get_mut(job_id)?;
        if !job.progress().is_current(attempt) {
            return None;
        }
        Arc::make_mut(&mut job.status).last_error = Some(error.to_owned());
        job.start()
    }

    fn requeue_now(&self, job_id: &JobId, attempt: u64, cost: Cost, error: &str) {
        let mut state = self.lock();
        let Some(job) = state.jobs.get_mut(job_id).filter(|job| job.progress().is_current(attempt)) else { return };
        if cost == Cost::Free {
            job.spent -= 1;
        }
        let has_started = job.spent > 0;
        let status = Arc::make_mut(&mut job.status);
        status.state = JobState::Queued;
        status.started_at = status.started_at.filter(|_| has_started);
        status.last_error = Some(error.to_owned());
        let (number, model, queued) = (job.number, status.model.clone(), job.queued());
        let priority = state.queue.push_behind(number, &model, queued);
        if let Some(job) = state.jobs.get_mut(job_id) {
            job.priority = priority;
        }
        state.record(job_id, Instant::now());
    }

    fn finish_now(&self, job_id: &JobId, attempt: u64, outcome: Outcome) -> bool {
        let mut state = self.lock();
        let Some(job) = state.jobs.get_mut(job_id) else { return false };
        if !job.progress().is_current(attempt) {
            return false;
        }
        let status = Arc::make_mut(&mut job.status);
        match outcome {
            Outcome::Done(output) => {
                status.state = JobState::Done;
                status.result = Some(output.result);
                status.artifacts = output.artifacts;
            }
            Outcome::Failed(error) => {
                status.state = JobState::Failed;
                status.error = Some(error);
            }
        }
        state.end(job_id);
        true
    }

    fn cancel_now(&self, owner: Owner, job_id: &JobId) -> Cancelled {
        let mut state = self.lock();
        let Some(job) = state.jobs.get(job_id).filter(|job| job.owner == owner) else { return Cancelled::Unknown };
        if job.status.state.is_terminal() {
            return Cancelled::Terminal(job.status.state.clone());
        }
        state.fail(job_id, "cancelled").map_or(Cancelled::Unknown, Cancelled::Ended)
    }

    fn fail_overdue_now(&self) -> Overdue {
        let (mut state, now) = (self.lock(), Timestamp::now());
        let mut jobs = Vec::new();
        while jobs.len() < OVERDUE_LIMIT
            && let Some(job_id) = state.queue.overdue(now)
        {
            state.fail(&job_id, DEADLINE);
            jobs.push(job_id);
        }
        Overdue { jobs, next: state.queue.next_deadline() }
    }

    fn status_now(&self, owner: Owner, job_id: &JobId) -> Option<Arc<JobStatus>> {
        let state = self.lock();
        state.jobs.get(job_id).filter(|job| job.owner == owner).map(|job| state.status(job))
    }

    fn progress_now(&self, job_id: &JobId) -> Option<JobProgress> {
        self.lock().jobs.get(job_id).map(StoredJob::progress)
    }

    fn list_now(&self, query: &Query) -> Page {
        let state = self.lock();
        let owned = state.owners.get(&query.owner);
        let older = owned.map(|owned| owned.order.range(..query.before.unwrap_or(u64::MAX)).rev());
        let found = older
            .into_iter()
            .flatten()
            .filter_map(|(number, job_id)| Some((*number, state.jobs.get(job_id)?)))
            .filter(|(_, job)| query.state.as_ref().is_none_or(|state| *state == job.status.state));
        let status = |job| if query.results { state.status(job) } else { state.status_without_output(job) };
        let Ok(page) = Page::of(query, found.map(|(number, job)| Ok::<_, Infallible>((number, status(job)))));
        page
    }

    fn claim_now(&self) -> Claim {
        self.lock().outbox.claim(Instant::now())
    }

    fn settle_now(&self, job_id: &JobId, verdict: &Verdict) {
        self.lock().outbox.settle(job_id, verdict, Instant::now());
    }

    /// No method panics in the middle of a change, so that the state under a poisoned lock is consistent.
    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn completed<'a, T: Send + 'a>(value: T) -> Transaction<'a, T> {
    Box::pin(ready(Ok(value)))
}

impl Store for Memory {
    fn queue_id(&self) -> Uuid {
        self.queue_id
    }

    fn submit(&self, new: NewJob) -> Transaction<'_, Result<Submitted, SubmitError>> {
        completed(self.submit_now(new))
    }

    fn take(&self, wanted: Wanted) -> Transaction<'_, Option<NextJob>> {
        completed(self.take_now(&wanted).map(NextJob::Run))
    }

    fn restart<'a>(&'a self, job_id: &'a JobId, attempt: u64, error: &'a str) -> Transaction<'a, Option<Taken>> {
        completed(self.restart_now(job_id, attempt, error))
    }

    fn requeue<'a>(&'a self, job_id: &'a JobId, attempt: u64, cost: Cost, error: &'a str) -> Transaction<'a, ()> {
        self.requeue_now(job_id, attempt, cost, error);
        completed(())
    }

    fn fail_overdue(&self) -> Transaction<'_, Overdue> {
        completed(self.fail_overdue_now())
    }

    fn interrupt(&self) -> Transaction<'_, ()> {
        completed(())
    }

    fn finish<'a>(&'a self, job_id: &'a JobId, attempt: u64, outcome: Outcome) -> Transaction<'a, bool> {
        completed(self.finish_now(job_id, attempt, outcome))
    }

    fn cancel<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Cancelled> {
        completed(self.cancel_now(owner, job_id))
    }

    fn check(&self) -> Transaction<'_, ()> {
        completed(())
    }

    fn queued(&self) -> usize {
        self.lock().queue.len()
    }

    fn status<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Option<Arc<JobStatus>>> {
        completed(self.status_now(owner, job_id))
    }

    fn progress<'a>(&'a self, job_id: &'a JobId) -> Transaction<'a, Option<JobProgress>> {
        completed(self.progress_now(job_id))
    }

    fn list(&self, query: Query) -> Transaction<'_, Page> {
        completed(self.list_now(&query))
    }

    fn claim(&self) -> Transaction<'_, Claim> {
        completed(self.claim_now())
    }

    fn settle<'a>(&'a self, job_id: &'a JobId, verdict: Verdict) -> Transaction<'a, ()> {
        self.settle_now(job_id, &verdict);
        completed(())
    }
}
