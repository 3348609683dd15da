//! Whole jobs on real sockets: by webhook, by polling, and where no listener can be bound.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use foreman_client::api::{CancelJob, GetJob};
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use foreman_client::{Client, DropPolicy, JobState, Notifier, States, Via};
use foreman_daemon::{Daemon, Echo};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::{PROMPT, SECRET, bounded, gated_daemon, polling_client, request};

/// Reads states until the job is running.
async fn next_running(states: &mut States) {
    let running = async { while states.next().await.unwrap().unwrap().state != JobState::Running {} };
    bounded(running).await;
}

#[tokio::test]
async fn job_completes_by_webhook() {
    let (gate, daemon) = gated_daemon(Daemon::builder().webhook_secret(SECRET)).await;
    let client = Client::builder(daemon.url()).webhook_secret(SECRET).build().await.unwrap();
    assert!(client.webhook_url().unwrap().starts_with("http://127.0.0.1:"), "loopback for a daemon on loopback");

    let request = request();
    let (submission, mut states) = (request.submission(), request.submission().states());
    let wait = tokio::spawn(client.jobs().oneshot(request));
    // An event reports `Running` before the job ends, so webhooks work by then.
    next_running(&mut states).await;
    let job_id = bounded(submission.accepted()).await.unwrap();
    gate.open(1);
    let result = bounded(wait).await.unwrap().unwrap();

    assert_eq!((result.job_id(), result.state()), (&job_id, &JobState::Done));
    assert_eq!(bounded(states.next()).await.unwrap().unwrap().state, JobState::Done);
    assert!(bounded(states.next()).await.is_none(), "the states end with the terminal one");
    assert_eq!(daemon.executions(&job_id).await, 1);
    let stats = client.stats();
    assert_eq!((stats.waits.started, stats.waits.waiting(), stats.webhooks.refusals()), (1, 0, 0), "{stats:?}");
}

#[tokio::test]
async fn unsigned_webhooks_complete_no_wait() {
    let daemon = Daemon::builder().backend(Echo::new()).start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let result = bounded(client.submit(request())).await.unwrap();
    assert!(result.content().unwrap().ends_with(PROMPT));
    let stats = client.stats();
    assert_eq!(stats.webhooks.finished, 0);
    assert!(daemon.stats().polls > 0 || stats.waits.finished_by_event_stream == 1, "{stats:?}");
}

#[tokio::test]
async fn job_completes_without_webhooks() {
    let (gate, daemon) = gated_daemon(Daemon::builder()).await;
    let client = polling_client(&daemon).await;
    let request = request();
    let mut states = request.submission().states();
    let wait = tokio::spawn(client.jobs().oneshot(request));
    gate.run_started().await;
    next_running(&mut states).await;
    gate.open(1);
    let result = bounded(wait).await.unwrap().unwrap();
    assert_eq!(result.deserialize::<String>().unwrap(), "passed");
    let last = bounded(states.next()).await.unwrap().unwrap();
    assert_eq!(last.state, JobState::Done);
    assert_ne!(last.via, Via::Webhook);
    assert_eq!(daemon.stats().webhook_attempts, 0);
    let waits = client.stats().waits;
    assert_eq!((client.webhook_url(), waits.finished_by_poll + waits.finished_by_event_stream), (None, 1));
}

#[tokio::test]
async fn bind_failure_falls_back_to_polling() {
    let daemon = Daemon::start().await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let warnings = Warnings::default();
    let guard = tracing::subscriber::set_default(warnings.clone());
    let client = Client::builder(daemon.url()).listen(taken.local_addr().unwrap()).build().await.unwrap();
    for _ in 0..3 {
        bounded(client.submit(request())).await.unwrap().into_success().unwrap();
    }
    drop(guard);
    let warnings = warnings.0.lock().unwrap().clone();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("using the event stream or polls") && warnings[0].contains("cannot bind"),
        "{warnings:?}"
    );
    assert_eq!((client.webhook_url(), daemon.stats().webhook_attempts), (None, 0));
}

