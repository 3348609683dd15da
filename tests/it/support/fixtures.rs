//! The values that most tests use.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use foreman_client::{JobId, SubmitRequest};
use tokio::net::TcpListener;

/// The webhook secret.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// The user's message in [`request`].
pub(crate) const PROMPT: &str = "hi";

/// A request that is a submission of its own. The embedded daemon runs any model.
pub(crate) fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user(PROMPT).build().unwrap()
}

pub(crate) fn job_id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A job as polls and events report it. A job that is done has `content` as its result.
pub(crate) fn job_json(job: &str, state: &str, content: &str) -> String {
    let attempt = u8::from(state != "queued");
    let result = match state {
        "done" => format!(r#"{{"message":{{"content":"{content}"}}}}"#),
        _ => "null".to_owned(),
    };
    format!(r#"{{"job_id":"{job}","state":"{state}","attempt":{attempt},"result":{result}}}"#)
}

/// The text of an error and of each of its causes.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", error_chain(cause)),
        None => error.to_string(),
    }
}

/// A loopback address that refuses connections.
pub(crate) async fn unbound_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
