//! Many jobs through a default client: which source finishes them, how often it polls, what the receiver refuses.
//!
//! `cargo bench --bench waits` runs 100,000 jobs, 256 at a time, against an embedded daemon in the same process. `-- JOBS` sets another
//! number.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

use std::time::Duration;

use foreman_client::{BoxError, Client, SubmitRequest};
use foreman_daemon::{Daemon, Echo};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

const JOBS: u32 = 100_000;
const IN_FLIGHT: usize = 256;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let jobs = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(JOBS);
    for (delay, name) in [(0, "jobs without work"), (50, "jobs of 50 ms")] {
        // A job of 50 ms takes a worker for that time.
        let jobs = if delay == 0 { jobs } else { jobs / 10 };
        run(jobs, Duration::from_millis(delay), name).await?;
    }
    Ok(())
}

async fn run(jobs: u32, delay: Duration, name: &str) -> Result<(), BoxError> {
    let secret = "a secret that both sides know";
    let backend = Echo::new().delay(delay);
    let daemon = Daemon::builder().backend(backend).workers(IN_FLIGHT).webhook_secret(secret).start().await?;
    let client = Client::builder(daemon.url()).webhook_secret(secret).build().await?;
    let start = Instant::now();
    let mut results = stream::iter(0..jobs)
        .map(|_| {
            let client = client.clone();
            let submit = async move {
                let request = SubmitRequest::builder("echo").user("hi").build()?;
                client.submit(request).await
            };
            async { tokio::spawn(submit).await.expect("a wait does not panic") }
        })
        .buffer_unordered(IN_FLIGHT);
    while let Some(result) = results.next().await {
        result?.into_success()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    // For late events, and for the grace of missing ones.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let stats = client.stats();
    let (waits, webhooks) = (stats.waits, stats.webhooks);
    let share = |count: u64| 100.0 * count as f64 / f64::from(jobs);
    println!("{name}: {jobs} in {seconds:.1} s");
    println!(
        "  finished by webhook {:.1} %, by poll {:.1} %",
        share(waits.finished_by_webhook),
        share(waits.finished_by_poll)
    );
    println!(
        "  {:.0} polls a second, {:.2} for each job",
        waits.polls as f64 / seconds,
        waits.polls as f64 / f64::from(jobs)
    );
    println!(
        "  webhooks: {} refused, {} late, {} duplicate; {} missed",
        webhooks.refusals(),
        webhooks.late,
        webhooks.duplicates,
        waits.rescued
    );
    daemon.shutdown().await;
    Ok(())
}
