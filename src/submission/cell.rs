use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use uuid::Uuid;

use super::drop_policy::DropPolicy;
use super::history::{History, StateChange, Via};
use super::hold::Lodging;
use super::progress::{Progress, Sending};
use super::wakers::Seat;
use crate::{JobId, JobResult, JobState, JobStatus};

/// The shared state of one submission: what every clone, every wait, the notifier and the handles see. There is one for each
/// waiting job, so what few of them need is in a box.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Nil for a job that was attached to by its id.
    key: Uuid,
    pub(super) holds: AtomicU32,
    pub(super) policy: Option<DropPolicy>,
    pub(super) lodging: OnceLock<Lodging>,
    progress: Mutex<Progress>,
}

/// What a wait that begins is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Send it.
    Mine,
    /// Another wait is sending it.
    Behind,
    /// It was sent, and the answer was lost.
    Lost,
    /// The job is known.
    Accepted,
}

/// How far an event is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A secret signed it.
    Signed,
    /// It knew the token, and there is no secret to ask for more.
    Token,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It told the end of the job.
    Finished,
    /// It told something on the way, or is a hint to ask.
    Hint,
    /// The end was known already.
    Duplicate,
    /// Nobody waits any longer.
    Late,
    /// It speaks of another job.
    Foreign,
}

/// What a wait sees when it looks.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) finished: Option<(JobResult, Via)>,
    pub(crate) claim: Claim,
    pub(crate) heard: u32,
    pub(crate) hints: u32,
}

impl Cell {
    /// A cell that is held once.
    pub(super) fn new(key: Option<Uuid>, job_id: Option<JobId>, policy: Option<DropPolicy>) -> Arc<Self> {
        Arc::new(Self {
            key: key.unwrap_or_default(),
            holds: AtomicU32::new(1),
            policy,
            lodging: OnceLock::new(),
            progress: Mutex::new(Progress::new(job_id)),
        })
    }

    pub(crate) fn key(&self) -> Option<Uuid> {
        (!self.key.is_nil()).then_some(self.key)
    }

    pub(super) fn callback_url(&self) -> Option<String> {
        let lodging = self.lodging.get()?;
        Some(lodging.home.callback_url(lodging.token?))
    }

    pub(crate) fn job_id(&self) -> Option<JobId> {
        self.lock().job_id.clone()
    }

    pub(crate) fn last_state(&self) -> Option<JobState> {
        self.lock().last.clone()
    }

