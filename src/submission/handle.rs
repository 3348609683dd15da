use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use uuid::Uuid;

use super::cell::Cell;
use super::history::StateChange;
use super::wakers::Seat;
use crate::{JobId, JobState};

/// A handle on a submission that outlives the call: made by [`SubmitRequest::submission`](crate::SubmitRequest::submission).
///
/// It only observes: while handles are left but no clone of the request and no wait, nothing is kept alive, and the handle's
/// futures and streams end.
#[derive(Clone)]
pub struct Submission(Arc<Cell>);

impl Submission {
    pub(super) fn new(cell: Arc<Cell>) -> Self {
        Self(cell)
    }

    /// The key that goes with every send of this submission (`Idempotency-Key` on the wire).
    #[must_use]
    pub fn idempotency_key(&self) -> Uuid {
        // Only a job attached to by its id has none, and no handle is made for such.
        self.0.key().unwrap_or_default()
    }

    /// The URL that the daemon sends this submission's events to, once it has been sent by a client with webhooks
    /// (`state_webhook_url` on the wire). Whoever knows it can send events: keep it out of logs.
    #[must_use]
    pub fn callback_url(&self) -> Option<String> {
        self.0.callback_url()
    }

    /// The job's id, if it is known by now.
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        self.0.job_id()
    }

    /// The last state seen.
    #[must_use]
    pub fn last_state(&self) -> Option<JobState> {
        self.0.last_state()
    }

    /// The job's id as soon as it is known, to persist it; `None` if every clone of the request and every wait is gone before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn accepted(&self) -> Option<JobId> {
        let mut watch = Watch { cell: Arc::clone(&self.0), seat: Seat::default() };
        poll_fn(|cx| {
            let (job_id, over) = watch.cell.watch_job(&mut watch.seat, cx.waker());
            match job_id {
                None if !over => Poll::Pending,
                known => Poll::Ready(known),
            }
        })
        .await
    }

    /// The states as they come, each once, from the one known by now: for progress. Ends behind the terminal state, or when
    /// every clone of the request and every wait is gone.
    ///
    /// Nothing is kept until this is first called; then up to 64 states, of which the oldest go first.
    pub fn states(&self) -> States {
        self.0.keep_history();
        States { watch: Watch { cell: Arc::clone(&self.0), seat: Seat::default() }, place: 0 }
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

/// The states of a job as they come; made by [`Submission::states`].
///
/// # Cancel safety
///
/// Dropping a pending `next` loses nothing.
#[must_use]
pub struct States {
    watch: Watch,
    place: u64,
}

impl Stream for States {
    type Item = StateChange;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StateChange>> {
        let Self { watch, place } = self.get_mut();
        let (change, over) = watch.cell.watch_states(&mut watch.seat, place, cx.waker());
        match change {
            None if !over => Poll::Pending,
            change => Poll::Ready(change),
        }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A seat among the wakers, given back on drop.
struct Watch {
    cell: Arc<Cell>,
    seat: Seat,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cell.leave(&mut self.seat);
    }
}
