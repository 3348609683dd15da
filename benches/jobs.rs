//! Whole jobs over real sockets, by webhook and by polling, next to what a bare exchange costs. Client and daemon share the
//! machine, and the daemon's echo takes no time: what is measured is everything around a job.
//!
//! `cargo bench --bench jobs`
#![expect(clippy::expect_used, reason = "a bench that cannot go on should end")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreman_client::{Client, SubmitRequest};
use foreman_daemon::{Daemon, Echo};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const AT_ONCE: u64 = 64;

/// A daemon of its own for each measurement, since what one leaves behind (events of jobs that are over) would be in the next.
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
    let request = SubmitRequest::builder("echo").user("Why is the sky blue?").build().expect("it is valid");
    client.submit(request).await.expect("the job finishes");
}

fn jobs(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("jobs");
    group.measurement_time(Duration::from_secs(8)).sample_size(20);

    for by in ["webhook", "polling"] {
        let (daemon, client) = runtime.block_on(async {
            let daemon = daemon().await;
            let builder = Client::builder(daemon.url());
            let builder = if by == "webhook" { builder.webhook_secret("secret") } else { builder.polling() };
            (daemon, builder.build().await.expect("a client"))
        });
        for at_once in [1, AT_ONCE] {
            group.throughput(Throughput::Elements(at_once));
            group.bench_function(format!("{at_once} at once by {by}"), |bencher| {
                bencher.to_async(&runtime).iter(|| async {
                    let tasks: JoinSet<()> = (0..at_once).map(|_| submit(client.clone())).collect();
                    tasks.join_all().await
                });
            });
        }
        runtime.block_on(daemon.shutdown());
    }

    let daemon = runtime.block_on(daemon());
    let client = runtime.block_on(Client::builder(daemon.url()).polling().build()).expect("a client");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one exchange (list models)", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let client = client.clone();
            async { tokio::spawn(async move { client.models().await }).await.expect("it ends").expect("models") }
        });
    });
    group.finish();
    runtime.block_on(daemon.shutdown());
}

criterion_group!(benches, jobs);
criterion_main!(benches);
