//! The event stream of a daemon (`GET /events`): push over a connection of the client's own, for clients that webhooks do not reach.

mod driver;
mod early;
mod parser;
mod subscribers;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use self::early::EarlyEvents;
use self::subscribers::Subscribers;
use crate::api::OpenEventStream;
use crate::submission::{SharedSubmission, SubmissionState};
use crate::{JobId, JobStatus};

/// How long the daemon may send nothing. It sends a comment each 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// How often the task is polled at least.
const TICK: Duration = Duration::from_secs(5);

/// How long a stream stays open that no wait needs.
const UNUSED: Duration = Duration::from_secs(60);

/// How long a daemon without event streams is not asked again. It may have been replaced by a newer one.
const UNSUPPORTED: Duration = Duration::from_secs(600);

/// A task that is so late for its promised poll counts as dead: its runtime may never poll it again.
const STALLED: Duration = Duration::from_secs(1);

/// One event stream for all waits of a client. It is open while waits need it, in a task on the runtime of the wait that opened it.
///
/// Each submission names the stream, so that the daemon sends the events of these jobs alone, and an event is as authoritative as the
/// response to a poll: both come from the daemon by a request of this client.
///
/// A *period* is a time in which no event can be missing: it begins with a connection, and goes on over later ones that continue after
/// the last event. A wait depends on the stream in the period in which its job was submitted or polled.
pub(crate) struct EventStream {
    /// The name that the submissions have (`event_stream` on the wire).
    name: Box<str>,
    source: Arc<dyn OpenEventStream>,
    locked: Mutex<Locked>,
    /// The present period. 0 while the stream is not connected.
    period: AtomicU16,
    /// Counts the early events that were dropped. Wraps around.
    dropped: AtomicU16,
    /// When the task has promised to be polled again, in nanoseconds since the epoch.
    alive_until: AtomicU64,
    epoch: Instant,
    /// Ends the task with the last service or wait that uses the stream.
    closed: CancellationToken,
    _close: DropGuard,
}

#[derive(Debug)]
struct Locked {
    subscribers: Subscribers,
    early: EarlyEvents,
    last_period: NonZeroU16,
    /// The number of the task that keeps the stream open, if there is one.
    task: Option<u64>,
    tasks: u64,
    /// When a submission last named the stream.
    used: Instant,
    unsupported_until: Option<Instant>,
}

/// What is known of the stream before a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) period: NonZeroU16,
    dropped: u16,
}

/// An event of the stream.
#[derive(Debug)]
struct JobEvent {
    status: JobStatus,
    /// The result and the artifacts were left out.
    truncated: bool,
}

impl EventStream {
    pub(crate) fn new(source: Arc<dyn OpenEventStream>) -> Arc<Self> {
        let (now, closed) = (Instant::now(), CancellationToken::new());
        let locked = Locked {
            subscribers: Subscribers::default(),
            early: EarlyEvents::default(),
            last_period: NonZeroU16::MIN,
            task: None,
            tasks: 0,
            used: now,
            unsupported_until: None,
        };
        Arc::new(Self {
            name: Uuid::new_v4().simple().to_string().into(),
            source,
            locked: Mutex::new(locked),
            period: AtomicU16::new(0),
            dropped: AtomicU16::new(0),
            alive_until: AtomicU64::new(0),
            epoch: now,
            closed: closed.clone(),
            _close: closed.drop_guard(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A submission is about to be sent, or a job goes on: opens the stream, unless it is open. Returns whether the submission is to name
    /// it.
    pub(crate) fn open(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        let mut locked = self.locked();
        if self.closed.is_cancelled() || locked.unsupported_until.is_some_and(|until| now < until) {
            return false;
        }
        (locked.used, locked.unsupported_until) = (now, None);
        if locked.task.is_some() && !self.is_stalled(now) {
            return true;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        locked.tasks += 1;
        let task = locked.tasks;
        locked.task = Some(task);
        self.promise(now + TICK);
        drop(locked);
        // The period of a task that has stalled is over.
        self.disconnected();
        // Without the lock: a runtime that is shutting down drops the task at once.
        runtime.spawn(driver::run(self, task));
        true
    }

    /// Ends the stream for good.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// The present period. `None` while events may be missing.
    pub(crate) fn period(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.period.load(Relaxed)).filter(|_| !self.is_stalled(Instant::now()))
    }

    /// The present period, and how many events were dropped that nobody has taken.
    pub(crate) fn sample(&self) -> Option<Sample> {
        Some(Sample { period: self.period()?, dropped: self.dropped.load(Relaxed) })
    }

    /// Passes the events of a job to a submission until [`unsubscribe`](Self::unsubscribe), beginning with the last one so far.
    pub(crate) fn subscribe(&self, job_id: &JobId, submission: &Arc<SharedSubmission>) {
        let mut locked = self.locked();
        locked.subscribers.add(job_id, submission);
        let early = locked.early.take(job_id);
        drop(locked);
        if let Some(event) = early {
            event.pass_to(submission);
        }
    }

    pub(crate) fn unsubscribe(&self, job_id: &JobId, submission: &Arc<SharedSubmission>) {
        // Dropped after the lock is released: the drop of a submission may run a waker's code.
        let removed = self.locked().subscribers.remove(job_id, submission);
        drop(removed);
    }

    /// An event came, of so many bytes.
    fn event(&self, event: JobEvent, bytes: usize) {
        let mut locked = self.locked();
        let submissions = locked.subscribers.of(&event.status.job_id);
        let Some((last, others)) = submissions.split_last() else {
            let dropped = locked.early.keep(event, bytes, Instant::now());
            self.dropped.fetch_add(dropped, Relaxed);
            return;
        };
        drop(locked);
        for submission in others {
            JobEvent { status: event.status.clone(), ..event }.pass_to(submission);
        }
        event.pass_to(last);
    }

    /// The stream is connected. `continues`: no event is missing since the last period.
    fn connected(&self, continues: bool) {
        let mut locked = self.locked();
        if !continues {
            locked.next_period();
        }
        self.period.store(locked.last_period.get(), Relaxed);
    }

    /// Events may be missing before this moment: a period begins, if the stream is connected, and each job is polled once.
    fn begin_period(&self) {
        if self.period.load(Relaxed) != 0 {
            self.connected(false);
            self.wake_all();
        } else {
            self.locked().next_period();
        }
    }

    /// Events may be missing: the waits poll.
    fn disconnected(&self) {
        if self.period.swap(0, Relaxed) != 0 {
            self.wake_all();
        }
    }

    /// Has every wait find out how often to poll.
    fn wake_all(&self) {
        let submissions = self.locked().subscribers.all();
        for submission in submissions {
            submission.update(SubmissionState::touch);
        }
    }

    /// The task will be polled again by then.
    fn promise(&self, until: Instant) {
        let nanos = until.saturating_duration_since(self.epoch).as_nanos();
        self.alive_until.store(u64::try_from(nanos).unwrap_or(u64::MAX), Relaxed);
    }

    fn is_stalled(&self, now: Instant) -> bool {
        let late = now.saturating_duration_since(self.epoch).saturating_sub(STALLED);
        late.as_nanos() > u128::from(self.alive_until.load(Relaxed))
    }

    fn locked(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locked {
    fn next_period(&mut self) {
        self.last_period = self.last_period.checked_add(1).unwrap_or(NonZeroU16::MIN);
    }
}

impl JobEvent {
    fn pass_to(self, submission: &SharedSubmission) {
        submission.update(|state| state.streamed(self.status, self.truncated));
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("name", &self.name).field("period", &self.period()).finish_non_exhaustive()
    }
}
