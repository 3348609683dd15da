//! Submits a chat and waits for it, with webhooks and then without. Prints each state of the
//! job.
//!
//! `cargo run --example quickstart` starts a daemon of its own, whose backend echoes the prompt.
//! With `FOREMAN_URL` (and optionally `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`) it uses that
//! daemon and the first model that it lists.

use std::env::var;
use std::time::Duration;

use foreman_client::{BoxError, Client, ClientBuilder, JobState, SubmitRequest, Via};
use foreman_daemon::{Daemon, Echo};
use futures_util::TryStreamExt;
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = var("FOREMAN_WEBHOOK_SECRET").unwrap_or_else(|_| "a shared secret".to_owned());
    let echo = Echo::new().delay(Duration::from_millis(300));
    let daemon = match var("FOREMAN_URL") {
        Ok(_) => None,
        Err(_) => Some(Daemon::builder().backend(echo).webhook_secret(&secret).start().await?),
    };
    let url = daemon.as_ref().map_or_else(|| var("FOREMAN_URL"), |daemon| Ok(daemon.url()))?;
    let builder = |url: &str| match var("FOREMAN_TOKEN") {
        Ok(token) => Client::builder(url).token(token),
        Err(_) => Client::builder(url),
    };

    println!("with webhooks:");
    let sources = submit(builder(&url).webhook_secret(secret)).await?;
    // Before the first webhook has come, the event stream of the daemon may be faster.
    assert!(daemon.is_none() || sources.iter().any(|source| *source != Via::Poll));
    println!("without webhooks:");
    let sources = submit(builder(&url).polling()).await?;
    assert!(!sources.contains(&Via::Webhook));

    if let Some(daemon) = daemon {
        daemon.shutdown().await;
    }
    Ok(())
}

/// Submits a chat and prints its states and result. Returns the source of each state.
async fn submit(builder: ClientBuilder) -> Result<Vec<Via>, BoxError> {
    let client = builder.build().await?;
    let models = client.models().await?;
    let model = models.first().ok_or("the daemon lists no model")?;
    let request = SubmitRequest::builder(&model.name).user("Why is the sky blue?").build()?;

    let (start, states) = (Instant::now(), request.submission().states());
    let changes = states.inspect_ok(|change| {
        println!("  {:>6.1?}  {:<8} by {}", start.elapsed(), change.state, change.via);
    });
    let (result, changes) = tokio::join!(client.submit(request), changes.try_collect::<Vec<_>>());

    let (result, changes) = (result?, changes?);
    let result = result.into_success()?;
    println!("  {}", result.content().ok_or("the result has no text")?);
    assert_eq!(changes.last().map(|last| &last.state), Some(&JobState::Done));
    Ok(changes.into_iter().map(|change| change.via).collect())
}
