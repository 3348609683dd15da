//! The memory of a waiting job: the size of its future, its allocated bytes and its resident bytes.
//!
//! `cargo bench --bench footprint`
#![expect(clippy::expect_used, reason = "a bench panics on failure")]

mod measure;

use foreman_client::api::{Api, Transport};
use foreman_client::client::Jobs;
use foreman_client::retry::RetrySubmission;
use foreman_client::{BoxError, JobWait, SubmitRequest};
use tower::Service;
use tower::retry::Retry;

use self::measure::{TARGET, measure};

const JOBS: usize = 100_000;

type DefaultWait = JobWait<Retry<RetrySubmission, Api<Transport>>, Api<Transport>>;
/// Asserts that the type above is the future of the default stack.
const _: fn(&mut Jobs, SubmitRequest) -> DefaultWait = |jobs, request| jobs.call(request);

fn main() -> Result<(), BoxError> {
    println!("JobWait of the default stack: {} bytes", size_of::<DefaultWait>());
    let mut over_target = false;
    for (webhooks, source) in [(true, "webhook"), (false, "polling")] {
        let (allocated, resident) = measure(JOBS, webhooks)?;
        println!("waiting job by {source}, {JOBS} jobs: {allocated} bytes allocated, {resident} bytes resident");
        over_target |= allocated >= TARGET;
    }
    if over_target { Err(format!("target exceeded: {TARGET} bytes allocated per job").into()) } else { Ok(()) }
}
