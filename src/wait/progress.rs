use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project::pin_project;

use crate::{BoxError, Error, JobId, JobResult, StateChange, States, Submission};

/// A stream of the states of one call, and then its result. [`Client::progress`](crate::Client::progress) returns one.
///
/// The items are the states, each once, and then the result or the error. While the job is queued, each new
/// [`position`](StateChange::position) is an item too, with the same state. An error is the last item, and has the id of the job as
/// soon as that is known.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_client::BoxError> {
/// use foreman_client::wait::Update;
/// use foreman_client::{Client, SubmitRequest};
/// use futures_util::TryStreamExt;
/// # let daemon = foreman_daemon::Daemon::start().await?;
/// # let client = Client::builder(daemon.url()).build().await?;
///
/// let request = SubmitRequest::builder("echo").user("hi").build()?;
/// let mut progress = Box::pin(client.progress(request));
/// // Submits. Fails if the daemon does not accept the job.
/// let job_id = progress.as_mut().accepted().await?;
/// println!("job {job_id}");
/// while let Some(update) = progress.try_next().await? {
///     match update {
///         Update::State(change) => println!("{}", change.state),
///         Update::Finished(result) => println!("{:?}", result.content()),
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropping a pending `next` loses nothing. Dropping the stream drops the wait: the drop policy applies.
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct Progress<F> {
    submission: Submission,
    /// The states of the submission, and of those that a failed job ran again as.
    states: VecDeque<States>,
    #[pin]
    wait: Option<F>,
    /// The end, which is yielded after the last state.
    end: Option<Result<JobResult, Error>>,
    failure: Option<Error>,
}

/// An item of [`Progress`].
#[derive(Debug, Clone)]
pub enum Update {
    /// A state, which may be the terminal one.
    State(StateChange),
    /// The finished job. The stream ends.
    Finished(JobResult),
}

impl<F, E> Progress<F>
where
    F: Future<Output = Result<JobResult, E>>,
    E: Into<BoxError>,
{
    /// `wait` is the future of a stack, called with a request of that submission:
    /// `Progress::new(&request.submission(), jobs.call(request))`.
    pub fn new(submission: &Submission, wait: F) -> Self {
        let states = [submission.states_of_call()].into();
        Self { submission: submission.clone(), states, wait: Some(wait), end: None, failure: None }
    }

    /// Waits until the id of the job is known. The states until then are yielded by the stream. After
    /// [`Reattach`](crate::retry::Reattach) has renewed a failed job, it is the id of the new one.
    ///
    /// # Errors
    ///
    /// The error of the call, if it ends before that. The stream then ends, and later calls return the same error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn accepted(mut self: Pin<&mut Self>) -> Result<JobId, Error> {
        poll_fn(|cx| {
            self.as_mut().poll_wait(cx);
            let this = self.as_mut().project();
            if let Some(error) = this.failure {
                this.end.take();
                return Poll::Ready(Err(error.clone()));
            }
            this.states.back_mut().map_or(Poll::Pending, |states| states.poll_job_id(cx).map(Ok))
        })
        .await
    }

    /// Polls the wait, and stores how it ends, and whether the job runs again.
    fn poll_wait(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let Some(wait) = this.wait.as_mut().as_pin_mut() else { return };
        let polled = wait.poll(cx);
        while let Some(renewed) = this.submission.renewed() {
            this.states.push_back(renewed.states_of_call());
            *this.submission = renewed;
        }
        let Poll::Ready(result) = polled else { return };
        let mut end_call = || this.wait.set(None);
        *this.end = Some(match result {
            Ok(result) => {
                end_call();
                Ok(result)
            }
            Err(error) => Err(this.submission.annotate_after(Error::from_boxed(error.into()), end_call)),
        });
        *this.failure = this.end.as_ref().and_then(|end| end.as_ref().err().cloned());
    }
}

impl<F, E> Stream for Progress<F>
where
    F: Future<Output = Result<JobResult, E>>,
    E: Into<BoxError>,
{
    type Item = Result<Update, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Before the states, since it is what learns of them.
        self.as_mut().poll_wait(cx);
        let this = self.project();
        while let Some(states) = this.states.front_mut() {
            match Pin::new(states).poll_next(cx) {
                Poll::Ready(Some(Ok(change))) => return Poll::Ready(Some(Ok(Update::State(change)))),
                Poll::Ready(_) if this.states.len() > 1 => drop(this.states.pop_front()),
                _ => break,
            }
        }
        if this.wait.is_some() {
            // The states end a moment before the wait.
            return Poll::Pending;
        }
        // An error of the states is the one of the wait.
        Poll::Ready(this.end.take().map(|end| end.map(Update::Finished)))
    }
}

impl<F> fmt::Debug for Progress<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("submission", &self.submission).finish_non_exhaustive()
    }
}
