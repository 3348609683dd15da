use foreman_client::retry::Reattach;
use foreman_client::wait::JobErrorsLayer;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, Error, JobResult, Notifier, SubmitRequest};
use stats_alloc::Region;
use tower::{Service, ServiceBuilder, ServiceExt as _};

use super::ALLOCATOR;
use super::support::figures::{Figure, Target};
use super::support::in_memory::InMemory;
use super::support::process::cpu_time;
use super::support::rounds::{median, nanos_each};
use super::support::{SECRET, quick};

const BATCH: usize = 5_000;

/// A batch of calls.
pub(super) struct Calls {
    /// Processor time of each call, in nanoseconds.
    pub(super) nanos: f64,
    /// Allocations of each call.
    pub(super) allocations: f64,
}

pub(super) async fn measure() -> Result<(), BoxError> {
    let notifier = Notifier::new();
    let daemon = InMemory::default();
    daemon.finish_at_once(WebhookReceiver::builder(notifier.clone()).secret(SECRET).build()?);
    let client = Client::builder("http://daemon.example")
        .notifier(notifier)
        .public_url("http://here.example/foreman")
        .build_with(daemon)
        .await?;
    let wait = client.jobs();
    let stack = ServiceBuilder::new()
        .layer(JobErrorsLayer::new())
        .load_shed()
        .concurrency_limit(256)
        .retry(Reattach::default())
        .service(client.jobs());
    let (mut alone, mut layered) = (Vec::new(), Vec::new());
    for round in 0..if quick() { 3 } else { 61 } {
        // Each comes first in half of the rounds.
        if round % 2 == 0 {
            alone.push(calls(&wait).await?);
            layered.push(calls(&stack).await?);
        } else {
            layered.push(calls(&stack).await?);
            alone.push(calls(&wait).await?);
        }
    }
    let nanos = |calls: &[Calls]| median(calls.iter().map(|calls| calls.nanos).collect());
    // The growth of a table now and then is not part of a call.
    let allocations =
        |calls: &[Calls]| calls.iter().map(|calls| calls.allocations).fold(f64::INFINITY, f64::min).round();
    let added = median(layered.iter().zip(&alone).map(|(layered, alone)| layered.nanos - alone.nanos).collect());
    Figure::new("call through the stack, beside the wait alone", nanos(&layered), "ns")
        .beside(nanos(&alone))
        .record()?;
    Figure::new("time that the stack adds to a call", added, "ns").target(Target::Value(1_000.0)).record()?;
    let added = allocations(&layered) - allocations(&alone);
    Figure::new("allocations that the stack adds to a call", added, "allocations").target(Target::Value(0.0)).record()
}

pub(super) async fn calls<S>(service: &S) -> Result<Calls, BoxError>
where
    S: Service<SubmitRequest, Response = JobResult, Error = Error> + Clone,
{
    let requests: Result<Vec<_>, _> =
        (0..BATCH).map(|_| SubmitRequest::builder("m").user("Why is the sky blue?").build()).collect();
    let requests = requests?;
    let (region, start) = (Region::new(ALLOCATOR), cpu_time());
    for request in requests {
        service.clone().oneshot(request).await?;
    }
    let (elapsed, change) = (cpu_time() - start, region.change());
    let allocations = (change.allocations + change.reallocations) as f64 / BATCH as f64;
    Ok(Calls { nanos: nanos_each(elapsed, BATCH), allocations })
}
