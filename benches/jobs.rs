//! Whole jobs over real sockets: by webhook and by polling, next to what a bare exchange costs.
//!
//! `cargo bench --bench jobs`

#![expect(clippy::expect_used, reason = "a bench that cannot go on should end")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreman_client::daemon::{Daemon, Echo};
use foreman_client::{Client, SubmitRequest};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

const AT_ONCE: u64 = 64;

fn request() -> SubmitRequest {
    SubmitRequest::builder("echo").user("Why is the sky blue?").build().expect("it is valid")
}

fn jobs(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let daemon = runtime
        .block_on(Daemon::builder().backend(Echo::new()).workers(64).webhook_secret("secret").start())
        .expect("the daemon starts");
    let by_webhook = runtime
        .block_on(Client::builder(daemon.url()).webhook_secret("secret").build())
        .expect("a client that listens");
    let by_polling = runtime.block_on(Client::builder(daemon.url()).polling().build()).expect("a client that polls");

    let mut group = criterion.benchmark_group("jobs");
    group.measurement_time(Duration::from_secs(8)).sample_size(20);
    group.throughput(Throughput::Elements(AT_ONCE));
    for (name, client) in [("webhook", &by_webhook), ("polling", &by_polling)] {
        group.bench_function(format!("64 at once by {name}"), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                for result in join_all((0..AT_ONCE).map(|_| client.submit(request()))).await {
                    result.expect("the job finishes");
                }
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("one exchange (list models)", |bencher| {
        bencher.to_async(&runtime).iter(|| async { by_polling.models().await.expect("models") });
    });
    group.finish();
    runtime.block_on(daemon.shutdown());
}

criterion_group!(benches, jobs);
criterion_main!(benches);
