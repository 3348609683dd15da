use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use uuid::Uuid;

use super::history::StateChange;
use super::key::IdempotencyKey;
use super::shared::SharedSubmission;
use super::state::SubmissionState;
use super::wakers::WakerSlot;
use crate::error::Kind;
use crate::{Error, JobHandle, JobId, JobState};

/// A handle to a submission that outlives the call; made by [`SubmitRequest::submission`](crate::SubmitRequest::submission).
///
/// It only observes. It does not keep the submission alive: when the last clone of the request and the last wait are gone, the
/// futures and streams of its handles end.
#[derive(Clone)]
pub struct Submission(Arc<SharedSubmission>);

impl Submission {
    pub(super) fn new(submission: Arc<SharedSubmission>) -> Self {
        Self(submission)
    }

    /// The key that is sent with every attempt of this submission (`Idempotency-Key` on the wire).
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        // Only a job that was attached to by its id has none, and there is no handle to such a job.
        self.0.key().cloned().unwrap_or_else(|| Uuid::nil().into())
    }

    /// The URL to which the daemon sends the events of this submission (`state_webhook_url` on the wire). `None` until a client
    /// with webhooks has sent it. Whoever knows the URL can send events: keep it out of logs.
    #[must_use]
    pub fn callback_url(&self) -> Option<String> {
        self.0.callback_url()
    }

    /// The base URL of the daemon that the submission was sent to, once a wait of that daemon has started. `None` after the last
    /// request and the last wait are gone, and for a [`WaitLayer`](crate::WaitLayer) that does not know its daemon.
    #[must_use]
    pub fn daemon(&self) -> Option<String> {
        self.0.daemon().map(|daemon| daemon.to_string())
    }

    /// The job id, if it is known by now.
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        self.0.read(|state| state.job_id().cloned())
    }

    /// The job and its daemon, if both are known by now: to be stored, and to attach to the job later. `None` after the last request and the
    /// last wait are gone, as [`daemon`](Self::daemon).
    #[must_use]
    pub fn job_handle(&self) -> Option<JobHandle> {
        Some(JobHandle::new(self.0.daemon()?, self.job_id()?))
    }

    /// The last state seen.
    #[must_use]
    pub fn last_state(&self) -> Option<JobState> {
        self.0.read(|state| state.last_state().cloned())
    }

    /// Resolves to the job id as soon as it is known, for you to store it. While the caller keeps a clone of the request and never
    /// submits it, it does not resolve.
    ///
    /// # Errors
    ///
    /// When the last wait is gone and no job id is known: with the error of the last wait that failed. A retry by
    /// [`Reattach`](crate::retry::Reattach) counts as one wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing. After an error it may be called again, for another wait on a clone of the request.
    pub async fn accepted(&self) -> Result<JobId, Error> {
        let mut watch = Watch::new(&self.0);
        let ended = |state: &SubmissionState| state.is_over().then(|| state.failure().cloned());
        poll_fn(|cx| match watch.read(cx, |state| (state.job_id().cloned(), ended(state))) {
            (Some(job_id), _) => Poll::Ready(Ok(job_id)),
            (None, Some(failure)) => {
                Poll::Ready(Err(self.annotate(failure.unwrap_or_else(|| Error::new(Kind::Abandoned)))))
            }
            (None, None) => Poll::Pending,
        })
        .await
    }

    /// Resolves to the error of an attempt that surely did not arrive, once a retry policy pauses after it: for a caller that reports why a
    /// submission takes long. It does not resolve before, nor if there is no such attempt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn refused(&self) -> Error {
        let mut watch = Watch::new(&self.0);
        poll_fn(|cx| match watch.read(cx, |state| state.refusal().cloned()) {
            Some(error) => Poll::Ready(self.annotate(error)),
            None => Poll::Pending,
        })
        .await
    }

    /// A stream of the states, each once, beginning with the one known by now. While the job is queued, each new
    /// [`position`](StateChange::position) is an item too, with the same state. It ends after the terminal state, and when the last wait
    /// is gone. If that wait failed, the last item is its error. A retry by [`Reattach`](crate::retry::Reattach) counts as one wait.
    ///
    /// The history starts with the first call. It holds up to 64 items; the oldest are dropped first.
    pub fn states(&self) -> States {
        self.0.update(SubmissionState::keep_history);
        States { watch: Watch::new(&self.0), next: 0, ended: false, ends_with_waits: true }
    }

    /// The same for a caller whose wait may not have started: the stream ends after the terminal state only.
    pub(crate) fn states_of_call(&self) -> States {
        States { ends_with_waits: false, ..self.states() }
    }

    /// The submission that a failed job runs again as, if [`Reattach`](crate::retry::Reattach) has renewed it.
    pub(crate) fn renewed(&self) -> Option<Self> {
        self.0.read(|state| state.renewed().cloned()).map(Self)
    }

    /// Puts what is known of the submission on an error of a layer above it. `end_call` drops the failed call first, so that the call sends
    /// nothing after that.
    pub(crate) fn annotate_after(&self, error: Error, end_call: impl FnOnce()) -> Error {
        let mut last = self.clone();
        while let Some(renewed) = last.renewed() {
            last = renewed;
        }
        let daemon = last.0.daemon();
        end_call();
        last.annotate(error).with_daemon(daemon)
    }

    fn annotate(&self, error: Error) -> Error {
        let (arrived, job_id, last_state) =
            self.0.read(|state| (state.may_be_at_daemon(), state.job_id().cloned(), state.last_state().cloned()));
        let error = match arrived {
            Some(false) => error.surely_unsent(),
            Some(true) => error.may_have_arrived(),
            None => error,
        };
        error.with_job(job_id, self.0.key().cloned(), last_state).with_daemon(self.0.daemon())
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("idempotency_key", &self.0.key())
            .field("job_id", &self.job_id())
            .field("last_state", &self.last_state())
            .finish()
    }
}

