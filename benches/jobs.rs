//! The overhead of a job on real sockets, by webhook and by polling, and of a single HTTP exchange for comparison. Client and
//! daemon share the machine. The echo backend of the daemon returns at once. The rate of polls is not limited.
//!
//! `cargo bench --bench jobs`
#![expect(clippy::expect_used, reason = "a bench panics on failure")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreman_client::source::PollPolicy;
use foreman_client::{Client, SubmitRequest};
use foreman_daemon::{Daemon, Echo};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const CONCURRENT: u64 = 64;

/// A daemon for one measurement. Late events of one measurement would disturb the next.
async fn daemon() -> Daemon {
    Daemon::builder()
        .backend(Echo::new())
        .workers(64)
        .webhook_secret("secret")
        .start()
        .await
        .expect("the daemon starts")
}

async fn submit(client: Client) {
    let request = SubmitRequest::builder("echo").user("Why is the sky blue?").build().expect("the request is valid");
    client.submit(request).await.expect("the job finishes");
}

fn jobs(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("jobs");
    group.measurement_time(Duration::from_secs(8)).sample_size(20);

    for source in ["webhook", "polling"] {
        let (daemon, client) = runtime.block_on(async {
            let daemon = daemon().await;
            // The default rate of polls, 200 a second, would be the result.
            let policy = PollPolicy::builder().max_rate(u32::MAX).build().expect("a valid policy");
            let builder = Client::builder(daemon.url()).poll_policy(policy);
            let builder = if source == "webhook" { builder.webhook_secret("secret") } else { builder.polling() };
            (daemon, builder.build().await.expect("a client"))
        });
        for concurrent in [1, CONCURRENT] {
            group.throughput(Throughput::Elements(concurrent));
            group.bench_function(format!("{concurrent} concurrent by {source}"), |bencher| {
                bencher.to_async(&runtime).iter(|| async {
                    let tasks: JoinSet<()> = (0..concurrent).map(|_| submit(client.clone())).collect();
                    tasks.join_all().await
                });
            });
        }
        runtime.block_on(daemon.shutdown());
    }

    let daemon = runtime.block_on(daemon());
    let client = runtime.block_on(Client::builder(daemon.url()).polling().build()).expect("a client");
    group.throughput(Throughput::Elements(1));
    group.bench_function("single exchange (list models)", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let client = client.clone();
            async {
                tokio::spawn(async move { client.models().await })
                    .await
                    .expect("the task completes")
                    .expect("the daemon lists models")
            }
        });
    });
    group.finish();
    runtime.block_on(daemon.shutdown());
}

criterion_group!(benches, jobs);
criterion_main!(benches);
