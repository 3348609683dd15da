use std::sync::Arc;
use std::time::Duration;

use tower::{Layer, Service};

use super::attach::Attach;
use super::cancel_on_drop::CancelBy;
use super::machine::WaitLimits;
use super::service::Wait;
use super::shared::{Settings, Shared};
use super::webhook_endpoint::WebhookEndpoint;
use crate::api::{Accepted, Api, CancelJob, GetJob, HttpService, Polled};
use crate::source::PollPolicy;
use crate::submission::{DaemonId, DropPolicy};
use crate::{BoxError, Error, JobStatus, SubmitRequest};

/// Turns a service that submits into one that resolves to the finished job.
///
/// `P` polls: a `Service<GetJob, Response = Polled>` such as [`Api`](crate::Api), with whatever limits of its own.
#[derive(Debug, Clone)]
pub struct WaitLayer<P> {
    polls: P,
    deadline: Option<Duration>,
    shared: Arc<Shared>,
}

impl<P> WaitLayer<P> {
    /// A layer whose waits only poll, by the default [`PollPolicy`], and have no deadline.
    pub fn new(polls: P) -> Self {
        Self::builder(polls).finish()
    }

    /// The service that attaches to jobs by their ids. It shares the statistics and the rate of polls with the services of this layer.
    pub fn attach(&self) -> Attach<P>
    where
        P: Clone,
    {
        Attach::new(self.polls.clone(), self.deadline, Arc::clone(&self.shared))
    }

    /// Starts a layer with options of your own.
    pub fn builder(polls: P) -> WaitLayerBuilder<P> {
        let limits = WaitLimits {
            failure_budget: Duration::from_secs(120),
            not_found_grace: Duration::from_secs(5),
            lost_response_window: Duration::from_secs(10),
            final_poll_timeout: None,
        };
        let settings = Settings {
            daemon: None,
            deadline: None,
            limits,
            poll_policy: PollPolicy::default(),
            webhooks: None,
            drop_policy: DropPolicy::Detach,
            canceller: None,
            event_stream: None,
            idempotency: false,
        };
        WaitLayerBuilder { polls, settings }
    }
}

/// The services of one layer and its clones share the rate of polls, the statistics, and what is known of the daemon.
impl<S, P: Clone> Layer<S> for WaitLayer<P> {
    type Service = Wait<S, P>;

    fn layer(&self, submit: S) -> Wait<S, P> {
        Wait::new(submit, self.polls.clone(), self.deadline, Arc::clone(&self.shared))
    }
}

/// Builds a [`WaitLayer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct WaitLayerBuilder<P> {
    polls: P,
    settings: Settings,
}

impl<P> WaitLayerBuilder<P> {
    /// The identity of the daemon that the services of this layer submit to and poll: [`Api::daemon_id`](crate::Api::daemon_id), or, for
    /// services of your own, a base URL. Not known unless set. It is not compared with the identity of an [`Api`](crate::Api) below.
    ///
    /// A submission that may have arrived at a daemon never moves to another one ([`Error::is_other_daemon`]). Two layers with the
    /// same identity are of the same daemon. A layer without one is taken for a daemon of its own.
    pub fn daemon(mut self, daemon: impl Into<DaemonId>) -> Self {
        self.settings.daemon = Some(daemon.into());
        self
    }

    /// Has the daemon send events to this endpoint. Without one, results come by the
    /// [`event_stream`](Self::event_stream), if it is set, and by polls.
    pub fn webhooks(mut self, endpoint: WebhookEndpoint) -> Self {
        self.settings.webhooks = Some(endpoint);
        self
    }

    /// How often to poll; [`PollPolicy::default`] unless set.
    pub fn poll_policy(mut self, policy: PollPolicy) -> Self {
        self.settings.poll_policy = policy;
        self
    }