/// A stream of the states of a job and of its positions in the queue; made by [`Submission::states`].
///
/// An error is the last item.
///
/// # Cancel safety
///
/// Dropping a pending `next` loses nothing.
#[must_use]
pub struct States {
    watch: Watch,
    /// The number of the next change in the history.
    next: u64,
    ended: bool,
    /// It ends when the last wait is gone.
    ends_with_waits: bool,
}

impl States {
    /// The id of the job, as soon as it is known.
    pub(crate) fn poll_job_id(&mut self, cx: &Context<'_>) -> Poll<JobId> {
        self.watch.read(cx, |state| state.job_id().cloned()).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Stream for States {
    type Item = Result<StateChange, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { watch, next, ended, ends_with_waits } = self.get_mut();
        if *ended {
            return Poll::Ready(None);
        }
        let change = |state: &SubmissionState| match state.history().and_then(|history| history.next(next)) {
            Some(change) => Poll::Ready(Some(Ok(change))),
            None if state.has_result() => Poll::Ready(None),
            None if *ends_with_waits && state.is_over() => Poll::Ready(state.failure().cloned().map(Err)),
            None => Poll::Pending,
        };
        let change = watch.read(cx, change);
        // Another wait may have sent it after the one that failed.
        let change = change.map(|item| item.map(|item| item.map_err(|error| watch.submission().annotate(error))));
        *ended = matches!(change, Poll::Ready(None | Some(Err(_))));
        change
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("next", &self.next).finish_non_exhaustive()
    }
}

/// A task that watches a submission until it is dropped.
struct Watch {
    submission: Arc<SharedSubmission>,
    slot: WakerSlot,
}

impl Watch {
    fn new(submission: &Arc<SharedSubmission>) -> Self {
        Self { submission: Arc::clone(submission), slot: WakerSlot::default() }
    }

    fn submission(&self) -> Submission {
        Submission(Arc::clone(&self.submission))
    }

    /// Reads, and has the task woken at the next change.
    fn read<R>(&mut self, cx: &Context<'_>, read: impl FnOnce(&SubmissionState) -> R) -> R {
        self.submission.watch(&mut self.slot, cx.waker(), read)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.submission.unwatch(&mut self.slot);
    }
}
