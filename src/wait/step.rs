use std::future::Future;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project::pin_project;
use tokio::time::Instant;
use tower::Service;

use crate::api::{Accepted, GetJob, Polled};
use crate::source::{PollStream, Polling};
use crate::{BoxError, Error, JobId, JobStatus, SubmitRequest};

/// The I/O of a [`JobWait`](super::JobWait): one thing at a time, so that a wait is as large as the largest of them.
#[pin_project(project = StepProj, project_replace = StepOwned)]
pub(super) enum Step<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    /// Not being sent.
    Idle(Box<Sender<S, P>>),
    /// Being sent. It is in a box because it is large and short-lived, while nearly all waits are polling.
    Sending(Pin<Box<Sending<S, P>>>),
    /// The job id is known, and polling has not started.
    Attached {
        polls: P,
    },
    /// Polling.
    Polling {
        #[pin]
        stream: PollStream<P>,
    },
    Over,
}

/// The services of a wait whose job id is not known yet.
pub(super) struct Sender<S, P> {
    submit: S,
    request: SubmitRequest,
    polls: P,
    readiness: Readiness,
}

/// Whether `Sender::submit` is ready, and whether the request is to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// Ready, and nothing to send yet. `Service::call` of the wait starts here.
    Reserved,
    /// Not ready, and nothing to send.
    Released,
    /// To be sent once it is ready.
    SendWhenReady,
    /// Ready, and to be sent.
    SendNow,
    /// `call` has started. Stays only if it panics, and then the request may have been sent.
    Calling,
}

#[pin_project]
pub(super) struct Sending<S: Service<SubmitRequest>, P> {
    #[pin]
    future: S::Future,
    sender: Option<Box<Sender<S, P>>>,
}

impl<S: Service<SubmitRequest>, P: Service<GetJob>> Step<S, P> {
    /// The request, until polling starts.
    pub(super) fn request(&self) -> Option<&SubmitRequest> {
        match self {
            Self::Idle(sender) => Some(&sender.request),
            Self::Sending(sending) => Some(&sending.sender.as_ref()?.request),
            Self::Attached { .. } | Self::Polling { .. } | Self::Over => None,
        }
    }
}

/// What came of a step.
#[expect(clippy::large_enum_variant, reason = "moved once; a box would be an allocation for each poll")]
pub(super) enum StepOutcome {
    Sent(Result<Accepted, Error>),
    Polled(Result<JobStatus, Error>),
}

impl<S, P> Sender<S, P> {
    /// `submit` is ready.
    pub(super) fn new(submit: S, request: SubmitRequest, polls: P) -> Box<Self> {
        Box::new(Self { submit, request, polls, readiness: Readiness::Reserved })
    }

    /// Whether it has the right to send and has not sent yet.
    pub(super) fn is_about_to_send(&self) -> bool {
        matches!(self.readiness, Readiness::SendWhenReady | Readiness::SendNow)
    }

    /// Whether the service panicked when it was called.
    pub(super) fn is_calling(&self) -> bool {
        self.readiness == Readiness::Calling
    }
}