    /// How long waits on a submission may last from its first call; without limit unless set. At the deadline the job is polled once more
    /// ([`final_poll_timeout`](Self::final_poll_timeout)), also by a wait that starts later. If it has not finished, the wait ends with
    /// [`Error::is_deadline`]. The job goes on, unless the drop policy cancels it when the last clone of the request is gone.
    ///
    /// A retry does not start the deadline anew: a later wait on a clone of the request has what is left of it. To wait longer, attach to
    /// the job by its id.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// What happens to an abandoned job, and the service that polls and cancels it, such as an [`Api`](crate::Api). The job goes on
    /// unless set. The policy of a request goes before this one
    /// ([`SubmitRequestBuilder::on_drop`](crate::SubmitRequestBuilder::on_drop)), and needs this service too.
    ///
    /// Cancels run in the background, 16 at a time, on the runtime in which the last request or wait was dropped. If nobody drives that
    /// runtime, they wait for the next drop on another one or for the shutdown, and hold nothing that the cancels of others need for more
    /// than 5 s. Outside a runtime with time enabled, or without this service, the job goes on, and
    /// [`WaitStats::cancels_failed`](super::WaitStats::cancels_failed) counts it. A job that was attached to by its id is never cancelled.
    /// The service must be of the same [`DaemonId`](crate::DaemonId) as the one that submits.
    ///
    /// A transient failure is tried again: no connection, 408, 425, 429 or a 5xx. At most six attempts are made, with pauses of 250 ms to
    /// 4 s, each twice the one before and up to half longer. `Retry-After` with 429 or 503 pauses all cancels of the service, for at most
    /// 60 s and up to a tenth longer. After the last attempt the cancel counts as failed.
    ///
    /// If the last request or wait is dropped during the submission, or after its response was lost, the id of the job is not
    /// known. Then the submission is sent again to a daemon that supports idempotency keys, which returns the id, and the job is
    /// cancelled. It obeys the pauses of submissions, and delays no cancel. At another daemon the job goes on, and counts as a
    /// failed cancel.
    pub fn on_drop<C>(mut self, policy: DropPolicy, service: C) -> Self
    where
        C: Clone + Send + 'static,
        C: Service<CancelJob, Response = JobStatus, Error: Into<BoxError>, Future: Send>,
        C: Service<GetJob, Response = Polled, Error: Into<BoxError>, Future: Send>,
        C: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>, Future: Send>,
    {
        self.settings.drop_policy = policy;
        self.settings.canceller = Some(Arc::new(CancelBy::new(service)));
        self
    }

    /// Reads the event stream of the daemon (`GET /events`), for processes that webhooks do not reach: `.event_stream(api.clone())`. Off
    /// unless set; [`Client`](crate::Client) sets it.
    ///
    /// It is used while webhooks are not known to arrive: without [`webhooks`](Self::webhooks), before the first one has come,
    /// and after one was missed. One stream serves all waits, and the submissions of these waits carry its random name
    /// (`event_stream` on the wire). While it is open, an event ends the wait of its job, and a job is polled every tenth
    /// [`slow_interval`](crate::source::PollPolicyBuilder::slow_interval) only, or every one if the caller has set its key. When
    /// it is not open, or an event may be missing, the waits poll by the [`poll_policy`](Self::poll_policy).
    ///
    /// | | |
    /// |---|---|
    /// | opened | with the first submission that needs it, in a task on the runtime of that wait |
    /// | closed | when no wait uses it, and the last submission was 60 s ago |
    /// | counts as cut off | after 45 s of silence |
    /// | opened again | after 250 ms to 30 s, or the daemon's `Retry-After` of up to 60 s |
    /// | a daemon without it (404, 405, 406, or another media type) | is asked again after 10 min at the earliest |
    ///
    /// `api` must be of the same [`DaemonId`](crate::DaemonId) as the service that submits, and its HTTP service must pass on the body of a
    /// response as it comes. [`Api::request_timeout`](crate::Api::request_timeout) and the limit of a response do not apply to the stream.
    pub fn event_stream<T>(mut self, api: Api<T>) -> Self
    where
        T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
    {
        self.settings.event_stream = Some(api.event_stream());
        self
    }

    /// The daemon is known to support idempotency keys, so that even the first submission of this process may be sent again if its response
    /// is lost. Unless set, that is learned from the first `202`. A `202` without the key shows the opposite.
    pub fn assume_idempotency(mut self) -> Self {
        self.settings.idempotency = true;
        self
    }

    /// How long all polls may fail before the wait ends with the last error; 2 min unless set. A successful poll or an
    /// event resets it.
    pub fn failure_budget(mut self, budget: Duration) -> Self {
        self.settings.limits.failure_budget = budget;
        self
    }

    /// How long after the submission a 404 for the job is not final; 5 s unless set.
    pub fn not_found_grace(mut self, grace: Duration) -> Self {
        self.settings.limits.not_found_grace = grace;
        self
    }

    /// How long a wait with webhooks gives an event to name the job after the response to the submission was lost; 10 s unless set. After
    /// that it fails, unless the daemon supports idempotency keys. To such a daemon the submission is sent again, up to three times: after
    /// 250 ms, 2 s and this window, each up to half longer.
    pub fn lost_response_window(mut self, window: Duration) -> Self {
        self.settings.limits.lost_response_window = window;
        self
    }

    /// The timeout of the final poll at the deadline, counted from that poll. Unless set, it is a tenth of the deadline, at least
    /// 100 ms and at most 1 s. A wait ends at most that long after its deadline.
    pub fn final_poll_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.final_poll_timeout = Some(limit);
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for a deadline of zero.
    pub fn build(self) -> Result<WaitLayer<P>, Error> {
        if self.settings.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(Error::invalid("deadline", "must not be zero"));
        }
        Ok(self.finish())
    }

    fn finish(self) -> WaitLayer<P> {
        let Self { polls, settings } = self;
        WaitLayer { polls, deadline: settings.deadline, shared: Arc::new(Shared::new(settings)) }
    }
}
