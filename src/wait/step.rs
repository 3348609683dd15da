use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project::pin_project;
use tower::Service;

use crate::api::{Accepted, GetJob, Polled};
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
    Idle(Box<Sender<S, P>>),
    /// Being sent; in a box, since it is large and brief, and what there are many of are waits that follow.
    Submitting(Pin<Box<Submitting<S, P>>>),
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
    submit: S,
    request: SubmitRequest,
    polls: P,
    /// The service has said that it is ready.
    ready: bool,
    /// It is to be sent.
    due: bool,
    /// This wait has sent it.
    sent: bool,
}

impl<S, P> Sender<S, P> {
    /// `submit` is ready.
    pub(super) fn new(submit: S, request: SubmitRequest, polls: P) -> Box<Self> {
        Box::new(Self { submit, request, polls, ready: true, due: false, sent: false })
    }

    /// Whether it is to be sent, and has not been by now.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }
}

impl<S: Clone, P> Sender<S, P> {
    /// Gives back what being ready took, such as the permit of a limit: another wait is the one to send, and may need it.
    fn stand_back(&mut self) {
        if std::mem::take(&mut self.ready) {
            self.submit = self.submit.clone();
        }
    }
}

#[pin_project]
pub(super) struct Submitting<S: Service<SubmitRequest>, P> {
    #[pin]
    future: S::Future,
    sender: Option<Box<Sender<S, P>>>,
}

/// What came of a step.
pub(super) enum Outcome {
    Submitted(Result<Accepted, Error>),
    Polled(Result<JobStatus, Error>),
}

impl<S, P> Step<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    /// Sends as soon as the service is ready.
    pub(super) fn send(self: Pin<&mut Self>) {
        if let StepProj::Idle(sender) = self.project() {
            sender.due = true;
        }
    }

    /// Gives back the place that readiness holds in a service with limits, since nothing is to be sent for now: the wait that
    /// is to send may need it.
    pub(super) fn rest(self: Pin<&mut Self>) {
        if let StepProj::Idle(sender) = self.project()
            && sender.ready
            && !sender.due
        {
            sender.submit = sender.submit.clone();
            sender.ready = false;
        }
    }

    /// Begins to poll. Says whether this wait had sent the submission.
    pub(super) fn follow(mut self: Pin<&mut Self>, job_id: JobId, polling: Arc<Polling>) -> bool {
        let (polls, sent) = match self.as_mut().project_replace(Self::Over) {
            StepOwned::Submitting(mut submitting) => match submitting.as_mut().project().sender.take() {
                Some(sender) => (sender.polls, true),
                None => return true,
            },
            StepOwned::Idle(sender) => (sender.polls, sender.sent),
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
                StepProj::Idle(sender) => {
                    if !sender.due {
                        sender.stand_back();
                        return Poll::Pending;
                    }
                    if !sender.ready {
                        if let Err(error) = ready!(sender.submit.poll_ready(cx)) {
                            sender.due = false;
                            let error = Error::from_boxed(error.into()).surely_unsent();
                            return Poll::Ready(Outcome::Submitted(Err(error)));
                        }
                        sender.ready = true;
                    }
                    // Idle -> Submitting: the service is ready.
                    sender.sent = true;
                    let future = sender.submit.call(sender.request.clone());
                    if let StepOwned::Idle(sender) = self.as_mut().project_replace(Self::Over) {
                        let submitting = Submitting { future, sender: Some(sender) };
                        self.set(Self::Submitting(Box::pin(submitting)));
                    }
                }
                StepProj::Submitting(submitting) => {
                    let submitting = submitting.as_mut().project();
                    let answer = ready!(submitting.future.poll(cx)).map_err(|error| Error::from_boxed(error.into()));
                    // Submitting -> Idle: it may have to be sent again.
                    if answer.is_err()
                        && let Some(mut sender) = submitting.sender.take()
                    {
                        (sender.ready, sender.due) = (false, false);
                        self.set(Self::Idle(sender));
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
