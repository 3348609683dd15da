use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::fresh_id::fresh_id;
use super::outbox::Outbox;
use super::queue::Queue;
use super::{
    Address, Cancelled, Claim, Cost, JobProgress, NewJob, NextJob, Outcome, Page, Query, Store, StoreOptions,
    SubmitError, Submitted, Taken, Transaction, Verdict,
};
use crate::job_spec::JobSpec;
use crate::owner::Owner;
use crate::streams::Streams;
use crate::{JobId, JobState, JobStatus};

/// Stores jobs in memory, under one lock. They are lost when the process ends.
#[derive(Debug)]
pub(crate) struct Memory {
    options: StoreOptions,
    state: Mutex<MemoryState>,
}

#[derive(Debug)]
struct MemoryState {
    numbers: u64,
    jobs: HashMap<JobId, StoredJob>,
    owners: HashMap<Owner, OwnerJobs>,
    queue: Queue,
    ended: VecDeque<(Instant, JobId)>,
    outbox: Outbox,
    streams: Arc<Streams>,
}

/// The jobs and keys of one owner.
#[derive(Debug, Default)]
struct OwnerJobs {
    order: BTreeMap<u64, JobId>,
    keys: HashMap<Box<[u8]>, UsedKey>,
}

#[derive(Debug)]
struct StoredJob {
    number: u64,
    owner: Owner,
    status: Arc<JobStatus>,
    /// How many attempts count.
    spent: u64,
    /// `None` once the job has ended.
    submission: Option<Arc<JobSpec>>,
    key: Option<Box<[u8]>>,
    /// The name of the event stream.
    stream: Option<Box<str>>,
}

#[derive(Debug)]
struct UsedKey {
    digest: [u8; 32],
    job_id: JobId,
}

impl StoredJob {
    fn progress(&self) -> JobProgress {
        JobProgress { state: self.status.state.clone(), attempt: self.status.attempt }
    }

    fn start(&mut self) -> Option<Taken> {
        let submission = Arc::clone(self.submission.as_ref()?);
        let status = Arc::make_mut(&mut self.status);
        status.state = JobState::Running;
        status.attempt += 1;
        status.started_at = Some(Timestamp::now());
        self.spent += 1;
        Some(Taken { job_id: status.job_id.clone(), attempt: status.attempt, spent: self.spent, submission })
    }
}

impl Memory {
    pub(crate) fn new(options: StoreOptions) -> Self {
        let state = MemoryState {
            numbers: 0,
            jobs: HashMap::new(),
            owners: HashMap::new(),
            queue: Queue::new(options.batch),
            ended: VecDeque::new(),
            outbox: Outbox::new(Arc::clone(&options.destinations)),
            streams: Arc::clone(&options.streams),
        };
        Self { options, state: Mutex::new(state) }
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
        if let Some(refused) = state.queue.refuses(new.owner, self.options.max_queue) {
            return Err(refused);
        }
        Ok(Submitted { job_id: state.add(new, now), replayed: false })
    }

    fn take_now(&self) -> Option<Taken> {
        let mut state = self.lock();
        let job_id = state.queue.pop()?;
        let job = state.jobs.get_mut(&job_id)?;
        let taken = job.start()?;
        state.record(&job_id, Instant::now());
        Some(taken)
    }

    fn restart_now(&self, job_id: &JobId, attempt: u64) -> Option<Taken> {
        let mut state = self.lock();
        let job = state.jobs.get_mut(job_id)?;
        if !job.progress().is_current(attempt) {
            return None;
        }
        job.start()
    }

    fn requeue_now(&self, job_id: &JobId, attempt: u64, cost: Cost) {
        let mut state = self.lock();
        let Some(job) = state.jobs.get_mut(job_id).filter(|job| job.progress().is_current(attempt)) else { return };
        if cost == Cost::Free {
            job.spent -= 1;
        }
        Arc::make_mut(&mut job.status).state = JobState::Queued;
        let (number, owner, model) = (job.number, job.owner, job.status.model.clone());
        state.queue.push_behind(number, &model, owner, job_id.clone());
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
        let Some(job) = state.jobs.get_mut(job_id).filter(|job| job.owner == owner) else { return Cancelled::Unknown };
        if job.status.state.is_terminal() {
            return Cancelled::Terminal(job.status.state.clone());
        }
        let number = job.number;
        let status = Arc::make_mut(&mut job.status);
        status.state = JobState::Failed;
        status.error = Some("cancelled".to_owned());
        state.queue.remove(number);
        state.end(job_id).map_or(Cancelled::Unknown, Cancelled::Ended)
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
    fn submit(&self, new: NewJob) -> Transaction<'_, Result<Submitted, SubmitError>> {
        completed(self.submit_now(new))
    }

