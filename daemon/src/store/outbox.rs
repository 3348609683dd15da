use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use http::{HeaderValue, Uri};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{JobId, JobStatus};

/// The events that are to be told, job by job: those of one job in their order, one at a time.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    boxes: HashMap<JobId, Mailbox>,
    /// The jobs whose first event is to be sent, by when. A job whose event is being sent is not in it.
    due: BTreeMap<(Instant, u64), JobId>,
    tickets: u64,
}

#[derive(Debug)]
struct Mailbox {
    to: Arc<Address>,
    events: VecDeque<Event>,
    /// How often the first of them was sent.
    attempts: u32,
    /// The receiver wants no more of this job.
    stopped: bool,
    /// The last event is among them, or was.
    complete: bool,
}

#[derive(Debug)]
struct Event {
    id: Box<str>,
    status: Arc<JobStatus>,
}

/// Where the events of a job go.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) url: Uri,
    pub(crate) traceparent: Option<HeaderValue>,
}

/// An event to be sent now.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) job_id: JobId,
    /// The same at each attempt, so that a receiver can tell a repetition.
    pub(crate) event_id: Box<str>,
    pub(crate) status: Arc<JobStatus>,
    pub(crate) to: Arc<Address>,
    /// Which attempt it is; the first is 1.
    pub(crate) attempt: u32,
}

/// What there is to send.
#[derive(Debug)]
pub(crate) enum Claim {
    Now(Delivery),
    /// Nothing before then.
    At(Instant),
    Nothing,
}

/// What is to become of an event after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Send it again at that time.
    Again(Instant),
    /// Send it after the others of the job that there are.
    Behind,
    /// Leave this one and go on with the next.
    GiveUp,
    /// Leave all events of the job.
    Stop,
}

impl Outbox {
    pub(super) fn open(&mut self, job_id: JobId, to: Address) {
        let to = Arc::new(to);
        let mailbox = Mailbox { to, events: VecDeque::new(), attempts: 0, stopped: false, complete: false };
        self.boxes.insert(job_id, mailbox);
    }

    /// Notes a state to be told, if anybody is to be told.
    pub(super) fn record(&mut self, status: &Arc<JobStatus>, now: Instant) {
        let job_id = &status.job_id;
        let Some(mailbox) = self.boxes.get_mut(job_id) else { return };
        mailbox.complete = status.state.is_terminal();
        if mailbox.stopped {
            if mailbox.complete {
                self.boxes.remove(job_id);
            }
            return;
        }
        let id = format!("msg_{}", Uuid::now_v7().simple()).into();
        mailbox.events.push_back(Event { id, status: Arc::clone(status) });
        // With more than one the first is due already, or being sent.
        if mailbox.events.len() == 1 {
            self.schedule(job_id.clone(), now);
        }
    }

    /// Takes what is due; it comes back with `settle`.
    pub(super) fn claim(&mut self, now: Instant) -> Claim {
        while let Some(first) = self.due.first_entry() {
            let (at, _) = *first.key();
            if at > now {
                return Claim::At(at);
            }
            let job_id = first.remove();
            let Some(mailbox) = self.boxes.get_mut(&job_id) else { continue };
            let Some(event) = mailbox.events.front() else { continue };
            mailbox.attempts = mailbox.attempts.saturating_add(1);
            return Claim::Now(Delivery {
                event_id: event.id.clone(),
                status: Arc::clone(&event.status),
                to: Arc::clone(&mailbox.to),
                attempt: mailbox.attempts,
                job_id,
            });
        }
        Claim::Nothing
    }

    pub(super) fn settle(&mut self, job_id: &JobId, verdict: &Verdict, now: Instant) {
        let Some(mailbox) = self.boxes.get_mut(job_id) else { return };
        match verdict {
            Verdict::Again(at) => return self.schedule(job_id.clone(), *at),
            Verdict::Delivered | Verdict::GiveUp => {
                mailbox.events.pop_front();
                mailbox.attempts = 0;
            }
            Verdict::Behind => {
                mailbox.events.rotate_left(1.min(mailbox.events.len()));
                mailbox.attempts = 0;
            }
            Verdict::Stop => {
                mailbox.events.clear();
                mailbox.stopped = true;
            }
        }
        if !mailbox.events.is_empty() {
            self.schedule(job_id.clone(), now);
        } else if mailbox.complete {
            self.boxes.remove(job_id);
        }
    }

    pub(super) fn close(&mut self, job_id: &JobId) {
        self.boxes.remove(job_id);
    }

    fn schedule(&mut self, job_id: JobId, at: Instant) {
        self.tickets += 1;
        self.due.insert((at, self.tickets), job_id);
    }
}
