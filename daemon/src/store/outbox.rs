use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use http::{HeaderValue, Uri};
use tokio::time::Instant;
use uuid::Uuid;

use super::Destination;
use super::destinations::Destinations;
use super::due_events::{Due, DueEvents};
use crate::{JobId, JobStatus};

/// The events that are not delivered yet, by job. The events of one job are sent in order, one at a time.
#[derive(Debug)]
pub(super) struct Outbox {
    jobs: HashMap<JobId, JobEvents>,
    due: DueEvents<JobId>,
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
    /// The next event may be sent then.
    At(Instant),
    /// No event waits, or the destinations of those that wait are at their limits.
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
    pub(super) fn new(limits: Arc<Destinations>) -> Self {
        Self { jobs: HashMap::new(), due: DueEvents::new(limits) }
    }

    pub(super) fn open(&mut self, job_id: JobId, to: Address) {
        let to = Arc::new(to);
        let events = JobEvents { to, events: VecDeque::new(), attempts: 0, stopped: false, complete: false };
        self.jobs.insert(job_id, events);
    }

    /// Sends the events of the job to another URL from now on.
    pub(super) fn move_to(&mut self, job_id: &JobId, to: Address, ended: bool) {
        match self.jobs.get_mut(job_id) {
            Some(job) => {
                self.due.move_to(job_id, Destination::of(&to.url));
                (job.to, job.stopped) = (Arc::new(to), false);
            }
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
        // Does nothing if the first one is already scheduled, or being sent.
        self.due.schedule(job_id.clone(), Some(Destination::of(&job.to.url)), now);
    }

    /// Claims the event that is due first, until `settle`.
    pub(super) fn claim(&mut self, now: Instant) -> Claim {
        loop {
            let job_id = match self.due.claim(now) {
                Due::Now(job_id) => job_id,
                Due::At(at) => return Claim::At(at),
                Due::Nothing => return Claim::Nothing,
            };
            let event = self.jobs.get_mut(&job_id).and_then(|job| {
                job.attempts = job.attempts.saturating_add(1);
                let event = job.events.front()?;
                Some((event.id.clone(), Arc::clone(&event.status), Arc::clone(&job.to), job.attempts))
            });
            match event {
                Some((event_id, status, to, attempt)) => {
                    return Claim::Now(Delivery { job_id, event_id, status, to, attempt });
                }
                None => self.due.settle(&job_id),
            };
        }
    }

    pub(super) fn settle(&mut self, job_id: &JobId, verdict: &Verdict, now: Instant) {
        // Also if the job has expired in the meantime: its destination has room again.
        self.due.settle(job_id);
        let Some(job) = self.jobs.get_mut(job_id) else { return };
        let mut next = now;
        match verdict {
            Verdict::Again(at) => next = *at,
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
            self.due.schedule(job_id.clone(), Some(Destination::of(&job.to.url)), next);
        } else if job.complete {
            self.jobs.remove(job_id);
        }
    }

    pub(super) fn close(&mut self, job_id: &JobId) {
        self.due.withdraw(job_id);
        self.jobs.remove(job_id);
    }
}
