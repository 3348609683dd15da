//! The states of a job while a gateway waits for it, and its end.

use std::future::ready;
use std::pin::Pin;

use foreman_client::{Error, JobResult, JobState, States};
use futures_util::StreamExt as _;
use futures_util::future::MaybeDone;
use futures_util::stream::{Stream, unfold};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// One item for each state, then one `End`. A new position in the queue is none.
pub(crate) enum Progress {
    State(JobState),
    /// `None`: the gateway stops and the job continues.
    End(Option<Result<JobResult, Error>>),
}

/// A job that is waited for. Dropping it leaves the job to the drop policy.
pub(crate) struct Watched<F: Future> {
    pub(crate) states: States,
    pub(crate) job: Pin<Box<MaybeDone<F>>>,
    pub(crate) detach: CancellationToken,
    pub(crate) _wait: TaskTrackerToken,
}

impl<F: Future<Output = Result<JobResult, Error>> + Send + 'static> Watched<F> {
    pub(crate) fn progress(self) -> impl Stream<Item = Progress> + Send {
        let mut last = None;
        let all = unfold(Some(self), async |watched| {
            let mut watched = watched?;
            Some(match watched.next_state().await {
                Some(state) => (Progress::State(state), Some(watched)),
                None => (Progress::End(watched.end().await), None),
            })
        });
        all.filter(move |progress| {
            let is_new = match progress {
                Progress::State(state) => last.replace(state.clone()).as_ref() != Some(state),
                Progress::End(_) => true,
            };
            ready(is_new)
        })
    }

    async fn next_state(&mut self) -> Option<JobState> {
        let change = tokio::select! {
            biased;
            change = self.states.next() => change,
            // The wait has ended. The stream has the last states and ends too.
            () = self.job.as_mut() => self.states.next().await,
            () = self.detach.cancelled() => None,
        };
        Some(change?.ok()?.state)
    }

    async fn end(&mut self) -> Option<Result<JobResult, Error>> {
        tokio::select! {
            biased;
            () = self.job.as_mut() => self.job.as_mut().take_output(),
            () = self.detach.cancelled() => None,
        }
    }
}
