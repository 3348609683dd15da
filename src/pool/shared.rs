use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::member::{CallEnd, Ticket};
use super::members::{Members, Routed};
use crate::error::Kind;
use crate::submission::{SubmissionState, WakerSlot, Wakers};
use crate::{Error, ModelInfo, SubmitRequest};

/// What the clones of a pool, its waits and its driver have in common.
#[derive(Debug)]
pub(super) struct Shared<T> {
    locked: Mutex<Locked<T>>,
    /// How often the lists of models are requested.
    models_interval: Duration,
    /// Wakes the driver, because the time of its next step may have changed.
    pub(super) changed: Arc<Notify>,
    driver: OnceLock<AbortHandle>,
}

#[derive(Debug)]
struct Locked<T> {
    members: Members<T>,
    /// Tasks that wait until a daemon is available.
    wakers: Wakers,
    /// The discovery has ended: no daemon will be added.
    complete: bool,
    shutting_down: bool,
}

/// Whether the pool takes a call.
pub(super) enum Readiness {
    Ready,
    /// No daemon is available. One may be at that time, or after a wake-up.
    Pending(Option<Instant>),
    Never(Error),
}

impl<T> Shared<T> {
    pub(super) fn new(models_interval: Duration) -> Arc<Self> {
        let locked =
            Locked { members: Members::default(), wakers: Wakers::default(), complete: false, shutting_down: false };
        let locked = Mutex::new(locked);
        Arc::new(Self { locked, models_interval, changed: Arc::default(), driver: OnceLock::new() })
    }

