//! The whole way of a job: by webhook, by polling, and when no receiver can be bound.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use foreman_client::api::{CancelJob, GetJob};
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use foreman_client::{Client, DropPolicy, JobState, Notifier, SubmitRequest, Via};
use foreman_daemon::{Daemon, Echo};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::gate::Gate;

const SECRET: &str = "It's a Secret to Everybody";

fn request() -> SubmitRequest {
    SubmitRequest::builder("echo").user("Why is the sky blue?").build().unwrap()
}

#[tokio::test]
async fn by_webhook() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).webhook_secret(SECRET).start().await.unwrap();
    let client = Client::builder(daemon.url()).webhook_secret(SECRET).build().await.unwrap();
    assert!(client.webhook_url().unwrap().starts_with("http://127.0.0.1:"), "loopback for a daemon on loopback");

    let request = request();
    let (submission, mut states) = (request.submission(), request.submission().states());
    let wait = tokio::spawn(client.jobs().oneshot(request));
    // Running is told before the job may end, so webhooks have been seen to work by then.
    while states.next().await.unwrap().state != JobState::Running {}
    let job_id = submission.accepted().await.unwrap();
    gate.open(1);
    let result = wait.await.unwrap().unwrap();

    assert_eq!((&result.job_id, &result.state), (&job_id, &JobState::Done));
    assert_eq!(states.next().await.unwrap().state, JobState::Done);
    assert!(states.next().await.is_none(), "the states end with the terminal one");
    assert_eq!(daemon.executions(&job_id).await, 1);
    let stats = client.stats();
    assert_eq!((stats.waits.started, stats.waits.waiting(), stats.webhooks.refusals()), (1, 0, 0), "{stats:?}");
}

#[tokio::test]
async fn without_a_secret_events_only_make_it_ask() {
    let daemon = Daemon::builder().backend(Echo::new()).start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let result = client.submit(request()).await.unwrap();
    assert!(result.content().unwrap().ends_with("Why is the sky blue?"));
    assert_eq!(client.stats().webhooks.finished, 0, "nothing an unsigned event says is believed");
    assert!(daemon.stats().polls > 0);
}

#[tokio::test]
async fn by_polling() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let client = Client::builder(daemon.url()).polling().build().await.unwrap();
    let request = request();
    let mut states = request.submission().states();
    let wait = tokio::spawn(client.jobs().oneshot(request));
    gate.begun().await;
    while states.next().await.unwrap().state != JobState::Running {}
    gate.open(1);
    let result = wait.await.unwrap().unwrap();
    assert_eq!(result.deserialize::<String>().unwrap(), "passed");
    let last = states.next().await.unwrap();
    assert_eq!((last.state, last.via), (JobState::Done, Via::Poll));
    assert_eq!(daemon.stats().webhook_attempts, 0);
    assert_eq!((client.webhook_url(), client.stats().waits.finished_by_poll), (None, 1));
}

#[tokio::test]
async fn a_receiver_that_cannot_bind_means_polling_said_once() {
    let daemon = Daemon::start().await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let warnings = Warnings::default();
    let guard = tracing::subscriber::set_default(warnings.clone());
    let client = Client::builder(daemon.url()).listen(taken.local_addr().unwrap()).build().await.unwrap();
    for _ in 0..3 {
        client.submit(request()).await.unwrap().into_success().unwrap();
    }
    drop(guard);
    let said = warnings.0.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("polling instead") && said[0].contains("cannot bind"), "{said:?}");
    assert_eq!((client.webhook_url(), daemon.stats().webhook_attempts), (None, 0));
}

#[tokio::test]
async fn clients_share_the_notifier_of_a_receiver_that_is_mounted() {
    let daemon = Daemon::builder().webhook_secret(SECRET).start().await.unwrap();
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/", listener.local_addr().unwrap());
    let router = foreman_client::axum::webhooks::<()>("/hooks", receiver);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    for _ in 0..2 {
        let builder = Client::builder(daemon.url()).notifier(notifier.clone()).public_url(&url);
        let client = builder.build().await.unwrap();
        assert_eq!(client.webhook_url(), Some(url.trim_end_matches('/')));
        client.submit(request()).await.unwrap().into_success().unwrap();
        assert_eq!(client.stats().waits.waiting(), 0);
    }
    assert_eq!(notifier.waiting(), 0, "every slot is freed");
    assert_eq!(daemon.stats().accepted, 2);
    server.abort();
}

#[tokio::test]
async fn a_job_is_attached_to_by_its_id_from_another_client() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let first = Client::builder(daemon.url()).build().await.unwrap();
    let request = request();
    let submission = request.submission();
    let wait = tokio::spawn(first.jobs().oneshot(request));
    let job_id = submission.accepted().await.unwrap();
    wait.abort();
    assert!(wait.await.unwrap_err().is_cancelled());
    drop(first);

    let second = Client::builder(daemon.url()).polling().build().await.unwrap();
    gate.open(1);
    let result = second.wait(job_id.clone()).await.unwrap();
    assert_eq!((&result.job_id, daemon.executions(&job_id).await), (&job_id, 1));
    assert_eq!(second.stats().waits.attached, 1);
}

#[tokio::test]
async fn a_job_that_fails_is_an_answer() {
    let backend = tower::service_fn(|_| async { Err::<foreman_daemon::ChatResponse, _>("out of memory") });
    let daemon = Daemon::builder().backend(foreman_daemon::Backend::new(backend)).start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let result = client.submit(request()).await.unwrap();
    assert_eq!(result.state, JobState::Failed);
    let error = result.into_success().unwrap_err();
    assert!(error.is_job_failed() && error.reason().unwrap().contains("out of memory"), "{error}");
}

#[tokio::test]
async fn a_job_let_go_is_cancelled_if_the_client_says_so() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let client = Client::builder(daemon.url()).on_drop(DropPolicy::Cancel).build().await.unwrap();
    let request = request();
    let submission = request.submission();
    let wait = tokio::spawn(client.jobs().oneshot(request));
    let job_id = submission.accepted().await.unwrap();
    gate.begun().await;
    wait.abort();
    gate.dropped().await;
    let status = client.api().oneshot(GetJob::new(job_id.clone())).await.unwrap().status;
    assert_eq!((status.state, status.error.as_deref()), (JobState::Failed, Some("cancelled")));
    let again = client.api().oneshot(CancelJob(job_id)).await.unwrap_err();
    assert_eq!(again.status().map(|status| status.as_u16()), Some(409));
}

#[tokio::test]
async fn the_listener_closes_with_the_last_clone() {
    let daemon = Daemon::start().await.unwrap();
    let client = Client::builder(daemon.url()).build().await.unwrap();
    let address = client.webhook_url().unwrap().strip_prefix("http://").unwrap().to_owned();
    let clone = client.clone();
    drop(client);
    tokio::net::TcpStream::connect(&address).await.unwrap();
    drop(clone);
    // The address can be bound again as soon as the listener's task has let go of it.
    let receiver = WebhookReceiver::new(Notifier::new());
    let mut turns = 0;
    let listener = loop {
        match WebhookListener::builder(receiver.clone()).bind(address.parse().unwrap()).await {
            Ok(listener) => break listener,
            Err(error) => assert!(turns < 10_000, "{error}"),
        }
        turns += 1;
        tokio::task::yield_now().await;
    };
    listener.shutdown().await;
}

/// Keeps what is said at `warn`.
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
