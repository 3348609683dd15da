use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use http::{HeaderValue, Uri};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{JobId, JobStatus};

/// The events that are not delivered yet, by job. The events of one job are sent in order, one at a time.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    jobs: HashMap<JobId, JobEvents>,
    /// The jobs whose first event is waiting, by its due time. A job whose event is being sent is not among them.
    due: BTreeMap<(Instant, u64), JobId>,
    tickets: u64,
}

#[derive(Debug)]
struct JobEvents {
    to: Arc<Address>,
    events: VecDeque<PendingEvent>,
    /// How many attempts there were at the first event.
    attempts: u32,
    /// The receiver rejects all events of the job.
    stopped: bool,
    /// Whether the terminal event has been recorded.
    complete: bool,
}

#[derive(Debug)]
struct PendingEvent {
    id: Box<str>,
    status: Arc<JobStatus>,
}

/// Where the events of a job are sent.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) url: Uri,
    pub(crate) traceparent: Option<HeaderValue>,
}

/// One attempt to deliver an event, due now.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) job_id: JobId,
    /// The same at each attempt, so that a receiver recognizes a repeated event.
    pub(crate) event_id: Box<str>,
    pub(crate) status: Arc<JobStatus>,
    pub(crate) to: Arc<Address>,
    /// The attempt, counted from 1.
    pub(crate) attempt: u32,
}

/// The result of a claim.
#[derive(Debug)]
pub(crate) enum Claim {
    Now(Delivery),
    /// The next event is due then.
    At(Instant),
    Nothing,
}

/// What to do with an event after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Send it again at this time.
    Again(Instant),
    /// Drop this event and continue with the next.
    GiveUp,
    /// Drop all events of the job.
    Stop,
}

impl Outbox {
    pub(super) fn open(&mut self, job_id: JobId, to: Address) {
        let to = Arc::new(to);
        let events = JobEvents { to, events: VecDeque::new(), attempts: 0, stopped: false, complete: false };
        self.jobs.insert(job_id, events);
    }

    /// Sends the events of the job to another URL from now on.
    pub(super) fn move_to(&mut self, job_id: &JobId, to: Address, ended: bool) {
        match self.jobs.get_mut(job_id) {
            Some(job) => (job.to, job.stopped) = (Arc::new(to), false),
            None if ended => {}
            None => self.open(job_id.clone(), to),
        }
    }

    /// Records the event of a state, if the job has a callback URL.
    pub(super) fn record(&mut self, status: &Arc<JobStatus>, now: Instant) {
        let job_id = &status.job_id;
        let Some(job) = self.jobs.get_mut(job_id) else { return };
        job.complete = status.state.is_terminal();
        if job.stopped {
            if job.complete {
                self.jobs.remove(job_id);
            }
            return;
        }
        let id = format!("msg_{}", Uuid::now_v7().simple()).into();
        job.events.push_back(PendingEvent { id, status: Arc::clone(status) });
        // Otherwise the first one is already scheduled, or being sent.
        if job.events.len() == 1 {
            self.schedule(job_id.clone(), now);
        }
    }

    /// Claims the event that is due first, until `settle`.
    pub(super) fn claim(&mut self, now: Instant) -> Claim {
        while let Some(first) = self.due.first_entry() {
            let (at, _) = *first.key();
            if at > now {
                return Claim::At(at);
            }
            let job_id = first.remove();
            let Some(job) = self.jobs.get_mut(&job_id) else { continue };
            let Some(event) = job.events.front() else { continue };
            job.attempts = job.attempts.saturating_add(1);
            return Claim::Now(Delivery {
                event_id: event.id.clone(),
                status: Arc::clone(&event.status),
                to: Arc::clone(&job.to),
                attempt: job.attempts,
                job_id,
            });
        }
        Claim::Nothing
    }

    pub(super) fn settle(&mut self, job_id: &JobId, verdict: &Verdict, now: Instant) {
        let Some(job) = self.jobs.get_mut(job_id) else { return };
        match verdict {
            Verdict::Again(at) => return self.schedule(job_id.clone(), *at),
            Verdict::Delivered | Verdict::GiveUp => {
                job.events.pop_front();
                job.attempts = 0;
            }
            Verdict::Stop => {
                job.events.clear();
                job.stopped = true;
            }
        }
        if !job.events.is_empty() {
            self.schedule(job_id.clone(), now);
        } else if job.complete {
            self.jobs.remove(job_id);
        }
    }

    pub(super) fn close(&mut self, job_id: &JobId) {
        self.jobs.remove(job_id);
    }

    fn schedule(&mut self, job_id: JobId, at: Instant) {
        self.tickets += 1;
        self.due.insert((at, self.tickets), job_id);
    }
}
