use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::BoxError;
use super::kind::{Arrival, Kind};
use crate::{DropPolicy, IdempotencyKey, JobHandle, JobId, JobState};
use foreman_protocol::{BaseUrl, HumanDuration};

/// The error of a call.
///
/// It is opaque; use its predicates. An error after the submission has the job id as soon as that was known
/// ([`job_id`](Error::job_id)), the idempotency key ([`idempotency_key`](Error::idempotency_key)), the last state seen
/// ([`last_state`](Error::last_state)), and whether a job may be running ([`may_be_running`](Error::may_be_running)): the caller
/// can always find the job.
///
/// A job that ran and failed is not an error but a [`JobResult`](crate::JobResult) with the state `failed`.
/// [`into_success`](crate::JobResult::into_success) turns it into one, for `?`.
///
/// `Display` is one lower-case phrase without the cause. The cause is in [`source`](std::error::Error::source). A clone has the same
/// cause.
#[derive(Clone)]
pub struct Error(pub(super) Box<Inner>);

#[derive(Clone)]
pub(super) struct Inner {
    pub(super) kind: Kind,
    pub(super) arrival: Arrival,
    /// The HTTP request, such as `GET http://127.0.0.1:8080/jobs/7`.
    pub(super) call: Option<String>,
    pub(super) job_id: Option<JobId>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) last_state: Option<JobState>,
    pub(super) daemon: Option<BaseUrl>,
    pub(super) waited: Option<Waited>,
    /// The daemon cannot be reached, and the call was made by a pool, which has others.
    pub(super) gone: bool,
    /// When the wait that failed has its deadline.
    pub(super) expires: Option<Instant>,
    /// What happens to the job when the last clone of its request is gone.
    pub(super) on_drop: DropPolicy,
    pub(super) source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// How long a wait lasted, and how often it polled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    pub(super) elapsed: Duration,
    pub(super) polls: u32,
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        let arrival = kind.arrival();
        Self(Box::new(Inner {
            kind,
            arrival,
            call: None,
            job_id: None,
            key: None,
            last_state: None,
            daemon: None,
            waited: None,
            gone: false,
            expires: None,
            on_drop: DropPolicy::Detach,
            source: None,
        }))
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid { field, reason: reason.into() })
    }

    pub(crate) fn response(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Response(reason.into()))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_call(mut self, call: impl Into<String>) -> Self {
        self.0.call.get_or_insert_with(|| call.into());
        self
    }

    pub(crate) fn with_job(
        mut self,
        job_id: Option<JobId>,
        key: Option<IdempotencyKey>,
        last_state: Option<JobState>,
    ) -> Self {
        let inner = &mut *self.0;
        inner.job_id = inner.job_id.take().or(job_id);
        inner.key = inner.key.take().or(key);
        inner.last_state = last_state.or(inner.last_state.take());
        self
    }

    pub(crate) fn with_daemon(mut self, daemon: Option<BaseUrl>) -> Self {
        self.0.daemon = self.0.daemon.take().or(daemon);
        self
    }

    /// The wait of a pool ended because it cannot reach the daemon that may have the job.
    pub(crate) fn with_daemon_gone(mut self) -> Self {
        self.0.gone = true;
        self
    }

    /// Nothing was sent, whatever the kind suggests.
    pub(crate) fn surely_unsent(mut self) -> Self {
        self.0.arrival = Arrival::Not;
        self
    }

    pub(crate) fn with_waited(mut self, elapsed: Duration, polls: u32) -> Self {
        self.0.waited = Some(Waited { elapsed, polls });
        self
    }

    pub(crate) fn with_expiry(mut self, expires: Option<Instant>) -> Self {
        self.0.expires = expires;
        self
    }

    /// When the wait that failed has its deadline. `None` without one, and for an error of another layer.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.0.expires
    }

    pub(crate) fn with_drop_policy(mut self, policy: DropPolicy) -> Self {
        self.0.on_drop = policy;
        self
    }

    /// An earlier attempt may have reached the daemon, whatever became of this one.
    pub(crate) fn may_have_arrived(mut self) -> Self {
        self.0.arrival = Arrival::Unknown;
        self
    }

    /// Whether it was made above the submission, by a layer that knows nothing of it: it has no key, no job and no HTTP request.
    fn is_of_a_layer(&self) -> bool {
        let inner = &*self.0;
        let anonymous = inner.key.is_none() && inner.job_id.is_none() && inner.call.is_none();
        anonymous
            && inner.arrival == Arrival::Unknown
            && matches!(inner.kind, Kind::RequestTimeout(_) | Kind::Transport | Kind::Service)
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }
}