#[tokio::test]
async fn clients_share_mounted_receiver() {
    let daemon = Daemon::builder().webhook_secret(SECRET).start().await.unwrap();
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/", listener.local_addr().unwrap());
    let router = foreman_client::axum08::webhooks::<()>("/hooks", receiver);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    for _ in 0..2 {
        let builder = Client::builder(daemon.url()).notifier(notifier.clone()).public_url(&url);
        let client = builder.build().await.unwrap();
        assert_eq!(client.webhook_url(), Some(url.trim_end_matches('/')));
        bounded(client.submit(request())).await.unwrap().into_success().unwrap();
        assert_eq!(client.stats().waits.waiting(), 0);
    }
    assert_eq!(notifier.waiting(), 0, "a slot is left");
    assert_eq!(daemon.stats().accepted, 2);
    server.abort();
}

#[tokio::test]
async fn other_client_attaches_by_id() {
    let (gate, daemon) = gated_daemon(Daemon::builder()).await;
    let first = Client::builder(daemon.url()).build().await.unwrap();
    let request = request();
    let submission = request.submission();
    let wait = tokio::spawn(first.jobs().oneshot(request));
    let job_id = bounded(submission.accepted()).await.unwrap();
    wait.abort();
    assert!(bounded(wait).await.unwrap_err().is_cancelled());
    drop(first);

    let second = polling_client(&daemon).await;
    gate.open(1);
    let result = bounded(second.wait(&job_id)).await.unwrap();
    assert_eq!((result.job_id(), daemon.executions(&job_id).await), (&job_id, 1));
    assert_eq!(second.stats().waits.attached, 1);
}

#[tokio::test]
async fn failed_job_is_a_result() {
    let backend = tower::service_fn(|_| async { Err::<foreman_daemon::ChatResponse, _>("out of memory") });
    let daemon = Daemon::builder().backend(foreman_daemon::Backend::new(backend)).start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let result = bounded(client.submit(request())).await.unwrap();
    assert_eq!(result.state(), &JobState::Failed);
    let error = result.into_success().unwrap_err();
    assert!(error.is_job_failed() && error.reason().unwrap().contains("out of memory"), "{error}");
}

#[tokio::test]
async fn dropped_job_is_cancelled_by_policy() {
    let (gate, daemon) = gated_daemon(Daemon::builder()).await;
    let client = Client::builder(daemon.url()).on_drop(DropPolicy::Cancel).build().await.unwrap();
    let request = request();
    let submission = request.submission();
    let wait = tokio::spawn(client.jobs().oneshot(request));
    let job_id = bounded(submission.accepted()).await.unwrap();
    gate.run_started().await;
    wait.abort();
    gate.run_dropped().await;
    let status = bounded(client.api().oneshot(GetJob::new(job_id.clone()))).await.unwrap().status;
    assert_eq!((status.state, status.error.as_deref()), (JobState::Failed, Some("cancelled")));
    let again = bounded(client.api().oneshot(CancelJob(job_id))).await.unwrap_err();
    assert_eq!(again.status().map(|status| status.as_u16()), Some(409));
}

#[tokio::test]
async fn listener_closes_with_last_clone() {
    let daemon = Daemon::start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let address = client.webhook_url().unwrap().strip_prefix("http://").unwrap().to_owned();
    let clone = client.clone();
    drop(client);
    bounded(tokio::net::TcpStream::connect(&address)).await.unwrap();
    drop(clone);
    // The address can be bound again once the listener's task has ended.
    let receiver = WebhookReceiver::new(Notifier::new());
    let rebind = async {
        loop {
            match WebhookListener::builder(receiver.clone()).bind(address.parse().unwrap()).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let listener = bounded(rebind).await;
    bounded(listener.shutdown()).await;
}

/// Records the log lines of the client at `warn`.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        write!(self.0, " {field}={value}").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("foreman_client")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
