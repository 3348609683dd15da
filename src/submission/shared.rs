use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::draft::Draft;
use super::drop_policy::DropPolicy;
use super::keep_alive::WaitOwner;
use super::key::IdempotencyKey;
use super::registration::Registration;
use super::state::{EventOutcome, SubmissionState, Trust};
use super::wakers::{WakerSlot, Wakers};
use crate::nanos::Nanos;
use crate::sync::atomic::AtomicU32;
use crate::sync::{Mutex, MutexGuard};
use crate::{JobId, JobStatus};

/// A [`SubmissionState`] under a lock, with the tasks that watch it and the facts about it that never change.
#[derive(Debug)]
pub(crate) struct SharedSubmission {
    /// `None` for a job that was attached to by its id.
    key: Option<IdempotencyKey>,
    /// The caller has set the key. The submission may be one of another process, and its events may go there.
    key_is_set: bool,
    /// How many [`KeepAlive`](super::KeepAlive)s there are.
    pub(super) holders: AtomicU32,
    pub(crate) drop_policy: Option<DropPolicy>,
    locked: Mutex<Locked>,
}

#[derive(Debug)]
pub(super) struct Locked {
    pub(super) state: SubmissionState,
    wakers: Wakers,
    /// The owner that sends the submission, or has sent it. `None` before the first wait and after the last.
    pub(super) registration: Option<Registration>,
    times: Times,
}

/// The times of a submission. All waits on its clones have them in common: a retry does not start anew.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// The first call of a wait service with the request.
    first_call: Option<Instant>,
    /// The deadline of the request, from the first call.
    deadline: Nanos,
    /// The deadline of the last wait that started, from the first call.
    wait_deadline: Nanos,
}

impl Locked {
    /// The conversation and the owner to find a lost job by, once.
    pub(super) fn take_lost(&mut self) -> Option<(Arc<Draft>, Arc<dyn WaitOwner>)> {
        let draft = self.state.take_lost_draft()?;
        Some((draft, Arc::clone(&self.registration.as_ref()?.owner)))
    }
}

impl SharedSubmission {
    /// With one holder.
    pub(super) fn new(
        key: Option<IdempotencyKey>,
        key_is_set: bool,
        job_id: Option<JobId>,
        drop_policy: Option<DropPolicy>,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            key_is_set,
            holders: AtomicU32::new(1),
            drop_policy,
            locked: Mutex::new(Locked {
                state: SubmissionState::new(job_id),
                wakers: Wakers::default(),
                registration: None,
                times: Times::default(),
            }),
        })
    }

    pub(crate) fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// Whether the events of the submission come to this process. If the caller has set the key, that is not known before the first one.
    pub(crate) fn expects_events(&self) -> bool {
        !self.key_is_set || self.read(SubmissionState::has_seen_event)
    }

    /// Whether another process may submit it too, so that its events go there from then on.
    pub(crate) fn may_be_shared(&self) -> bool {
        self.key_is_set
    }

    /// Sets the deadline, or shortens it.
    pub(crate) fn limit_deadline(&self, deadline: Duration) {
        let mut locked = self.lock();
        let other = locked.times.deadline.get();
        locked.times.deadline = Some(other.map_or(deadline, |other| other.min(deadline))).into();
    }

    /// The deadline of the request.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.lock().times.deadline.get()
    }

    /// The times count from the first call of `other`.
    pub(crate) fn continue_times(&self, other: &Self) {
        let times = other.lock().times;
        self.lock().times = times;
    }

    /// The submission is called, for the first time or again.
    pub(crate) fn begin(&self, now: Instant) {
        self.lock().times.first_call.get_or_insert(now);
    }

    /// A wait starts, with this deadline of its service. Returns the deadline of the wait, from the first call.
    pub(crate) fn start_wait(&self, service: Option<Duration>) -> Option<Duration> {
        self.update_locked(|locked| {
            locked.state.wait_started();
            locked.times.first_call.get_or_insert_with(Instant::now);
            let deadline = locked.times.deadline.get().into_iter().chain(service).min();
            locked.times.wait_deadline = deadline.into();
            deadline
        })
    }

    /// When the submission was first called.
    pub(crate) fn first_call(&self) -> Instant {
        self.lock().times.first_call.unwrap_or_else(Instant::now)
    }

    /// The time since the first call. Waits count all their times from it.
    pub(crate) fn elapsed(&self) -> Duration {
        self.first_call().elapsed()
    }

    /// From when the age of the job counts.
    pub(crate) fn began(&self) -> Instant {
        let began_at = self.read(SubmissionState::began_at);
        let first_call = self.first_call();
        first_call.checked_add(began_at).unwrap_or(first_call)
    }

    /// When the last wait that started has its deadline. With several waits, that need not be the one that is meant.
    pub(crate) fn expires(&self) -> Option<Instant> {
        let times = self.lock().times;
        // A time beyond the clock's range never comes.
        times.first_call?.checked_add(times.wait_deadline.get()?)
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&SubmissionState) -> R) -> R {
        read(&self.lock().state)
    }

    /// Runs a transition, then wakes the tasks that watch if it changed something.
    ///
    /// Wakers run code of whoever made them, which may come back to this submission: they are woken and dropped after the lock is
    /// released.
    pub(crate) fn update<R>(&self, transition: impl FnOnce(&mut SubmissionState) -> R) -> R {
        self.update_locked(|locked| transition(&mut locked.state))
    }

    pub(super) fn update_locked<R>(&self, transition: impl FnOnce(&mut Locked) -> R) -> R {
        let mut locked = self.lock();
        let result = transition(&mut locked);
        let woken = locked.state.take_changed().then(|| locked.wakers.take());
        drop(locked);
        if let Some(woken) = woken {
            woken.wake();
        }
        result
    }

    /// Reads, and has `waker` woken at the next change.
    pub(crate) fn watch<R>(&self, slot: &mut WakerSlot, waker: &Waker, read: impl FnOnce(&SubmissionState) -> R) -> R {
        let mut replaced = None;
        let mut locked = self.lock();
        if !locked.wakers.is_registered(slot, waker) {
            drop(locked);
            let waker = waker.clone();
            locked = self.lock();
            replaced = locked.wakers.register(slot, waker);
        }
        let result = read(&locked.state);
        drop(locked);
        drop(replaced);
        result
    }

    pub(crate) fn unwatch(&self, slot: &mut WakerSlot) {
        let removed = self.lock().wakers.remove(slot);
        drop(removed);
    }

    /// An event came to this submission's callback URL.
    pub(crate) fn event(&self, status: JobStatus, trust: Trust) -> EventOutcome {
        self.update_locked(|locked| {
            let outcome = locked.state.event(status, trust);
            // Before the waits wake up, since it decides how often they poll.
            if outcome != EventOutcome::WrongJob
                && let Some(registration) = &locked.registration
            {
                registration.owner.webhook_arrived();
            }
            outcome
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
