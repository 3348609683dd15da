//! The error type of this crate, and the HTTP response or gRPC status that a server returns for it.
//!
//! An [`Error`] is opaque; its predicates say what happened. The question that matters most after a failed submission is whether
//! a job may be running: [`Error::may_be_running`]. It is `true` wherever that is not known.
//!
//! # As an HTTP response (feature `axum08`)
//!
//! `IntoResponse` returns problem details (RFC 9457, `application/problem+json`) with the members `job_id`, `idempotency_key`,
//! `last_state` and `may_be_running`, and the header `foreman-job-id`. They contain neither the address of the daemon nor the
//! sources of the error. The extensions of the response contain the `Error` itself, so that a middleware can log it; see the
//! module `axum08`.
//!
//! | error | status | `Retry-After` |
//! |---|---|---|
//! | invalid request ([`is_invalid`](Error::is_invalid)), or the daemon returned 400 | 400 | |
//! | the daemon rejected the request ([`is_rejected`](Error::is_rejected)) | 422 | |
//! | unknown job ([`is_not_found`](Error::is_not_found)) | 404 | |
//! | the daemon returned 409 | 409 | |
//! | the daemon returned 429 | 429 | the daemon's, else 1 s |
//! | the daemon returned 503 with `Retry-After`, a layer shed load, the webhook registry is full, no daemon of a pool is available | 503 | the daemon's, else 1 s |
//! | this process shuts down ([`is_shutting_down`](Error::is_shutting_down)), and nothing was submitted | 503 | 1 s |
//! | this process shuts down, and the job goes on | 504 | |
//! | the daemon does not support it ([`is_unsupported`](Error::is_unsupported)) | 501 | |
//! | a deadline or timeout passed ([`is_timeout`](Error::is_timeout)) | 504 | |
//! | the daemon is unreachable, failed, sent an unusable response, or did not accept the token | 502 | the daemon's, if any |
//! | the daemon returned 429 or 503 to a poll of a job that may be running | 502 | the daemon's, if any |
//! | the daemon that may have the job is not in the pool ([`is_daemon_gone`](Error::is_daemon_gone)) | 502 | |
//! | the job failed ([`is_job_failed`](Error::is_job_failed)) | 502 | |
//!
//! A 429 or 503 to a poll becomes a 502, because many HTTP clients repeat a request after a 429 or 503, and that would submit another
//! job.
//!
//! # As a gRPC status (feature `tonic014`)
//!
//! `From<Error> for tonic::Status`. The metadata contains `foreman-job-id`, `foreman-idempotency-key`, `foreman-last-state`,
//! `foreman-may-be-running`, and `grpc-retry-pushback-ms` where the table above has a `Retry-After`. gRPC clients may repeat a
//! call after `UNAVAILABLE`, so that code is returned only where a repeat cannot run a job twice. The source of the status is the
//! `Error`. tonic does not send it, so that a layer can log it; see the module `tonic014`.
//!
//! | error | code |
//! |---|---|
//! | invalid request, or the daemon rejected it | `INVALID_ARGUMENT` |
//! | unknown job | `NOT_FOUND` |
//! | the daemon returned 409 | `FAILED_PRECONDITION` |
//! | the daemon returned 429 | `RESOURCE_EXHAUSTED` |
//! | the daemon returned 503 with `Retry-After`, a layer shed load, the webhook registry is full, no daemon of a pool is available | `UNAVAILABLE` |
//! | this process shuts down, and nothing was submitted | `UNAVAILABLE` |
//! | this process shuts down, and the job goes on | `CANCELLED` |
//! | the daemon is unreachable ([`is_connect`](Error::is_connect)), and no job may be running | `UNAVAILABLE` |
//! | the daemon does not support it | `UNIMPLEMENTED` |
//! | a deadline or timeout passed | `DEADLINE_EXCEEDED` |
//! | the daemon failed, sent an unusable response, did not accept the token, or is not in the pool | `UNKNOWN` |
//! | the daemon returned 429 or 503 to a poll, or is unreachable, while a job may be running | `UNKNOWN` |
//! | the job failed | `ABORTED` |

#[cfg(any(feature = "axum08", feature = "tonic014"))]
mod class;
mod classify;
#[cfg(feature = "tonic014")]
pub(crate) mod grpc;
mod kind;
mod opaque;
mod predicates;
#[cfg(feature = "axum08")]
pub(crate) mod problem;

#[doc(inline)]
pub use foreman_protocol::InvalidValue;

pub(crate) use self::kind::{Kind, MAX_RETRY_AFTER};
pub use self::opaque::Error;

/// The boxed error of tower's layers.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
