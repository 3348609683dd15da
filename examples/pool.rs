//! Three daemons of unequal speed in one pool, with one webhook listener. One daemon dies on the
//! way, while jobs run there.
//!
//! `cargo run --example pool` starts the daemons, submits jobs one after another, stops the second
//! daemon in the middle, and prints what became of each job. The jobs that the stopped daemon had
//! are lost with it, so they run again at the others, by `renew()`: the only way in which a job
//! runs a second time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use foreman_client::wait::WebhookEndpoint;
use foreman_client::{BoxError, Client, Error, JobResult, Pool, SubmitRequest};
use foreman_daemon::{Backend, Chat, Daemon, Echo};
use tokio::time::sleep;
use tower::ServiceBuilder;

const JOBS: usize = 120;
/// After so many jobs, the second daemon stops.
const DIES_AFTER: usize = 60;
/// How long a job takes at each daemon.
const TIMES: [u64; 3] = [20, 40, 80];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let executions = Arc::<AtomicUsize>::default();
    let (mut daemons, mut clients) = (Vec::new(), Vec::new());
    // For the events of all daemons. Each signs with a secret of its own.
    let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await?;
    for time in TIMES {
        let echo = Echo::new().delay(Duration::from_millis(time));
        let executions = Arc::clone(&executions);
        let counted = ServiceBuilder::new()
            .map_request(move |chat: Chat| {
                executions.fetch_add(1, Relaxed);
                chat
            })
            .service(echo);
        let secret = format!("the secret of the daemon with {time} ms a job");
        let daemon = Daemon::builder().backend(Backend::new(counted)).webhook_secret(&secret).start().await?;
        let client = Client::builder(daemon.url()).webhooks(webhooks.clone()).webhook_secret(secret);
        // After a second without a response to a poll, a wait gives up.
        clients.push(client.failure_budget(Duration::from_secs(1)).build().await?);
        daemons.push(Some(daemon));
    }
    let urls: Vec<String> = daemons.iter().flatten().map(Daemon::url).collect();
    assert!(clients.iter().all(|client| client.webhook_url() == Some(webhooks.public_url())));
    let pool = Pool::from_clients(clients)?;

    let mut jobs = Vec::new();
    for job in 0..JOBS {
        if job == DIES_AFTER
            && let Some(daemon) = daemons[1].take()
        {
            // It stops in the middle of a job.
            println!("{} stops with {} jobs accepted", urls[1], daemon.stats().accepted);
            daemon.shutdown().await;
        }
        jobs.push(tokio::spawn(run(pool.clone(), job)));
        sleep(Duration::from_millis(12)).await;
    }

    let (mut share, mut renewed) = (BTreeMap::<String, usize>::new(), 0);
    for (job, handle) in jobs.into_iter().enumerate() {
        let (result, again) = handle.await??;
        let result = result.into_success()?;
        assert_eq!(result.content().as_deref(), Some(&*format!("echo (this is no model): {job}")));
        *share.entry(result.daemon().unwrap_or_default().to_owned()).or_default() += 1;
        renewed += usize::from(again);
    }
    let (executions, stats) = (executions.load(Relaxed), pool.stats());

    for (url, time) in urls.iter().zip(TIMES) {
        println!("{url}, {time} ms a job: {} results", share.get(url).copied().unwrap_or_default());
    }
    println!("{JOBS} jobs, {executions} executions, {renewed} run again, {} moves", stats.moves);

    let events = webhooks.notifier().stats();
    println!("{} results by webhooks to {}", events.finished, webhooks.public_url());

    // Each event was signed with the secret of its own daemon.
    assert!(events.finished > 0 && events.refusals() == 0, "{events:?}");
    // Each job has one result. Only what the stopped daemon had begun ran twice.
    assert_eq!(share.values().sum::<usize>(), JOBS);
    assert!((JOBS..=JOBS + renewed).contains(&executions), "{executions} executions, {renewed} run again");
    // The fast daemon has the largest share, and the one that stopped still has its part.
    let share = |at: usize| share.get(&urls[at]).copied().unwrap_or_default();
    assert!(share(0) > share(2) && share(1) > 0 && share(2) > 0);
    // Jobs that were sent to the stopped daemon before the pool knew of it went on to another one.
    assert!(!stats.daemons[1].is_available);
    assert!(stats.moves >= 1);

    assert!(pool.shutdown(Duration::from_secs(1)).await.is_empty());
    for daemon in daemons.into_iter().flatten() {
        daemon.shutdown().await;
    }
    Ok(())
}

/// Runs one job. If its daemon is gone for good, it runs at another one. Returns whether it did.
async fn run(pool: Pool, job: usize) -> Result<(JobResult, bool), Error> {
    let request = SubmitRequest::builder("echo").user(job.to_string()).build()?;
    match pool.submit(request.clone()).await {
        Err(error) if error.is_daemon_gone() => {
            println!("job {job}: {error}");
            Ok((pool.submit(request.renew()).await?, true))
        }
        result => Ok((result?, false)),
    }
}