    /// Whether nothing was sent, or nothing that arrived, and no wait is about to.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lock().sending == Sending::Fresh
    }

    // ===== for waits =====

    /// Looks, and asks to be woken at the next change.
    pub(crate) fn look(&self, seat: &mut Seat, waker: &Waker) -> News {
        let mut progress = self.lock();
        progress.register(seat, waker);
        News {
            finished: progress.told_end(),
            claim: progress.sending.into(),
            heard: progress.heard,
            hints: progress.hints,
        }
    }

    /// Takes the right to send, or says what else is to be done.
    pub(crate) fn claim(&self) -> Claim {
        let mut progress = self.lock();
        let claim = progress.sending.into();
        if claim == Claim::Mine {
            progress.sending = Sending::InFlight;
        }
        claim
    }

    /// Takes the right to send again what may have arrived; only for a daemon that keeps idempotency keys.
    pub(crate) fn reclaim(&self) -> Claim {
        let mut progress = self.lock();
        if progress.sending == Sending::Lost {
            progress.sending = Sending::InFlight;
            return Claim::Mine;
        }
        drop(progress);
        self.claim()
    }

    /// Lost -> Accepted is possible too: an event may have told the job while the answer was on its way.
    pub(crate) fn accepted(&self, job_id: JobId) {
        let mut progress = self.lock();
        progress.sending = Sending::Accepted;
        progress.job_id = Some(job_id);
        wake(progress);
    }

    /// An attempt may have arrived, and a layer inside the wait is about to make another.
    pub(crate) fn perhaps_arrived(&self) {
        self.lock().perhaps_arrived = true;
    }

    /// The last attempt surely did not arrive: the next wait may send it. Unless an attempt before may have, or an event came
    /// meanwhile, even unsigned, which shows that one did, whatever the answer was.
    pub(crate) fn unsent(&self) -> Claim {
        self.settle(Sending::Fresh)
    }

    /// The submission may have arrived. An event that came meanwhile, even unsigned, says which job it became.
    pub(crate) fn lost(&self) -> Claim {
        self.settle(Sending::Lost)
    }

    fn settle(&self, outcome: Sending) -> Claim {
        let mut progress = self.lock();
        if progress.sending != Sending::InFlight {
            return progress.sending.into();
        }
        progress.perhaps_arrived |= outcome == Sending::Lost;
        let outcome = if progress.perhaps_arrived { Sending::Lost } else { outcome };
        let rumour = progress.rare.as_mut().and_then(|rare| rare.rumour.take());
        progress.job_id = progress.job_id.take().or(rumour);
        progress.sending = if progress.job_id.is_some() { Sending::Accepted } else { outcome };
        let claim = progress.sending.into();
        wake(progress);
        claim
    }

    /// A poll told the state.
    pub(crate) fn observe(&self, status: &JobStatus) {
        let mut progress = self.lock();
        if progress.record(status, Via::Poll) {
            wake(progress);
        }
    }

    /// A poll told the end. The first one that tells it wins; what it says is given back.
    pub(crate) fn finish(&self, result: JobResult, via: Via) -> (JobResult, Via) {
        let mut progress = self.lock();
        if let Some(first) = progress.told_end() {
            return first;
        }
        progress.record(&result, via);
        (progress.finished, progress.via) = (Some(result.clone()), via);
        wake(progress);
        (result, via)
    }

    // ===== for the notifier =====

    /// An event came to this submission's callback URL.
    pub(crate) fn deliver(&self, status: JobStatus, trust: Trust) -> Delivered {
        let mut progress = self.lock();
        if progress.job_id.as_ref().is_some_and(|id| *id != status.job_id) {
            return Delivered::Foreign;
        }
        if let Some(lodging) = self.lodging.get() {
            lodging.home.heard();
        }
        if progress.abandoned {
            return Delivered::Late;
        }
        if progress.finished.is_some() {
            return Delivered::Duplicate;
        }
        progress.learn_job(&status.job_id, trust);
        let delivered = match trust {
            Trust::Token => {
                progress.hints = progress.hints.wrapping_add(1);
                Delivered::Hint
            }
            Trust::Signed => {
                progress.heard = progress.heard.wrapping_add(1);
                progress.record(&status, Via::Webhook);
                match JobResult::new(status) {
                    Ok(result) => {
                        (progress.finished, progress.via) = (Some(result), Via::Webhook);
                        Delivered::Finished
                    }
                    Err(_) => Delivered::Hint,
                }
            }
        };
        wake(progress);
        delivered
    }

    // ===== for handles =====

    /// Runs `see` on the job id, asking to be woken at the next change. `None` means that nothing will change any more.
    pub(super) fn watch_job(&self, seat: &mut Seat, waker: &Waker) -> (Option<JobId>, bool) {
        let mut progress = self.lock();
        progress.register(seat, waker);
        (progress.job_id.clone(), progress.abandoned)
    }

    /// The state at `place` in the history; `None` and `true` when none will come any more.
    pub(super) fn watch_states(&self, seat: &mut Seat, place: &mut u64, waker: &Waker) -> (Option<StateChange>, bool) {
        let mut progress = self.lock();
        progress.register(seat, waker);
        let change = progress.history().and_then(|history| history.next(place));
        (change, progress.abandoned || progress.finished.is_some())
    }

    /// Begins to keep the states, with the one known by now.
    pub(super) fn keep_history(&self) {
        let mut progress = self.lock();
        if progress.history().is_some() {
            return;
        }
        let mut history = History::default();
        if let Some((result, via)) = progress.told_end() {
            history.push(StateChange::of(&result, via));
        } else if let Some(state) = &progress.last {
            history.push(StateChange { state: state.clone(), at: None, via: progress.via });
        }
        progress.rare().history = Some(history);
    }

    pub(crate) fn leave(&self, seat: &mut Seat) {
        self.lock().leave(seat);
    }

    // ===== for the hold =====

    /// Nobody holds it any longer. Returns the job if it has not ended, and whether there may be one that is not known.
    pub(super) fn abandon(&self) -> (Option<JobId>, bool) {
        let mut progress = self.lock();
        progress.abandoned = true;
        let unfinished = progress.job_id.clone().filter(|_| progress.finished.is_none());
        let lost = progress.sending == Sending::Lost;
        wake(progress);
        (unfinished, lost)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes everybody, once the lock is released.
fn wake(progress: MutexGuard<'_, Progress>) {
    let wakers = progress.wakers();
    drop(progress);
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
