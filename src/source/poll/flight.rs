use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderValue;
use pin_project::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;
use tower::Service;

use super::polling::Polling;
use super::schedule::Pace;
use crate::api::{GetJob, Polled};
use crate::{BoxError, Error, JobId};

/// One poll, from the wish to ask to the answer. It lives in a box of its own, since it is large and brief: what there are a
/// hundred thousand of are waits between two polls.
#[pin_project]
pub(super) struct Flight<F> {
    places: PollSemaphore,
    place: Option<OwnedSemaphorePermit>,
    /// A place among the polls that the daemon holds, if it is asked to hold this one.
    hold: Option<OwnedSemaphorePermit>,
    since: Instant,
    #[pin]
    future: Option<F>,
}

/// What a poll is to ask.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) job_id: &'a JobId,
    pub(super) pace: Pace,
    /// The `ETag` of the state known, if one is known.
    pub(super) known: bool,
    pub(super) etag: Option<&'a HeaderValue>,
}

/// An answer, and for how long the daemon held it, if it was asked to and did.
pub(super) struct Landed {
    pub(super) answer: Result<Polled, Error>,
    pub(super) held: Option<Duration>,
}

impl<F> Flight<F> {
    pub(super) fn new(polling: &Polling) -> Pin<Box<Self>> {
        let places = PollSemaphore::new(Arc::clone(&polling.flights));
        Box::pin(Self { places, place: None, hold: None, since: Instant::now(), future: None })
    }

    /// Takes a place among the polls in flight, asks as soon as `service` is ready, and waits for the answer.
    pub(super) fn poll<P>(
        self: Pin<&mut Self>,
        service: &mut P,
        ask: Ask<'_>,
        polling: &Polling,
        cx: &mut Context<'_>,
    ) -> Poll<Landed>
    where
        P: Service<GetJob, Response = Polled, Error: Into<BoxError>, Future = F>,
        F: Future<Output = Result<Polled, P::Error>>,
    {
        let mut this = self.project();
        if this.place.is_none() {
            *this.place = ready!(this.places.poll_acquire(cx));
        }
        if this.future.is_none() {
            if let Err(error) = ready!(service.poll_ready(cx)) {
                let answer = Err(Error::from_boxed(error.into()));
                return Poll::Ready(Landed { answer, held: None });
            }
            let mut call = GetJob::new(ask.job_id.clone());
            if ask.known && ask.pace != Pace::Slow {
                *this.hold = polling.hold();
            }
            if this.hold.is_some() {
                call = call.wait(polling.policy.long_poll).known(ask.etag.cloned());
            }
            *this.since = Instant::now();
            this.future.set(Some(service.call(call)));
        }
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let answer = ready!(future.poll(cx)).map_err(|error| Error::from_boxed(error.into()));
        let held = match (&answer, &this.hold) {
            (Ok(polled), Some(_)) => {
                // There is nothing to hold for a job that has ended, so that such an answer shows nothing.
                if polled.held || !polled.status.state.is_terminal() {
                    polling.learn(polled.held);
                }
                polled.held.then(|| this.since.elapsed())
            }
            _ => None,
        };
        Poll::Ready(Landed { answer, held })
    }
}
