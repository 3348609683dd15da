//! The one error of this crate, and what it means to those behind a server of yours.
//!
//! [`Error`] is opaque: ask it with its predicates. The tables say what a server answers that hands it on.
//!
//! # As an HTTP response (feature `axum`)
//!
//! `IntoResponse` makes it problem details (RFC 9457, `application/problem+json`) with the members `job_id`, `idempotency_key`,
//! `last_state` and `may_be_running`. The daemon's address and the error's sources are not in it.
//!
//! | the error | status | `Retry-After` |
//! |---|---|---|
//! | the request is invalid ([`is_invalid`](Error::is_invalid)), or the daemon answered 400 | 400 | |
//! | the daemon refused the request for good ([`is_rejected`](Error::is_rejected)) | 422 | |
//! | the daemon does not know the job ([`is_not_found`](Error::is_not_found)) | 404 | |
//! | the daemon answered 409 | 409 | |
//! | the daemon answered 429 | 429 | its own, else 1 s |
//! | the daemon answered 503 with `Retry-After`, a layer shed load, too many jobs wait | 503 | its own, else 1 s |
//! | the daemon cannot do it ([`is_unsupported`](Error::is_unsupported)) | 501 | |
//! | a deadline or a time-out passed ([`is_timeout`](Error::is_timeout)) | 504 | |
//! | the daemon cannot be reached, failed, answered nonsense, or does not accept the token | 502 | its own, if any |
//! | the daemon answered 429 or 503 to a poll of a job that may be running: the same again would be another job | 502 | its own, if any |
//! | the job failed ([`is_job_failed`](Error::is_job_failed)) | 502 | |
//!
//! # As a gRPC status (feature `tonic`)
//!
//! `From<Error> for tonic::Status`; the metadata holds `foreman-job-id`, `foreman-idempotency-key`, `foreman-last-state`,
//! `foreman-may-be-running`, and `grpc-retry-pushback-ms` where the table above has a `Retry-After`. `UNAVAILABLE`, which gRPC
//! clients may repeat by themselves, is said only where repeating cannot run a job twice.
//!
//! | the error | code |
//! |---|---|
//! | the request is invalid, or the daemon refused it for good | `INVALID_ARGUMENT` |
//! | the daemon does not know the job | `NOT_FOUND` |
//! | the daemon answered 409 | `FAILED_PRECONDITION` |
//! | the daemon answered 429 | `RESOURCE_EXHAUSTED` |
//! | the daemon answered 503 with `Retry-After`, a layer shed load, too many jobs wait | `UNAVAILABLE` |
//! | the daemon cannot be reached ([`is_connect`](Error::is_connect)), and no job may be running | `UNAVAILABLE` |
//! | the daemon cannot do it | `UNIMPLEMENTED` |
//! | a deadline or a time-out passed | `DEADLINE_EXCEEDED` |
//! | the daemon failed, answered nonsense, or does not accept the token | `UNKNOWN` |
//! | the daemon answered 429 or 503 to a poll, or cannot be reached, while a job may be running | `UNKNOWN` |
//! | the job failed | `ABORTED` |

mod boxed;

#[cfg(feature = "tonic")]
pub(crate) mod grpc;
mod kind;
#[cfg(any(feature = "axum", feature = "tonic"))]
mod meaning;
mod opaque;
mod predicates;
#[cfg(feature = "axum")]
mod problem;

#[doc(inline)]
pub use foreman_protocol::InvalidValue;

pub(crate) use self::kind::Kind;
pub use self::opaque::Error;

/// The error that tower's layers box.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
