//! The one error of this crate.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use uuid::Uuid;

use crate::{JobId, JobState};

/// The error that tower's layers box.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    arrival: Arrival,
    /// What was asked, such as `GET /jobs/7`.
    call: Option<String>,
    job_id: Option<JobId>,
    key: Option<Uuid>,
    last_state: Option<JobState>,
    waited: Option<Waited>,
    source: Option<BoxError>,
}

/// How long and how often a wait that was given up had asked.
#[derive(Debug, Clone, Copy)]
struct Waited {
    elapsed: Duration,
    polls: u32,
}

/// Whether the request whose failure this is reached the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It surely did not, or the daemon surely did nothing with it.
    Not,
    /// It may have.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Something given by the caller is wrong.
    Invalid { field: &'static str, why: Cow<'static, str> },
    /// No connection.
    Connect,
    /// The connection broke, or the answer was cut off.
    Transport,
    /// One HTTP exchange took too long; without a duration it was a `tower::timeout` that said so.
    Exchange(Option<Duration>),
    /// The deadline of a wait passed.
    Deadline(Duration),
    /// An answer with a status that means no.
    Status { status: StatusCode, reason: Option<String>, retry_after: Option<Duration> },
    /// An answer that cannot be understood.
    Answer(Cow<'static, str>),
    /// An answer over the limit, in bytes.
    TooLarge(usize),
    /// The daemon does not know the extension.
    Unsupported { what: &'static str, status: StatusCode },
    /// The listener for webhooks cannot have its address.
    Bind(SocketAddr),
    /// More jobs wait than the notifier allows.
    Capacity(usize),
    /// A layer sheds load.
    Overloaded,
    /// The answer to a submission was lost and nothing told what became of it.
    Lost,
    /// The job ran and failed.
    Failed(String),
    /// A service in the stack failed in a way this crate does not know.
    Service,
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

    pub(crate) fn answer(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Answer(why.into()))
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

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Takes an error out of the boxes that layers put it in, and gives a meaning to those that other crates made.
    ///
    /// With [`see`](Error::see), this is the only place where that is done: `tower::timeout`'s `Elapsed`, `tower::load_shed`'s
    /// `Overloaded`, hyper's and hyper-util's errors and `std::io`'s are known, wherever in the chain of sources they stand,
    /// and so is an `Error` that another layer has wrapped.
    #[must_use]
    pub fn from_boxed(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(other) => match find(other.as_ref()) {
                Some(found) => found.copied().with_source(other),
                None => Self::new(classify(other.as_ref())).with_source(other),
            },
        }
    }

    /// The same for an error that is only looked at.
    pub(crate) fn see<R>(error: &(dyn std::error::Error + 'static), look: impl FnOnce(&Self) -> R) -> R {
        match find(error) {
            Some(found) => look(found),
            None => look(&Self::new(classify(error))),
        }
    }

    /// All but the source, which cannot be copied.
    fn copied(&self) -> Self {
        let inner = &*self.0;
        Self(Box::new(Inner {
            kind: inner.kind.clone(),
            arrival: inner.arrival,
            call: inner.call.clone(),
            job_id: inner.job_id.clone(),
            key: inner.key,
            last_state: inner.last_state.clone(),
            waited: inner.waited,
            source: None,
        }))
    }
}

/// The first error of this crate in a chain.
fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What an error of another crate means, by the first one in the chain of sources that is known.
fn classify(error: &(dyn std::error::Error + 'static)) -> Kind {
    let mut transport = false;
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<tower::timeout::error::Elapsed>() {
            return Kind::Exchange(None);
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Kind::Overloaded;
        }
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            if error.is_connect() {
                return Kind::Connect;
            }
            transport = true;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            // hyper says "canceled" only of a request that it hands back before a byte of it was written.
            if error.is_canceled() {
                return Kind::Connect;
            }
            transport = true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
            match error.kind() {
                ConnectionRefused | AddrNotAvailable | HostUnreachable | NetworkUnreachable => return Kind::Connect,
                _ => transport = true,
            }
        }
        next = error.source();
    }
    if transport { Kind::Transport } else { Kind::Service }
}

impl Kind {
    fn arrival(&self) -> Arrival {
        match self {
            Self::Invalid { .. } | Self::Connect | Self::Bind(_) | Self::Capacity(_) | Self::Overloaded => Arrival::Not,
            // 408 and 409 may be said of a request that is being worked on; a 503 without Retry-After is what a proxy
            // says whose upstream went away in the middle.
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                408 | 409 => Arrival::Unknown,
                300..=499 => Arrival::Not,
                503 if retry_after.is_some() => Arrival::Not,
                _ => Arrival::Unknown,
            },
            Self::Unsupported { .. } => Arrival::Not,
            Self::Transport
            | Self::Exchange(_)
            | Self::Deadline(_)
            | Self::Answer(_)
            | Self::TooLarge(_)
            | Self::Lost
            | Self::Failed(_)
            | Self::Service => Arrival::Unknown,
        }
    }
}

