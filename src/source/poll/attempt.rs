use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderValue;
use pin_project::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;
use tower::Service;

use super::PollPolicy;
use super::schedule::Pace;
use crate::api::{GetJob, Polled};
use crate::{BoxError, Error, JobId};

/// What the polls of one client share: the policy, the limit of polls in flight, and whether the daemon supports long polls.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(super) policy: PollPolicy,
    /// First come, first served.
    in_flight: Arc<Semaphore>,
    /// Half of the polls in flight may be long polls, so that the others get their turn however long these take.
    long_polls: Arc<Semaphore>,
    /// The daemon was asked for a long poll and did not apply the preference.
    no_long_polls: AtomicBool,
}

impl Polling {
    pub(crate) fn new(policy: PollPolicy) -> Arc<Self> {
        let limit = policy.in_flight.min(Semaphore::MAX_PERMITS);
        // With a limit of one, a long poll would delay all other polls for as long as it takes.
        let (in_flight, long_polls) = (Arc::new(Semaphore::new(limit)), Arc::new(Semaphore::new(limit / 2)));
        Arc::new(Self { policy, in_flight, long_polls, no_long_polls: AtomicBool::new(false) })
    }

    /// Whether the policy and the daemon allow long polls.
    pub(super) fn allows_long_polls(&self) -> bool {
        self.policy.long_poll.as_secs() > 0 && !self.no_long_polls.load(Relaxed)
    }

    /// A permit for a long poll, if one is free.
    fn long_poll(&self) -> Option<OwnedSemaphorePermit> {
        if self.allows_long_polls() { Arc::clone(&self.long_polls).try_acquire_owned().ok() } else { None }
    }
}

/// One poll, from acquiring a permit to the response. It is in a box of its own because it is large and short-lived, while nearly
/// all waits are between two polls.
#[pin_project]
pub(super) struct PollAttempt<F> {
    in_flight: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
    /// The permit of a long poll.
    long_poll: Option<OwnedSemaphorePermit>,
    sent_at: Instant,
    #[pin]
    future: Option<F>,
}

/// The parameters of a poll.
#[derive(Clone, Copy)]
pub(super) struct PollParams<'a> {
    pub(super) job_id: &'a JobId,
    pub(super) pace: Pace,
    /// A state was returned before, so that the daemon can wait for another one.
    pub(super) has_state: bool,
    /// The `ETag` of that state.
    pub(super) etag: Option<&'a HeaderValue>,
}

pub(super) struct PollOutcome {
    pub(super) response: Result<Polled, Error>,
    /// How long the daemon held the response, if it applied the preference.
    pub(super) held: Option<Duration>,
}

impl<F> PollAttempt<F> {
    pub(super) fn new(polling: &Polling) -> Pin<Box<Self>> {
        let in_flight = PollSemaphore::new(Arc::clone(&polling.in_flight));
        Box::pin(Self { in_flight, permit: None, long_poll: None, sent_at: Instant::now(), future: None })
    }

    /// Acquires a permit, calls `service` as soon as it is ready, and waits for the response.
    pub(super) fn poll<P>(
        self: Pin<&mut Self>,
        service: &mut P,
        params: PollParams<'_>,
        polling: &Polling,
        cx: &mut Context<'_>,
    ) -> Poll<PollOutcome>
    where
        P: Service<GetJob, Response = Polled, Error: Into<BoxError>, Future = F>,
        F: Future<Output = Result<Polled, P::Error>>,
    {
        let mut this = self.project();
        if this.permit.is_none() {
            *this.permit = ready!(this.in_flight.poll_acquire(cx));
        }
        if this.future.is_none() {
            if let Err(error) = ready!(service.poll_ready(cx)) {
                let response = Err(Error::from_boxed(error.into()));
                return Poll::Ready(PollOutcome { response, held: None });
            }
            let mut call = GetJob::new(params.job_id.clone());
            if params.has_state && params.pace != Pace::Slow {
                *this.long_poll = polling.long_poll();
            }
            if this.long_poll.is_some() {
                call = call.wait(polling.policy.long_poll).if_none_match(params.etag.cloned());
            }
            *this.sent_at = Instant::now();
            this.future.set(Some(service.call(call)));
        }
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let response = ready!(future.poll(cx)).map_err(|error| Error::from_boxed(error.into()));
        let held = match (&response, &this.long_poll) {
            (Ok(polled), Some(_)) => {
                // A terminal state is returned at once in any case, so that it shows nothing of long polls.
                if polled.held || !polled.status.state.is_terminal() {
                    polling.no_long_polls.store(!polled.held, Relaxed);
                }
                polled.held.then(|| this.sent_at.elapsed())
            }
            _ => None,
        };
        Poll::Ready(PollOutcome { response, held })
    }
}
