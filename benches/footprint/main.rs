//! What a waiting job costs: the size of its future, the bytes it has allocated, and the memory that is resident for it.
//!
//! `cargo bench --bench footprint`
#![expect(clippy::expect_used, reason = "a bench that cannot go on should end")]

mod measure;

use foreman_client::api::{Api, Transport};
use foreman_client::client::Jobs;
use foreman_client::retry::RetrySubmission;
use foreman_client::{BoxError, JobWait, SubmitRequest};
use tower::Service;
use tower::retry::Retry;

use self::measure::{TARGET, measure};

const JOBS: usize = 100_000;

type Default = JobWait<Retry<RetrySubmission, Api<Transport>>, Api<Transport>>;
/// So that the type above is the one of the default stack.
const _: fn(&mut Jobs, SubmitRequest) -> Default = |jobs, request| jobs.call(request);

fn main() -> Result<(), BoxError> {
    println!("a JobWait of the default stack: {} bytes", size_of::<Default>());
    let mut over = false;
    for (push, by) in [(true, "webhook"), (false, "polling")] {
        let (allocated, resident) = measure(JOBS, push)?;
        println!("a job that waits by {by}, of {JOBS}: {allocated} bytes allocated, {resident} bytes resident");
        over |= allocated >= TARGET;
    }
    if over { Err(format!("the target is under {TARGET} bytes").into()) } else { Ok(()) }
}
