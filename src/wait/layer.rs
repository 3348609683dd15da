use std::sync::Arc;
use std::time::Duration;

use tower::{Layer, Service};

use super::cancel_on_drop::CancelBy;
use super::machine::WaitLimits;
use super::service::Wait;
use super::shared::{Settings, Shared};
use super::webhook_endpoint::WebhookEndpoint;
use crate::api::{CancelJob, GetJob, Polled};
use crate::source::PollPolicy;
use crate::submission::DropPolicy;
use crate::{BoxError, Error, JobStatus};

/// Turns a service that submits into one that resolves to the finished job.
///
/// `P` is how waits ask for the state: a `Service<GetJob, Response = Polled>` such as [`Api`](crate::Api), with whatever
/// limits of its own.
#[derive(Debug, Clone)]
pub struct WaitLayer<P> {
    polls: P,
    settings: Settings,
}

impl<P> WaitLayer<P> {
    /// Waits by polling alone, without a deadline, by the default [`PollPolicy`].
    pub fn new(polls: P) -> Self {
        let limits = WaitLimits {
            failure_budget: Duration::from_secs(120),
            not_found_grace: Duration::from_secs(5),
            lost_response_window: Duration::from_secs(10),
            final_poll_timeout: Duration::from_secs(5),
        };
        let poll_policy = PollPolicy::default();
        let settings = Settings {
            deadline: None,
            limits,
            poll_policy,
            webhooks: None,
            drop_policy: DropPolicy::Detach,
            canceller: None,
        };
        Self { polls, settings }
    }

    /// To set more.
    pub fn builder(polls: P) -> WaitLayerBuilder<P> {
        WaitLayerBuilder { layer: Self::new(polls) }
    }
}

impl<S, P: Clone> Layer<S> for WaitLayer<P> {
    type Service = Wait<S, P>;

    fn layer(&self, submit: S) -> Wait<S, P> {
        let settings = self.settings.clone();
        Wait::new(submit, self.polls.clone(), settings.deadline, Arc::new(Shared::new(settings)))
    }
}

/// Builds a [`WaitLayer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct WaitLayerBuilder<P> {
    layer: WaitLayer<P>,
}

impl<P> WaitLayerBuilder<P> {
    /// Has the daemon send events to this endpoint. Without one, waits only poll.
    pub fn webhooks(mut self, endpoint: WebhookEndpoint) -> Self {
        self.layer.settings.webhooks = Some(endpoint);
        self
    }

    /// When to poll.
    pub fn poll_policy(mut self, policy: PollPolicy) -> Self {
        self.layer.settings.poll_policy = policy;
        self
    }

    /// How long a wait may last from its call; no bound unless set. At the deadline the state is asked once more, so that a job
    /// that has finished counts, and then the wait ends with [`Error::is_deadline`]. The job goes on.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.layer.settings.deadline = Some(deadline);
        self
    }

    /// What happens to a job when nobody waits for it any longer, and the service by which it is asked and cancelled, such as an
    /// [`Api`](crate::Api); the job is left alone unless set. A request may say otherwise
    /// ([`SubmitRequestBuilder::on_drop`](crate::SubmitRequestBuilder::on_drop)), for which this service is needed too: a cancel
    /// that cannot be done is counted ([`WaitStats::cancels_failed`](super::WaitStats::cancels_failed)).
    ///
    /// The cancel runs in the background on the runtime in which the last hold was dropped; outside a runtime it is not done.
    /// Jobs that were attached to by their id are always left alone.
    pub fn on_drop<C>(mut self, policy: DropPolicy, service: C) -> Self
    where
        C: Clone + Send + 'static,
        C: Service<CancelJob, Response = JobStatus, Error: Into<BoxError>, Future: Send>,
        C: Service<GetJob, Response = Polled, Error: Into<BoxError>, Future: Send>,
    {
        self.layer.settings.drop_policy = policy;
        self.layer.settings.canceller = Some(Arc::new(CancelBy::new(service)));
        self
    }

    /// How long polls may fail, one after the other, before the wait ends with the last failure; 2 min unless set. A success
    /// or an event begins the count anew.
    pub fn failure_budget(mut self, budget: Duration) -> Self {
        self.layer.settings.limits.failure_budget = budget;
        self
    }

    /// How long after the submission the daemon may answer 404 for the job; 5 s unless set.
    pub fn not_found_grace(mut self, grace: Duration) -> Self {
        self.layer.settings.limits.not_found_grace = grace;
        self
    }

    /// How long, when the answer to the submission was lost, an event may still say which job it became before the submission
    /// is sent again (to a daemon that keeps idempotency keys) or given up; 10 s unless set.
    pub fn lost_response_window(mut self, window: Duration) -> Self {
        self.layer.settings.limits.lost_response_window = window;
        self
    }

    /// How long the last look at the deadline may take; 5 s unless set.
    pub fn final_poll_timeout(mut self, limit: Duration) -> Self {
        self.layer.settings.limits.final_poll_timeout = limit;
        self
    }

    /// The layer, checked.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for a deadline of zero.
    pub fn build(self) -> Result<WaitLayer<P>, Error> {
        if self.layer.settings.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(Error::invalid("deadline", "must not be zero"));
        }
        Ok(self.layer)
    }
}