impl<S, P> Step<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    /// Sends as soon as the service is ready.
    pub(super) fn send(self: Pin<&mut Self>, claim: NonZeroU16) {
        if let StepProj::Idle(sender) = self.project() {
            sender.request.set_claim(claim);
            sender.readiness = match sender.readiness {
                Readiness::Reserved | Readiness::SendNow => Readiness::SendNow,
                Readiness::Released | Readiness::SendWhenReady | Readiness::Calling => Readiness::SendWhenReady,
            };
        }
    }

    /// Whether it has the right to submit and has not submitted yet.
    pub(super) fn is_about_to_submit(&self) -> bool {
        matches!(self, Self::Idle(sender) if sender.is_about_to_send())
    }

    /// Whether a submission or a poll was sent and its response has not come.
    pub(super) fn is_in_flight(&self) -> bool {
        match self {
            Self::Sending(_) => true,
            Self::Polling { stream } => stream.is_in_flight(),
            Self::Idle(_) | Self::Attached { .. } | Self::Over => false,
        }
    }

    /// Whether a submission or a poll may be sent when it is polled.
    pub(super) fn is_about_to_send(&self) -> bool {
        match self {
            Self::Idle(_) => self.is_about_to_submit(),
            Self::Polling { stream } => !stream.is_in_flight(),
            Self::Sending(_) | Self::Attached { .. } | Self::Over => false,
        }
    }

    /// Nothing is to be sent any more. A clone of the service holds nothing, such as the permit of a limit.
    pub(super) fn release(self: Pin<&mut Self>) {
        if let StepProj::Idle(sender) = self.project() {
            sender.submit = sender.submit.clone();
            sender.readiness = Readiness::Released;
        }
    }

    /// Sending -> Idle: the response is not waited for. Returns whether it was. After a panic of the service, no response can come.
    pub(super) fn abandon_send(mut self: Pin<&mut Self>) -> bool {
        if matches!(&*self, Self::Idle(sender) if sender.is_calling()) {
            self.release();
            return true;
        }
        let StepProj::Sending(sending) = self.as_mut().project() else { return false };
        let Some(mut sender) = sending.as_mut().project().sender.take() else { return false };
        sender.readiness = Readiness::Released;
        self.set(Self::Idle(sender));
        true
    }

    /// Starts to poll.
    pub(super) fn start_polling(mut self: Pin<&mut Self>, job_id: JobId, polling: Arc<Polling>, since: Instant) {
        let polls = match self.as_mut().project_replace(Self::Over) {
            StepOwned::Sending(mut sending) => match sending.as_mut().project().sender.take() {
                Some(sender) => sender.polls,
                None => return,
            },
            StepOwned::Idle(sender) => sender.polls,
            StepOwned::Attached { polls } => polls,
            StepOwned::Polling { .. } | StepOwned::Over => return,
        };
        self.set(Self::Polling { stream: PollStream::shared(polls, job_id, polling, since) });
    }

    pub(super) fn stream(self: Pin<&mut Self>) -> Option<Pin<&mut PollStream<P>>> {
        match self.project() {
            StepProj::Polling { stream } => Some(stream),
            _ => None,
        }
    }

    pub(super) fn poll_outcome(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StepOutcome> {
        loop {
            match self.as_mut().project() {
                StepProj::Idle(sender) => match sender.readiness {
                    // Reserved -> Released: another wait is the one to send, and may need what being ready holds, such as the
                    // permit of a limit. A clone of the service holds none.
                    Readiness::Reserved => {
                        sender.submit = sender.submit.clone();
                        sender.readiness = Readiness::Released;
                        return Poll::Pending;
                    }
                    Readiness::Released | Readiness::Calling => return Poll::Pending,
                    // SendWhenReady -> SendNow | Released
                    Readiness::SendWhenReady => match ready!(sender.submit.poll_ready(cx)) {
                        Ok(()) => sender.readiness = Readiness::SendNow,
                        Err(error) => {
                            sender.readiness = Readiness::Released;
                            let error = Error::from_boxed(error.into()).surely_unsent();
                            return Poll::Ready(StepOutcome::Sent(Err(error)));
                        }
                    },
                    // Idle -> Sending
                    Readiness::SendNow => {
                        sender.readiness = Readiness::Calling;
                        let future = sender.submit.call(sender.request.clone());
                        if let StepOwned::Idle(sender) = self.as_mut().project_replace(Self::Over) {
                            self.set(Self::Sending(Box::pin(Sending { future, sender: Some(sender) })));
                        }
                    }
                },
                StepProj::Sending(sending) => {
                    let sending = sending.as_mut().project();
                    let response = ready!(sending.future.poll(cx)).map_err(|error| Error::from_boxed(error.into()));
                    // Sending -> Idle: it may have to be sent again.
                    if response.is_err()
                        && let Some(mut sender) = sending.sender.take()
                    {
                        sender.readiness = Readiness::Released;
                        self.set(Self::Idle(sender));
                    }
                    return Poll::Ready(StepOutcome::Sent(response));
                }
                StepProj::Polling { stream } => {
                    return match ready!(stream.poll_next(cx)) {
                        Some(response) => Poll::Ready(StepOutcome::Polled(response)),
                        None => Poll::Pending,
                    };
                }
                StepProj::Attached { .. } | StepProj::Over => return Poll::Pending,
            }
        }
    }
}
