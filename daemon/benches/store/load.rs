//! Submitters, and daemons that only accept jobs.

use std::path::Path;
use std::time::Duration;

use foreman_client::api::{Api, BaseUrl, Transport};
use foreman_client::{BoxError, SubmitRequest};
use foreman_daemon::{Backend, Builder, Chat, ChatResponse, Daemon};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{ServiceExt as _, service_fn};

/// Submissions per second to a daemon with a new file in this folder.
pub(super) async fn durable(folder: &Path, at_once: usize, span: Duration) -> f64 {
    let folder = super::fresh(folder);
    rate(idle().store(folder.path().join("jobs.db")).start().await.unwrap(), at_once, span).await
}

/// Submissions per second to a daemon without a file.
pub(super) async fn in_memory(at_once: usize, span: Duration) -> f64 {
    rate(idle().start().await.unwrap(), at_once, span).await
}

/// Jobs never end, so that only submissions are measured.
pub(super) fn idle() -> Builder {
    let never = service_fn(|_: Chat| std::future::pending::<Result<ChatResponse, BoxError>>());
    Daemon::builder().backend(Backend::new(never)).max_queue(usize::MAX).drain(Duration::ZERO)
}

/// Submissions per second.
pub(super) async fn rate(daemon: Daemon, at_once: usize, span: Duration) -> f64 {
    let api = api(&daemon);
    let until = Instant::now() + span;
    let mut submitters = JoinSet::new();
    for _ in 0..at_once {
        let api = api.clone();
        submitters.spawn(async move {
            let mut count = 0_u32;
            while Instant::now() < until {
                api.clone().oneshot(request()).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let started = Instant::now();
    let total: u32 = submitters.join_all().await.into_iter().sum();
    let rate = f64::from(total) / started.elapsed().as_secs_f64();
    daemon.shutdown().await;
    rate
}

pub(super) fn api(daemon: &Daemon) -> Api<Transport> {
    let base: BaseUrl = daemon.url().parse().unwrap();
    Api::new(base.clone(), Transport::new(&base).unwrap())
}

pub(super) fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("Why is the sky blue?").build().unwrap()
}
