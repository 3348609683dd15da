use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project::pin_project;
use tower::Service;

use crate::api::{Accepted, GetJob};
use crate::source::{Pace, PollStream, Polling};
use crate::{BoxError, Error, JobId, JobStatus, SubmitRequest};

/// What a [`JobWait`](super::JobWait) is doing: one thing at a time, so that a wait is as large as the largest of them.
#[pin_project(project = StepProj, project_replace = StepOwned)]
pub(super) enum Step<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    /// There was no room for its events.
    Refused(Option<Error>),
    /// Not sent, or to be sent again.
    Idle {
        sender: Sender<S, P>,
        ready: bool,
        due: bool,
    },
    /// Being sent.
    Submitting {
        #[pin]
        future: S::Future,
        sender: Sender<S, P>,
    },
    /// The job is known, and nothing has been asked yet.
    Attached {
        polls: P,
    },
    /// Polled.
    Following {
        #[pin]
        stream: PollStream<P>,
    },
    Over,
}

/// What it takes to send, and to poll afterwards.
pub(super) struct Sender<S, P> {
    pub(super) submit: S,
    pub(super) request: SubmitRequest,
    pub(super) polls: P,
    /// Whether this wait has sent it.
    pub(super) sent: bool,
}

/// What came of a step.
pub(super) enum Outcome {
    Submitted(Result<Accepted, Error>),
    Polled(Result<JobStatus, Error>),
}

impl<S, P> Step<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = JobStatus, Error: Into<BoxError>>,
{
    /// Sends as soon as the service is ready.
    pub(super) fn send(self: Pin<&mut Self>) {
        if let StepProj::Idle { due, .. } = self.project() {
            *due = true;
        }
    }

    /// Gives back the place that readiness holds in a service with limits, since nothing is to be sent for now: the wait that
    /// is to send may need it.
    pub(super) fn rest(self: Pin<&mut Self>) {
        if let StepProj::Idle { sender, ready: ready @ true, due: false } = self.project() {
            sender.submit = sender.submit.clone();
            *ready = false;
        }
    }

    /// Begins to poll. Says whether this wait had sent the submission.
    pub(super) fn follow(mut self: Pin<&mut Self>, job_id: JobId, polling: Arc<Polling>) -> bool {
        let (polls, sent) = match self.as_mut().project_replace(Self::Over) {
            StepOwned::Submitting { sender, .. } | StepOwned::Idle { sender, .. } => (sender.polls, sender.sent),
            StepOwned::Attached { polls } => (polls, false),
            StepOwned::Refused(_) | StepOwned::Following { .. } | StepOwned::Over => return false,
        };
        self.set(Self::Following { stream: PollStream::shared(polls, job_id, polling) });
        sent
    }

    pub(super) fn stream(self: Pin<&mut Self>) -> Option<Pin<&mut PollStream<P>>> {
        match self.project() {
            StepProj::Following { stream } => Some(stream),
            _ => None,
        }
    }

    pub(super) fn poll_outcome(mut self: Pin<&mut Self>, pace: Pace, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match self.as_mut().project() {
                StepProj::Refused(error) => match error.take() {
                    Some(error) => return Poll::Ready(Outcome::Submitted(Err(error))),
                    None => return Poll::Pending,
                },
                StepProj::Idle { due: false, .. } => return Poll::Pending,
                StepProj::Idle { sender, ready: ready @ false, due } => {
                    if let Err(error) = ready!(sender.submit.poll_ready(cx)) {
                        *due = false;
                        return Poll::Ready(Outcome::Submitted(Err(Error::from_boxed(error.into()).surely_unsent())));
                    }
                    *ready = true;
                }
                // Idle -> Submitting: the service is ready.
                StepProj::Idle { sender, .. } => {
                    sender.sent = true;
                    let future = sender.submit.call(sender.request.clone());
                    if let StepOwned::Idle { sender, .. } = self.as_mut().project_replace(Self::Over) {
                        self.set(Self::Submitting { future, sender });
                    }
                }
                StepProj::Submitting { future, .. } => {
                    let answer = ready!(future.poll(cx)).map_err(|error| Error::from_boxed(error.into()));
                    // Submitting -> Idle: it may have to be sent again.
                    if answer.is_err()
                        && let StepOwned::Submitting { sender, .. } = self.as_mut().project_replace(Self::Over)
                    {
                        self.set(Self::Idle { sender, ready: false, due: false });
                    }
                    return Poll::Ready(Outcome::Submitted(answer));
                }
                StepProj::Following { mut stream } => {
                    stream.as_mut().set_pace(pace);
                    return match ready!(stream.poll_next(cx)) {
                        Some(answer) => Poll::Ready(Outcome::Polled(answer)),
                        None => Poll::Pending,
                    };
                }
                StepProj::Attached { .. } | StepProj::Over => return Poll::Pending,
            }
        }
    }
}