/// # Facts
impl Error {
    /// The job id, if it was known. Store it to attach to the job later with [`Client::wait`](crate::Client::wait).
    #[must_use]
    pub fn job_id(&self) -> Option<&JobId> {
        self.0.job_id.as_ref()
    }

    /// The base URL of the daemon that the submission was sent to. `None` for an error before that, and for a
    /// [`WaitLayer`](crate::WaitLayer) that does not know its daemon. With several
    /// [addresses](crate::ClientBuilder::other_addresses) it is the first one, whichever has responded.
    #[must_use]
    pub fn daemon(&self) -> Option<&str> {
        self.0.daemon.as_ref().map(BaseUrl::as_str)
    }

    /// The job and its daemon, if both are known: to be stored, and to attach to the job later.
    #[must_use]
    pub fn job_handle(&self) -> Option<JobHandle> {
        Some(JobHandle::new(self.0.daemon.clone()?, self.0.job_id.clone()?))
    }

    /// The `Idempotency-Key` of the submission.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.0.key.as_ref()
    }

    /// The last state of the job that the client has seen.
    #[must_use]
    pub fn last_state(&self) -> Option<&JobState> {
        self.0.last_state.as_ref()
    }

    /// Whether a job may be queued or running at the daemon although this call has ended. `true` if that is not known.
    #[must_use]
    pub fn may_be_running(&self) -> bool {
        let inner = &*self.0;
        let known = inner.job_id.is_some() && !inner.last_state.as_ref().is_some_and(JobState::is_terminal);
        (known && !self.is_not_found() && !self.is_job_failed()) || self.is_maybe_submitted() || self.is_of_a_layer()
    }

    /// What happens to the job when the last clone of its request and the last wait are gone, if it may be running.
    /// [`DropPolicy::Detach`] for an error that is not of a wait.
    #[must_use]
    pub fn drop_policy(&self) -> DropPolicy {
        self.0.on_drop
    }

    /// The HTTP status of the response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.0.kind {
            Kind::Status { status, .. } | Kind::Unsupported { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The `error` field of the daemon's response, or of the failed job.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Status { reason, .. } => reason.as_deref(),
            Kind::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// How long the daemon asks the client to wait, from `Retry-After` (seconds or an HTTP date).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            Kind::Status { retry_after, .. } => retry_after,
            Kind::SlowDown(pause) => Some(pause),
            Kind::NoDaemon { pause, .. } => pause,
            _ => None,
        }
    }

    /// `Retry-After` of a response that asks the client to send less: 429 or 503.
    pub(crate) fn asked_pause(&self) -> Option<Duration> {
        match self.0.kind {
            Kind::Status {
                status: StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
                retry_after,
                ..
            } => retry_after,
            _ => None,
        }
    }

    /// How long the wait lasted. `None` if it did not poll.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.waited.map(|waited| waited.elapsed)
    }

    /// How many polls of the wait returned or failed. `None` if it did not poll.
    #[must_use]
    pub fn polls(&self) -> Option<u32> {
        self.0.waited.map(|waited| waited.polls)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(call) = &inner.call {
            write!(f, "{call}: ")?;
        }
        match &inner.kind {
            Kind::Invalid { field, reason } => write!(f, "invalid {field}: {reason}")?,
            Kind::Connect => f.write_str("cannot connect to the daemon")?,
            Kind::Transport => f.write_str("connection to the daemon lost")?,
            Kind::RequestTimeout(Some(limit)) => {
                write!(f, "no complete response within {}", HumanDuration(*limit))?;
            }
            Kind::RequestTimeout(None) => f.write_str("timed out")?,
            Kind::Deadline(limit) => {
                write!(f, "job not finished within the deadline of {}", HumanDuration(*limit))?;
            }
            Kind::Status { status, reason: Some(reason), .. } => {
                write!(f, "daemon returned {}: {reason}", status.as_u16())?;
            }
            Kind::Status { status, reason: None, .. } => write!(f, "daemon returned {status}")?,
            Kind::Response(reason) => write!(f, "unusable response from the daemon: {reason}")?,
            Kind::TooLarge(limit) => write!(f, "response from the daemon larger than {limit} bytes")?,
            Kind::Unsupported { feature, status } => {
                write!(f, "daemon does not support {feature} (it returned {})", status.as_u16())?;
            }
            Kind::Bind(address) => write!(f, "cannot bind the webhook listener to {address}")?,
            Kind::Capacity(limit) => write!(f, "webhook registry full (limit {limit})")?,
            Kind::Overloaded => f.write_str("overloaded")?,
            Kind::SlowDown(pause) => {
                write!(f, "daemon asked to retry after {}, which is after the deadline", HumanDuration(*pause))?;
            }
            Kind::ShuttingDown => f.write_str("shutting down")?,
            Kind::Abandoned => f.write_str("the last wait on the submission is gone")?,
            Kind::Lost => f.write_str("the outcome of the submission is not known; a job may be running")?,
            Kind::OtherDaemon => f.write_str("submission belongs to another daemon")?,
            Kind::NoDaemon { model, .. } => write!(f, "no daemon of the pool is available for model {model}")?,
            Kind::EmptyPool => f.write_str("the pool has no daemons")?,
            Kind::DaemonGone => f.write_str("the daemon that may have the job is not in the pool")?,
            Kind::Failed(reason) => write!(f, "job failed: {reason}")?,
            Kind::Service => f.write_str("a service in the stack failed")?,
        }
        if let (true, Some(daemon)) = (self.is_other_daemon() || self.is_daemon_gone(), &inner.daemon) {
            write!(f, ", {daemon}")?;
        }
        if let Some(id) = &inner.job_id {
            write!(f, " (job {id}")?;
            if let Some(state) = &inner.last_state {
                write!(f, ", last state {state}")?;
            }
            if let Some(Waited { elapsed, polls }) = inner.waited {
                write!(f, ", {polls} polls in {}", HumanDuration(elapsed))?;
            }
            f.write_str(match inner.on_drop {
                DropPolicy::Detach => "",
                DropPolicy::Cancel => ", cancelled when its request is dropped",
                DropPolicy::CancelIfQueued => ", cancelled when its request is dropped if it is queued",
            })?;
            f.write_str(")")?;
        }
        if self.is_daemon_gone() {
            f.write_str("; renew() would run it at another daemon")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, arrival, call, job_id, key, last_state, daemon, waited, gone, on_drop, source, expires: _ } =
            &*self.0;
        let mut shown = f.debug_struct("Error");
        shown.field("kind", kind).field("arrival", arrival);
        if *gone {
            shown.field("daemon_gone", gone);
        }
        if *on_drop != DropPolicy::Detach {
            shown.field("drop_policy", on_drop);
        }
        // Without the fields that are not known, since this is what a panic with an error prints.
        let known: [(&str, Option<&dyn fmt::Debug>); 7] = [
            ("call", call.as_ref().map(|it| it as _)),
            ("job_id", job_id.as_ref().map(|it| it as _)),
            ("idempotency_key", key.as_ref().map(|it| it as _)),
            ("last_state", last_state.as_ref().map(|it| it as _)),
            ("daemon", daemon.as_ref().map(|it| it as _)),
            ("waited", waited.as_ref().map(|it| it as _)),
            ("source", source.as_ref().map(|it| it as _)),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                shown.field(name, value);
            }
        }
        shown.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
