use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use uuid::Uuid;

use super::drop_policy::DropPolicy;
use super::keep_alive::Registration;
use super::state::{EventOutcome, SubmissionState, Trust};
use super::wakers::{WakerSlot, Wakers};
use crate::{JobId, JobStatus};

/// A [`SubmissionState`] under a lock, with the tasks that watch it and the facts about it that never change.
#[derive(Debug)]
pub(crate) struct SharedSubmission {
    /// Nil for a job that was attached to by its id.
    key: Uuid,
    /// How many [`KeepAlive`](super::KeepAlive)s there are.
    pub(super) holders: AtomicU32,
    pub(super) drop_policy: Option<DropPolicy>,
    locked: Mutex<Locked>,
}

#[derive(Debug)]
pub(super) struct Locked {
    pub(super) state: SubmissionState,
    wakers: Wakers,
    /// The owner that sends the submission, or has sent it. `None` before the first wait and after the last.
    pub(super) registration: Option<Registration>,
}

impl SharedSubmission {
    /// With one holder.
    pub(super) fn new(key: Option<Uuid>, job_id: Option<JobId>, drop_policy: Option<DropPolicy>) -> Arc<Self> {
        Arc::new(Self {
            key: key.unwrap_or_default(),
            holders: AtomicU32::new(1),
            drop_policy,
            locked: Mutex::new(Locked {
                state: SubmissionState::new(job_id),
                wakers: Wakers::default(),
                registration: None,
            }),
        })
    }

    pub(crate) fn key(&self) -> Option<Uuid> {
        (!self.key.is_nil()).then_some(self.key)
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
        woken.into_iter().flatten().for_each(Waker::wake);
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
