//! For servers written with tonic (feature `tonic`).
//!
//! - [`Error`](crate::Error) becomes a `tonic::Status` by the table in [`crate::error`], with the job's id in its
//!   [metadata](JOB_ID): methods return `Result<_, Status>` and use `?`.
//! - [`deadline`] reads the caller's `grpc-timeout`, for [`Wait::with_deadline`](crate::Wait::with_deadline), so that the wait
//!   ends in time to say which job goes on.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::tonic::deadline;
//! use foreman_client::{Client, SubmitRequest};
//! use tonic::{Request, Response, Status};
//! use tower::ServiceExt;
//!
//! async fn chat(client: &Client, request: Request<String>) -> Result<Response<String>, Status> {
//!     let jobs = client.jobs().with_deadline(deadline(request.metadata()));
//!     let submission = SubmitRequest::builder("echo").user(request.into_inner()).build()?;
//!     let result = jobs.oneshot(submission).await?.into_success()?;
//!     Ok(Response::new(result.content().unwrap_or_default().into_owned()))
//! }
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//! # let answer = chat(&client, Request::new("hi".to_owned())).await?;
//! # assert!(answer.get_ref().contains("hi"));
//! # Ok(()) }
//! ```
//!
//! `examples/gateway_tonic` is a whole gateway, with limits, a stream of states and a stop.

use std::time::Duration;

use ::tonic::metadata::MetadataMap;

pub use crate::error::grpc::{IDEMPOTENCY_KEY, JOB_ID, LAST_STATE, MAY_BE_RUNNING, PUSHBACK};

/// What is kept back of the caller's time, so that the answer gets there before the caller gives up: a tenth, at most 1 s.
const MARGIN: u32 = 10;

/// The time the caller gives (`grpc-timeout`), less a tenth (at most 1 s) in which the answer travels. `None` without one, or
/// with one that cannot be read.
#[must_use]
pub fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let timeout = parse(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    let margin = (timeout / MARGIN).min(Duration::from_secs(1));
    Some(timeout.saturating_sub(margin).max(Duration::from_millis(1)))
}

/// At most eight digits and a unit, as the gRPC protocol has it.
fn parse(value: &str) -> Option<Duration> {
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
    fn the_callers_time_is_read_as_the_protocol_has_it() {
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
            assert_eq!(parse(value), expected, "{value}");
        }
    }

    #[test]
    fn a_tenth_is_kept_back_and_never_more_than_a_second() {
        let given = |value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().unwrap());
            deadline(&metadata)
        };
        assert_eq!(given("1S"), Some(Duration::from_millis(900)));
        assert_eq!(given("1M"), Some(Duration::from_secs(59)));
        assert_eq!(given("0S"), Some(Duration::from_millis(1)));
        assert_eq!(deadline(&MetadataMap::new()), None);
    }
}
