use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderValue;
use pin_project::pin_project;
use tokio::time::Instant;
use tower::Service;

use super::PollPolicy;
use super::long_polls::{Lease, LongPolls};
use super::pacer::Pacer;
use super::schedule::Pace;
use crate::api::{GetJob, Polled};
use crate::{BoxError, Error, JobId};

/// What the polls of one client share: the policy, their rate, and their long polls.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(super) policy: PollPolicy,
    pub(super) pacer: Pacer,
    long_polls: Arc<LongPolls>,
}

impl Polling {
    pub(crate) fn new(policy: PollPolicy) -> Arc<Self> {
        let (pacer, long_polls) = (Pacer::new(policy.max_rate), LongPolls::new(policy.max_long_polls));
        Arc::new(Self { policy, pacer, long_polls })
    }

    /// A poll failed. If the daemon asks it to wait, it means the polls of all jobs.
    pub(crate) fn refused(&self, error: &Error) {
        if let Some(pause) = error.asked_pause() {
            self.pacer.pause(Instant::now(), pause.min(self.policy.max_retry_after));
        }
    }

    /// How long a routine poll that becomes due now waits for its turn.
    pub(crate) fn backlog(&self) -> Duration {
        self.pacer.backlog(Instant::now())
    }

    /// Whether the policy and the daemon allow long polls.
    pub(super) fn allows_long_polls(&self) -> bool {
        self.policy.long_poll.as_secs() > 0 && self.long_polls.is_supported()
    }
}

/// One poll, from being sent to the response. It is in a box of its own because it is large and short-lived, while nearly all waits
/// are between two polls.
#[pin_project]
pub(super) struct PollAttempt<F> {
    /// The lease of a long poll.
    long_poll: Option<Lease>,
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
    pub(super) fn new() -> Pin<Box<Self>> {
        Box::pin(Self { long_poll: None, sent_at: Instant::now(), future: None })
    }

    /// Calls `service` as soon as it is ready, and waits for the response.
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
        if this.future.is_none() {
            if let Err(error) = ready!(service.poll_ready(cx)) {
                let response = Err(Error::from_boxed(error.into()));
                return Poll::Ready(PollOutcome { response, held: None });
            }
            let mut call = GetJob::new(params.job_id.clone());
            *this.sent_at = Instant::now();
            if params.has_state && !params.pace.is_slow() && polling.allows_long_polls() {
                *this.long_poll = polling.long_polls.lease(*this.sent_at, polling.policy.long_poll);
            }
            if this.long_poll.is_some() {
                call = call.wait(polling.policy.long_poll).if_none_match(params.etag.cloned());
            }
            this.future.set(Some(service.call(call)));
        }
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let response = ready!(future.poll(cx)).map_err(|error| Error::from_boxed(error.into()));
        // `Api` checks it too. A service of the caller's own may not.
        let response = response.and_then(|polled| {
            let own = polled.status.job_id == *params.job_id;
            if own { Ok(polled) } else { Err(Error::response("the response is about another job")) }
        });
        let held = match (&response, &this.long_poll) {
            (Ok(polled), Some(_)) => {
                // A terminal state is returned at once in any case, so that it shows nothing of long polls.
                if polled.held || !polled.status.state.is_terminal() {
                    polling.long_polls.learn(polled.held);
                }
                polled.held.then(|| this.sent_at.elapsed())
            }
            _ => None,
        };
        Poll::Ready(PollOutcome { response, held })
    }
}
