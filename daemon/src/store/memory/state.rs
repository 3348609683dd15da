use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::stored_job::StoredJob;
use crate::owner::Owner;
use crate::store::fresh_id::fresh_id;
use crate::store::job::output_size;
use crate::store::outbox::Outbox;
use crate::store::queue::Queue;
use crate::store::{Address, NewJob, StoreOptions};
use crate::streams::Streams;
use crate::{JobId, JobState, JobStatus};

/// About how many bytes a job takes beside its submission or output, with its key, its events and its places in the maps.
pub(super) const JOB_OVERHEAD: usize = 1024;

/// What is under the lock.
#[derive(Debug)]
pub(super) struct MemoryState {
    numbers: u64,
    pub(super) jobs: HashMap<JobId, StoredJob>,
    pub(super) owners: HashMap<Owner, OwnerJobs>,
    pub(super) queue: Queue,
    ended: VecDeque<(Instant, JobId)>,
    pub(super) outbox: Outbox,
    streams: Arc<Streams>,
    /// The sizes of all jobs.
    pub(super) bytes: usize,
}

/// The jobs and keys of one owner.
#[derive(Debug, Default)]
pub(super) struct OwnerJobs {
    pub(super) order: BTreeMap<u64, JobId>,
    pub(super) keys: HashMap<Box<[u8]>, UsedKey>,
}

#[derive(Debug)]
pub(super) struct UsedKey {
    pub(super) digest: [u8; 32],
    pub(super) job_id: JobId,
}

fn url_length(url: &http::Uri) -> usize {
    url.path_and_query().map_or(0, |path| path.as_str().len())
}

impl MemoryState {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            numbers: 0,
            jobs: HashMap::new(),
            owners: HashMap::new(),
            queue: Queue::new(options.batch, options.max_queue),
            ended: VecDeque::new(),
            outbox: Outbox::new(Arc::clone(&options.destinations)),
            streams: Arc::clone(&options.streams),
            bytes: 0,
        }
    }

    pub(super) fn add(&mut self, new: NewJob, now: Instant) -> JobId {
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
        let lengths =
            [status.model.len(), key.as_ref().map_or(0, |key| key.len()), new.webhook.as_ref().map_or(0, url_length)];
        let base_size = JOB_OVERHEAD + lengths.iter().sum::<usize>();
        let mut submission = new.submission;
        let stream = submission.event_stream.take().map(Into::into);
        let job = StoredJob {
            number,
            owner: new.owner,
            status: Arc::new(status),
            spent: 0,
            submission: Some(Arc::new(submission)),
            priority: new.priority,
            start_by: new.start_by,
            key,
            stream,
            base_size,
            size: base_size + new.body.len(),
        };
        self.bytes = self.bytes.saturating_add(job.size);
        self.queue.push(number, &job.status.model, job.queued());
        if let Some(url) = new.webhook {
            self.outbox.open(job_id.clone(), Address { url, traceparent: new.traceparent });
        }
        self.jobs.insert(job_id.clone(), job);
        self.record(&job_id, now);
        job_id
    }

    /// Completes a job whose final state is set.
    pub(super) fn end(&mut self, job_id: &JobId) -> Option<Arc<JobStatus>> {
        let now = Instant::now();
        let job = self.jobs.get_mut(job_id)?;
        job.submission = None;
        let status = Arc::make_mut(&mut job.status);
        status.completed_at = Some(Timestamp::now());
        status.last_error = None;
        let output = job.base_size + output_size(status);
        self.bytes = self.bytes.saturating_sub(job.size).saturating_add(output);
        job.size = output;
        self.queue.remove(job.number);
        self.queue.ended(job.number);
        let status = Arc::clone(&job.status);
        self.record(job_id, now);
        self.ended.push_back((now, job_id.clone()));
        Some(status)
    }

    /// Fails a job in any state.
    pub(super) fn fail(&mut self, job_id: &JobId, error: &str) -> Option<Arc<JobStatus>> {
        let status = Arc::make_mut(&mut self.jobs.get_mut(job_id)?.status);
        status.state = JobState::Failed;
        status.error = Some(error.to_owned());
        self.end(job_id)
    }

    /// Records the events of a state.
    pub(super) fn record(&mut self, job_id: &JobId, now: Instant) {
        let Some(job) = self.jobs.get(job_id) else { return };
        let status = self.status(job);
        self.streams.publish(job.owner, job.stream.as_deref(), &status);
        self.outbox.record(&status, now);
    }

    /// The status with the position in the queue.
    pub(super) fn status(&self, job: &StoredJob) -> Arc<JobStatus> {
        let Some(position) = self.queue.position(job.number) else { return Arc::clone(&job.status) };
        let mut status = JobStatus::clone(&job.status);
        status.position = Some(position);
        Arc::new(status)
    }

    /// The same without the result and the artifacts, which may be large.
    pub(super) fn status_without_output(&self, job: &StoredJob) -> Arc<JobStatus> {
        let JobStatus {
            job_id, state, model, created_at, started_at, completed_at, attempt, error, last_error, ..
        } = &*job.status;
        let mut status = JobStatus::new(job_id.clone(), state.clone());
        (status.model, status.error, status.last_error) = (model.clone(), error.clone(), last_error.clone());
        (status.created_at, status.started_at, status.completed_at) = (*created_at, *started_at, *completed_at);
        (status.attempt, status.position) = (*attempt, self.queue.position(job.number));
        Arc::new(status)
    }

    /// Removes the jobs that ended longer ago than `keep`, with their keys.
    pub(super) fn remove_expired(&mut self, now: Instant, keep: Duration) {
        while self.ended.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > keep) {
            let Some((_, job_id)) = self.ended.pop_front() else { return };
            self.outbox.close(&job_id);
            let Some(job) = self.jobs.remove(&job_id) else { continue };
            self.bytes = self.bytes.saturating_sub(job.size);
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
