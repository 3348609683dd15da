use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use uuid::Uuid;

use super::BoxError;
use super::kind::{Arrival, Kind};
use crate::{JobId, JobState};

/// Why a call did not give what it was asked for.
///
/// It is opaque; ask it with the predicates. Every error raised after a submission was sent knows the job's id as far as it
/// was known ([`job_id`](Error::job_id)), the idempotency key ([`idempotency_key`](Error::idempotency_key)), the last state
/// seen and whether the job may still be running, so that the job is never lost with the call.
///
/// A job that ran and failed is not an error but a [`JobResult`](crate::JobResult) in state `failed`;
/// [`into_success`](crate::JobResult::into_success) makes it one for those who want `?`.
///
/// `Display` is one lower-case phrase without the cause; the cause is in [`source`](std::error::Error::source).
pub struct Error(pub(super) Box<Inner>);

pub(super) struct Inner {
    pub(super) kind: Kind,
    pub(super) arrival: Arrival,
    /// What was asked, such as `GET /jobs/7`.
    pub(super) call: Option<String>,
    pub(super) job_id: Option<JobId>,
    pub(super) key: Option<Uuid>,
    pub(super) last_state: Option<JobState>,
    pub(super) waited: Option<Waited>,
    pub(super) source: Option<BoxError>,
}

/// How long and how often a wait that was given up had asked.
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
            waited: None,
            source: None,
        }))
    }

    pub(crate) fn invalid(field: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid { field, why: why.into() })
    }

    pub(crate) fn response(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Response(why.into()))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_call(mut self, call: impl Into<String>) -> Self {
        self.0.call.get_or_insert_with(|| call.into());
        self
    }

    pub(crate) fn with_job(mut self, job_id: Option<JobId>, key: Option<Uuid>, last_state: Option<JobState>) -> Self {
        let inner = &mut *self.0;
        inner.job_id = inner.job_id.take().or(job_id);
        inner.key = inner.key.or(key);
        inner.last_state = last_state.or(inner.last_state.take());
        self
    }

    /// Says that nothing was sent, which the kind alone does not tell.
    pub(crate) fn surely_unsent(mut self) -> Self {
        self.0.arrival = Arrival::Not;
        self
    }

    pub(crate) fn with_waited(mut self, elapsed: Duration, polls: u32) -> Self {
        self.0.waited = Some(Waited { elapsed, polls });
        self
    }

    /// The request that this is about may have reached the daemon before, whatever became of this attempt.
    pub(crate) fn may_have_arrived(mut self) -> Self {
        self.0.arrival = Arrival::Unknown;
        self
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }
}

/// What it knows.
impl Error {
    /// The job that the error is about, as soon as its id was known. Persist it to attach later with
    /// [`Client::wait`](crate::Error).
    #[must_use]
    pub fn job_id(&self) -> Option<&JobId> {
        self.0.job_id.as_ref()
    }

    /// The `Idempotency-Key` of the submission that the error is about.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<Uuid> {
        self.0.key
    }

    /// The last state seen of the job.
    #[must_use]
    pub fn last_state(&self) -> Option<&JobState> {
        self.0.last_state.as_ref()
    }

    /// Whether a job may be running (or waiting to run) at the daemon although this call has ended.
    #[must_use]
    pub fn may_be_running(&self) -> bool {
        let known = self.0.job_id.is_some() && !self.0.last_state.as_ref().is_some_and(JobState::is_terminal);
        (known && !self.is_not_found() && !self.is_job_failed()) || self.is_maybe_submitted()
    }

    /// The HTTP status of the daemon's answer, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.0.kind {
            Kind::Status { status, .. } | Kind::Unsupported { status, .. } => Some(status),
            _ => None,
        }
    }

    /// What the daemon said, from the `error` field of its answer, or why the job failed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Status { reason, .. } => reason.as_deref(),
            Kind::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// How long the daemon asked to be left alone, from `Retry-After` (seconds or an HTTP date).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            Kind::Status { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    /// How long the wait had lasted when it was given up.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.waited.map(|waited| waited.elapsed)
    }

    /// How often the wait had asked for the state when it was given up.
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
            Kind::Invalid { field, why } => write!(f, "invalid {field}: {why}")?,
            Kind::Connect => f.write_str("cannot connect to the daemon")?,
            Kind::Transport => f.write_str("the exchange with the daemon broke off")?,
            Kind::RequestTimeout(Some(limit)) => write!(f, "no complete answer within {limit:?}")?,
            Kind::RequestTimeout(None) => f.write_str("timed out")?,
            Kind::Deadline(limit) => write!(f, "not finished within the deadline of {limit:?}")?,
            Kind::Status { status, reason: Some(reason), .. } => {
                write!(f, "the daemon answered {}: {reason}", status.as_u16())?;
            }
            Kind::Status { status, reason: None, .. } => write!(f, "the daemon answered {status}")?,
            Kind::Response(why) => write!(f, "the daemon's answer cannot be used: {why}")?,
            Kind::TooLarge(limit) => write!(f, "the daemon's answer is larger than {limit} bytes")?,
            Kind::Unsupported { what, status } => {
                write!(f, "this daemon cannot {what} (it answered {})", status.as_u16())?;
            }
            Kind::Bind(address) => write!(f, "cannot listen for webhooks on {address}")?,
            Kind::Capacity(limit) => write!(f, "as many jobs wait for events as are allowed: {limit}")?,
            Kind::Overloaded => f.write_str("overloaded")?,
            Kind::Lost => f.write_str("the answer to the submission was lost, and whether a job runs is not known")?,
            Kind::Failed(reason) => write!(f, "the job failed: {reason}")?,
            Kind::Service => f.write_str("a service in the stack failed")?,
        }
        if let Some(id) = &inner.job_id {
            write!(f, " (job {id}")?;
            if let Some(state) = &inner.last_state {
                write!(f, ", last seen {state}")?;
            }
            if let Some(Waited { elapsed, polls }) = inner.waited {
                write!(f, ", asked {polls} times in {elapsed:?}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, arrival, call, job_id, key, last_state, waited, source } = &*self.0;
        let mut shown = f.debug_struct("Error");
        shown.field("kind", kind).field("arrival", arrival);
        // Only what is known: an error is printed like this where nobody has handled it.
        let known: [(&str, Option<&dyn fmt::Debug>); 6] = [
            ("call", call.as_ref().map(|it| it as _)),
            ("job_id", job_id.as_ref().map(|it| it as _)),
            ("idempotency_key", key.as_ref().map(|it| it as _)),
            ("last_state", last_state.as_ref().map(|it| it as _)),
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