    fn take(&self) -> Transaction<'_, Option<NextJob>> {
        completed(self.take_now().map(NextJob::Run))
    }

    fn restart<'a>(&'a self, job_id: &'a JobId, attempt: u64) -> Transaction<'a, Option<Taken>> {
        completed(self.restart_now(job_id, attempt))
    }

    fn requeue<'a>(&'a self, job_id: &'a JobId, attempt: u64, cost: Cost) -> Transaction<'a, ()> {
        self.requeue_now(job_id, attempt, cost);
        completed(())
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

impl MemoryState {
    fn add(&mut self, new: NewJob, now: Instant) -> JobId {
        let job_id = fresh_id();
        self.numbers += 1;
        let number = self.numbers;
        let mut status = JobStatus::new(job_id.clone(), JobState::Queued);
        status.model.clone_from(&new.submission.model);
        status.created_at = Some(Timestamp::now());
        let owned = self.owners.entry(new.owner).or_default();
        owned.order.insert(number, job_id.clone());
        let key = new.key.map(|key| {
            owned.keys.insert(key.text.clone(), UsedKey { digest: key.digest, job_id: job_id.clone() });
            key.text
        });
        let mut submission = new.submission;
        let stream = submission.event_stream.take().map(Into::into);
        let job = StoredJob {
            number,
            owner: new.owner,
            status: Arc::new(status),
            spent: 0,
            submission: Some(Arc::new(submission)),
            key,
            stream,
        };
        self.queue.push(number, &job.status.model, new.owner, job_id.clone());
        if let Some(url) = new.webhook {
            self.outbox.open(job_id.clone(), Address { url, traceparent: new.traceparent });
        }
        self.jobs.insert(job_id.clone(), job);
        self.record(&job_id, now);
        job_id
    }

    /// Completes a job whose final state is set.
    fn end(&mut self, job_id: &JobId) -> Option<Arc<JobStatus>> {
        let now = Instant::now();
        let job = self.jobs.get_mut(job_id)?;
        job.submission = None;
        Arc::make_mut(&mut job.status).completed_at = Some(Timestamp::now());
        let status = Arc::clone(&job.status);
        self.record(job_id, now);
        self.ended.push_back((now, job_id.clone()));
        Some(status)
    }

    /// Records the events of a state.
    fn record(&mut self, job_id: &JobId, now: Instant) {
        let Some(job) = self.jobs.get(job_id) else { return };
        let status = self.status(job);
        self.streams.publish(job.owner, job.stream.as_deref(), &status);
        self.outbox.record(&status, now);
    }

    /// The status with the position in the queue.
    fn status(&self, job: &StoredJob) -> Arc<JobStatus> {
        let Some(position) = self.queue.position(job.number) else { return Arc::clone(&job.status) };
        let mut status = JobStatus::clone(&job.status);
        status.position = Some(position);
        Arc::new(status)
    }

    /// The same without the result and the artifacts, which may be large.
    fn status_without_output(&self, job: &StoredJob) -> Arc<JobStatus> {
        let JobStatus { job_id, state, model, created_at, started_at, completed_at, attempt, error, .. } = &*job.status;
        let mut status = JobStatus::new(job_id.clone(), state.clone());
        (status.model, status.error) = (model.clone(), error.clone());
        (status.created_at, status.started_at, status.completed_at) = (*created_at, *started_at, *completed_at);
        (status.attempt, status.position) = (*attempt, self.queue.position(job.number));
        Arc::new(status)
    }

    /// Removes the jobs that ended longer ago than `keep`, with their keys.
    fn remove_expired(&mut self, now: Instant, keep: Duration) {
        while self.ended.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > keep) {
            let Some((_, job_id)) = self.ended.pop_front() else { return };
            self.outbox.close(&job_id);
            let Some(job) = self.jobs.remove(&job_id) else { continue };
            let Entry::Occupied(mut owned) = self.owners.entry(job.owner) else { continue };
            owned.get_mut().order.remove(&job.number);
            if let Some(key) = job.key {
                owned.get_mut().keys.remove(&key);
            }
            if owned.get().order.is_empty() {
                owned.remove();
            }
        }
    }
}