/// What kind of error it is.
impl Error {
    /// Something the caller gave is wrong; nothing was sent. The message names the field.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.0.kind, Kind::Invalid { .. })
    }

    /// The request surely did nothing: it was invalid, no connection was made, a layer shed it, or the daemon refused it
    /// (any 4xx but 408 and 409, or 503 with `Retry-After`). No job can have come of it.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.0.arrival == Arrival::Not && self.0.job_id.is_none()
    }

    /// The submission may have reached the daemon, and no job id is known: a job may be running that nobody waits for.
    ///
    /// To find it, call again with a clone of the same [`SubmitRequest`](crate::SubmitRequest); to start afresh, with
    /// [`renew`](crate::SubmitRequest::renew).
    #[must_use]
    pub fn is_maybe_submitted(&self) -> bool {
        self.0.arrival == Arrival::Unknown && self.0.key.is_some() && self.0.job_id.is_none()
    }

    /// A deadline or a time-out passed, of one exchange or of the whole wait.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::Exchange(_) | Kind::Deadline(_))
    }

    /// The deadline of the wait passed ([`WaitLayer::deadline`](crate::Error)).
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.0.kind, Kind::Deadline(_))
    }

    /// No connection to the daemon could be made.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, Kind::Connect)
    }

    /// The daemon does not accept the token: 401 or 403. Check the token and whether it is allowed what was asked.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// The daemon does not know the job, or not any more: 404 or 410.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE))
            && !matches!(self.0.kind, Kind::Unsupported { .. })
    }

    /// The daemon refused the request for good: a 4xx that will be the same next time (so not 401, 403, 404, 408, 409, 410,
    /// 425 and 429).
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        match self.0.kind {
            Kind::Status { status, .. } => {
                status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 409 | 410 | 425 | 429)
            }
            _ => false,
        }
    }

    /// Too much is going on, here or at the daemon: 429, 503 with `Retry-After`, load shed by a layer, or as many waiting
    /// jobs as the notifier allows.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        match &self.0.kind {
            Kind::Status { status, retry_after, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || (*status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some())
            }
            Kind::Overloaded | Kind::Capacity(_) => true,
            _ => false,
        }
    }

    /// The daemon does not have what was asked for, such as cancelling or listing jobs.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0.kind, Kind::Unsupported { .. })
    }

    /// The daemon answered something that cannot be understood: not JSON, cut off, of the wrong type, too large, without a
    /// usable job id.
    #[must_use]
    pub fn is_bad_answer(&self) -> bool {
        matches!(self.0.kind, Kind::Answer(_) | Kind::TooLarge(_))
    }

    /// The job itself failed (see [`JobResult::into_success`](crate::JobResult::into_success)).
    #[must_use]
    pub fn is_job_failed(&self) -> bool {
        matches!(self.0.kind, Kind::Failed(_))
    }

    /// The cause may pass: the same call may succeed later. Whether repeating it can run a job twice is another question,
    /// answered by [`is_unsent`](Error::is_unsent); a clone of the same request is always safe.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.0.kind {
            Kind::Connect | Kind::Transport | Kind::Exchange(_) | Kind::Overloaded | Kind::Capacity(_) => true,
            Kind::Answer(_) | Kind::Lost => true,
            Kind::Status { status, .. } => {
                !status.is_client_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
            }
            Kind::Invalid { .. }
            | Kind::Deadline(_)
            | Kind::TooLarge(_)
            | Kind::Unsupported { .. }
            | Kind::Bind(_)
            | Kind::Failed(_)
            | Kind::Service => false,
        }
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
            Kind::Exchange(Some(limit)) => write!(f, "no complete answer within {limit:?}")?,
            Kind::Exchange(None) => f.write_str("timed out")?,
            Kind::Deadline(limit) => write!(f, "not finished within the deadline of {limit:?}")?,
            Kind::Status { status, reason: Some(reason), .. } => {
                write!(f, "the daemon answered {}: {reason}", status.as_u16())?;
            }
            Kind::Status { status, reason: None, .. } => write!(f, "the daemon answered {status}")?,
            Kind::Answer(why) => write!(f, "the daemon's answer cannot be used: {why}")?,
            Kind::TooLarge(limit) => write!(f, "the daemon's answer is larger than {limit} bytes")?,
            Kind::Unsupported { what, status } => {
                write!(f, "this daemon cannot {what} (it answered {})", status.as_u16())?;
            }
            Kind::Bind(address) => write!(f, "cannot listen for webhooks on {address}")?,
            Kind::Capacity(limit) => write!(f, "{limit} jobs are waiting already, the most that is allowed")?,
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
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self::from_boxed(error)
    }
}
