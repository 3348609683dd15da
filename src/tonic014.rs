//! Integration with tonic 0.14 (feature `tonic014`).
//!
//! A gRPC method that waits for a job can fail while the job goes on. The caller then needs the id of the job, and an
//! ordinary status does not contain it. If the caller's timeout elapses first, the caller gets no response at all. This
//! module solves both problems:
//!
//! - [`Error`](crate::Error) converts into a `tonic::Status`; see the table in [`crate::error`]. The metadata contains
//!   the [job id](JOB_ID) if it is known, so that the caller can wait for the job again. Methods return
//!   `Result<_, Status>` and use `?`.
//! - [`deadline`] reads the timeout of the caller, for [`Wait::with_deadline`](crate::Wait::with_deadline). The wait
//!   then ends before the caller's timeout does, with an error that has the job id.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::tonic014::deadline;
//! use foreman_client::{Client, SubmitRequest};
//! use tonic::{Request, Response, Status};
//! use tower::ServiceExt;
//!
//! async fn chat(
//!     client: &Client,
//!     request: Request<String>,
//! ) -> Result<Response<String>, Status> {
//!     let deadline = deadline(request.metadata());
//!     let jobs = client.jobs().with_deadline(deadline);
//!     let submission = SubmitRequest::builder("echo")
//!         .user(request.into_inner())
//!         .build()?;
//!     let result = jobs.oneshot(submission).await?.into_success()?;
//!     Ok(Response::new(result.content().unwrap_or_default().into_owned()))
//! }
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//! # let response = chat(&client, Request::new("hi".to_owned())).await?;
//! # assert!(response.get_ref().contains("hi"));
//! # Ok(()) }
//! ```
//!
//! A server can have a maximum of its own for callers that give no timeout, or a long one:
//!
//! ```
//! use std::time::Duration;
//!
//! use foreman_client::tonic014::deadline;
//! use tonic::metadata::MetadataMap;
//!
//! const MAX: Duration = Duration::from_secs(600);
//!
//! let mut metadata = MetadataMap::new();
//! metadata.insert("grpc-timeout", "10S".parse().unwrap());
//! assert_eq!(deadline(&metadata).unwrap_or(MAX).min(MAX).as_secs(), 8);
//! assert_eq!(deadline(&MetadataMap::new()).unwrap_or(MAX).min(MAX), MAX);
//! ```
//!
//! # Example: logging the causes
//!
//! Neither the message nor the metadata contains the causes and the address of
//! the daemon: they are not for callers. The source of the status is the
//! [`Error`](crate::Error), with its chain of sources. tonic does not send it, and
//! puts the status into the extensions of the response. A layer logs it for all
//! methods:
//!
//! ```
//! use std::error::Error as _;
//!
//! use foreman_client::Error;
//! use tonic::Status;
//! use tonic::transport::Server;
//! use tower::util::MapResponseLayer;
//!
//! fn log_error<B>(response: http::Response<B>) -> http::Response<B> {
//!     let status = response.extensions().get::<Status>();
//!     let source = status.and_then(Status::source);
//!     if let Some(error) = source.and_then(|it| it.downcast_ref::<Error>()) {
//!         tracing::warn!(
//!             job_id = error.job_id().map(AsRef::<str>::as_ref),
//!             // As a `dyn Error`, so that its sources are logged too.
//!             error = error as &dyn std::error::Error,
//!             "request failed",
//!         );
//!     }
//!     response
//! }
//!
//! let server = Server::builder()
//!     .layer(MapResponseLayer::new(log_error::<tonic::body::Body>));
//! # let _ = server;
//! # let cause = std::io::Error::other("no route to the daemon");
//! # let status = Status::from(Error::from_boxed(cause.into()));
//! # let source = status.source().unwrap();
//! # assert!(source.is::<Error>() && source.source().is_some());
//! # let response = log_error(status.into_http::<()>());
//! # assert!(response.extensions().get::<Status>().unwrap().source().is_some());
//! ```
//!
//! An error after the first message of a stream comes with the trailers, which no
//! layer sees as a status: log it in the method.
//!
//! `examples/gateway_tonic` is a complete gateway.
//!
//! # What not to do
//!
//! - Do not use a `tower::timeout::Timeout` outside the wait in place of [`deadline`]. Its error does not contain the
//!   job id.
//! - Do not submit a new request after an error with [`MAY_BE_RUNNING`]. Wait for the job with [`JOB_ID`] instead.
//!   Otherwise the job may run twice.

use std::time::Duration;

use tonic::metadata::MetadataMap;

pub use crate::error::grpc::{IDEMPOTENCY_KEY, JOB_ID, LAST_STATE, MAY_BE_RUNNING, PUSHBACK};

/// The margin for the response is the caller's timeout divided by this, up to [`MAX_MARGIN`].
const MARGIN_DIVISOR: u32 = 5;

const MAX_MARGIN: Duration = Duration::from_secs(2);

/// Returns the deadline for a wait, from the timeout of the caller.
///
/// The result is the value of `grpc-timeout` less a margin, and at least 1 ms. The margin is a fifth of the timeout, at
/// most 2 s. It is the time for the last poll, and for the response to reach the caller.
///
/// Returns `None` if the header is missing, or is not one to eight digits and a unit (`H`, `M`, `S`, `m`, `u` or `n`),
/// which is the format that [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) defines.
#[must_use]
pub fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let timeout = parse_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    let margin = (timeout / MARGIN_DIVISOR).min(MAX_MARGIN);
    Some(timeout.saturating_sub(margin).max(Duration::from_millis(1)))
}

/// Parses the value of `grpc-timeout`.
fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_grpc_format() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("10S", Some(Duration::from_secs(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("10", None),
            ("10s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("123456789S", None),
            ("10ä", None),
        ] {
            assert_eq!(parse_timeout(value), expected, "{value}");
        }
    }

    #[test]
    fn margin_is_a_fifth_up_to_two_seconds() {
        let deadline_of = |value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().unwrap());
            deadline(&metadata)
        };
        assert_eq!(deadline_of("1S"), Some(Duration::from_millis(800)));
        assert_eq!(deadline_of("1M"), Some(Duration::from_secs(58)));
        assert_eq!(deadline_of("0S"), Some(Duration::from_millis(1)));
        assert_eq!(deadline(&MetadataMap::new()), None);
    }
}
