//! Submits a chat and waits for it, by webhook and then by polling only, and tells each state as it comes.
//!
//! `cargo run --example quickstart` starts a daemon of its own, whose echo backend is no model. With `FOREMAN_URL` (and perhaps
//! `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`) set, it uses that daemon and the first model it lists.

use std::env::var;
use std::time::Duration;

use foreman_client::{BoxError, Client, ClientBuilder, JobState, SubmitRequest, Via};
use foreman_daemon::{Daemon, Echo};
use futures_util::StreamExt;
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = var("FOREMAN_WEBHOOK_SECRET").unwrap_or_else(|_| "a secret that both sides know".to_owned());
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

    println!("by webhook:");
    ask(builder(&url).webhook_secret(secret)).await?;
    println!("by polling only:");
    let told = ask(builder(&url).polling()).await?;
    assert!(told.iter().all(|via| *via == Via::Poll));

    if let Some(daemon) = daemon {
        daemon.shutdown().await;
    }
    Ok(())
}

/// Submits a chat, prints what comes of it, and gives back what told of each state.
async fn ask(builder: ClientBuilder) -> Result<Vec<Via>, BoxError> {
    let client = builder.build().await?;
    let models = client.models().await?;
    let model = models.first().ok_or("the daemon has no model")?;
    let request = SubmitRequest::builder(&model.name).user("Why is the sky blue?").build()?;

    let (begin, states) = (Instant::now(), request.submission().states());
    let watching =
        states.inspect(|seen| println!("  {:>6.1?}  {:<8} told by {}", begin.elapsed(), seen.state, seen.via));
    let (result, seen) = tokio::join!(client.submit(request), watching.collect::<Vec<_>>());

    let result = result?.into_success()?;
    println!("  {}", result.content().ok_or("the answer has no text")?);
    assert_eq!(seen.last().map(|last| &last.state), Some(&JobState::Done));
    Ok(seen.into_iter().map(|seen| seen.via).collect())
}