    /// The driver ends with the last clone of the pool and its last wait.
    pub(super) fn own_driver(&self, driver: AbortHandle) {
        let _ = self.driver.set(driver);
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&Members<T>) -> R) -> R {
        read(&self.lock().members)
    }

    /// Changes the daemons, and wakes the tasks that wait for one.
    pub(super) fn update<R>(&self, update: impl FnOnce(&mut Members<T>) -> R) -> R {
        self.update_locked(|locked| update(&mut locked.members))
    }

    pub(super) fn complete(&self) {
        self.update_locked(|locked| locked.complete = true);
    }

    /// Takes no calls from now on. Calls that have begun go on.
    pub(super) fn begin_shutdown(&self) {
        self.update_locked(|locked| locked.shutting_down = true);
    }

    /// Wakers run code of their tasks, so they are woken after the lock is released.
    fn update_locked<R>(&self, update: impl FnOnce(&mut Locked<T>) -> R) -> R {
        let mut locked = self.lock();
        let result = update(&mut locked);
        let woken = locked.wakers.take();
        drop(locked);
        woken.wake();
        self.changed.notify_one();
        result
    }

    pub(super) fn poll_ready(&self, slot: &mut WakerSlot, cx: &Context<'_>, now: Instant) -> Readiness {
        let mut replaced = None;
        let mut locked = self.lock();
        if locked.shutting_down {
            return Readiness::Never(Error::new(Kind::ShuttingDown).surely_unsent());
        }
        if locked.members.is_available(now) {
            return Readiness::Ready;
        }
        if locked.complete && locked.members.present().next().is_none() {
            return Readiness::Never(Error::new(Kind::EmptyPool));
        }
        if !locked.wakers.is_registered(slot, cx.waker()) {
            replaced = locked.wakers.register(slot, cx.waker().clone());
        }
        let until = locked.members.available_at();
        drop(locked);
        drop(replaced);
        Readiness::Pending(until)
    }

    /// Ready when each daemon has listed its models once, or has failed to.
    pub(super) fn poll_probed(&self, slot: &mut WakerSlot, cx: &Context<'_>) -> Poll<()> {
        let mut replaced = None;
        let mut locked = self.lock();
        let has_daemons = locked.complete || locked.members.present().next().is_some();
        if locked.shutting_down || (has_daemons && locked.members.are_probed()) {
            return Poll::Ready(());
        }
        if !locked.wakers.is_registered(slot, cx.waker()) {
            replaced = locked.wakers.register(slot, cx.waker().clone());
        }
        drop(locked);
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn unwatch(&self, slot: &mut WakerSlot) {
        let removed = self.lock().wakers.remove(slot);
        drop(removed);
    }

    /// The daemon for a call: the one that may have the submission, else one that is chosen.
    ///
    /// # Errors
    ///
    /// If the daemon that may have it is not in the pool, and if no daemon is available that was not `tried`.
    pub(super) fn route(&self, request: &SubmitRequest, tried: &[u64], now: Instant) -> Result<Routed<T>, Error> {
        let submission = request.keep_alive().shared();
        let (fresh, has_result) = submission.read(|state| (state.is_fresh(), state.has_result()));
        let daemon = if fresh { None } else { submission.daemon_id() };
        let mut locked = self.lock();
        if locked.shutting_down && fresh {
            return Err(Error::new(Kind::ShuttingDown).surely_unsent());
        }
        let members = &mut locked.members;
        let (number, has_others) = match daemon {
            Some(daemon) => match members.with_id(&daemon).or(members.all().first().filter(|_| has_result)) {
                Some(member) => (member.number, false),
                None => {
                    let (job_id, state) =
                        submission.read(|state| (state.job_id().cloned(), state.last_state().cloned()));
                    let error = Error::new(Kind::DaemonGone).with_job(job_id, submission.key().cloned(), state);
                    return Err(error.with_daemon(Some(daemon.base_url().clone())));
                }
            },
            None => members.choose(request.model(), tried, now).ok_or_else(|| {
                members.unavailable(request.model(), now).with_job(None, submission.key().cloned(), None)
            })?,
        };
        match members.begin(number, request.model(), fresh, now) {
            Some((client, ticket)) => Ok(Routed { client, ticket, has_others }),
            None => Err(members.unavailable(request.model(), now)),
        }
    }

    /// A call ended.
    pub(super) fn end(&self, ticket: Ticket, end: CallEnd<'_>, now: Instant) {
        // Most calls end well at a daemon that works: that makes no daemon available.
        let quiet = matches!(end, CallEnd::Done | CallEnd::JobFailed | CallEnd::Dropped) && ticket.trial.is_none();
        let end = |members: &mut Members<T>| members.end(ticket, end, now, fastrand::f64());
        if quiet { end(&mut self.lock().members) } else { self.update(end) }
    }

    /// The daemon on trial has accepted a job.
    pub(super) fn accepted(&self, number: u64) {
        self.update(|members| {
            if let Some(member) = members.get_mut(number) {
                member.health.accepted();
            }
        });
    }

    /// The list of models of a daemon came, or did not.
    pub(super) fn checked(&self, number: u64, listed: Result<Vec<ModelInfo>, Error>, now: Instant) {
        self.update(|members| members.checked(number, listed, self.models_interval, now, fastrand::f64()));
    }

    pub(super) fn lock_members<R>(&self, with: impl FnOnce(&mut Members<T>) -> R) -> R {
        with(&mut self.lock().members)
    }

    fn lock(&self) -> MutexGuard<'_, Locked<T>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.get() {
            driver.abort();
        }
    }
}

/// Whether a submission that failed is to be sent to another daemon: it surely did not arrive, and another daemon may decide otherwise.
pub(super) fn moves_on(request: &SubmitRequest, error: &Error) -> bool {
    let another_may_take_it = !(error.is_invalid() || error.is_rejected() || error.is_deadline());
    let fresh = request.keep_alive().shared().read(SubmissionState::is_fresh);
    fresh && error.is_safe_to_resubmit() && another_may_take_it
}

impl Readiness {
    /// Pending, unless it is ready.
    pub(super) fn into_poll(self) -> Poll<Result<(), Error>> {
        match self {
            Self::Ready => Poll::Ready(Ok(())),
            Self::Pending(_) => Poll::Pending,
            Self::Never(error) => Poll::Ready(Err(error)),
        }
    }
}
