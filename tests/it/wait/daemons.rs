//! A request whose clones reach two daemons.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreman_client::api::{Accepted, CancelJob, GetJob, Polled};
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{DropPolicy, Error, JobId, JobResult, JobState, JobStatus, Notifier, SubmitRequest, WaitLayer};
use tower::util::BoxCloneSyncService;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};

type Jobs = BoxCloneSyncService<SubmitRequest, JobResult, Error>;

use crate::support::{ScriptedDaemon, WebhookHarness, spawn_wait};

/// How a daemon responds to a submission.
#[derive(Clone, Copy, PartialEq)]
enum OnSubmit {
    Accept,
    RefuseConnection,
    LoseResponse,
}

/// A daemon that has a job 7 of its own, in the state that it is given.
#[derive(Clone)]
struct OwnJobs {
    on_submit: OnSubmit,
    state: Arc<Mutex<JobState>>,
    requests: Arc<AtomicUsize>,
    cancels: Arc<AtomicUsize>,
}

impl OwnJobs {
    fn new(on_submit: OnSubmit, state: JobState) -> Self {
        let state = Arc::new(Mutex::new(state));
        Self { on_submit, state, requests: Arc::default(), cancels: Arc::default() }
    }

    fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    fn status(&self, job_id: JobId) -> JobStatus {
        JobStatus::new(job_id, self.state.lock().unwrap().clone())
    }

    fn jobs(&self, url: &str, webhooks: Option<WebhookEndpoint>) -> Jobs {
        let daemon = self.clone();
        let submit = service_fn(move |_: SubmitRequest| {
            daemon.requests.fetch_add(1, Relaxed);
            let response = match daemon.on_submit {
                OnSubmit::Accept => Ok(Accepted::new(JobId::new("7").unwrap())),
                OnSubmit::RefuseConnection => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
                OnSubmit::LoseResponse => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
            };
            std::future::ready(response)
        });
        let daemon = self.clone();
        let poll = service_fn(move |get: GetJob| {
            daemon.requests.fetch_add(1, Relaxed);
            std::future::ready(Ok::<_, Error>(Polled::new(daemon.status(get.job_id().clone()))))
        });
        let waits = WaitLayer::builder(poll)
            .daemon(url.parse::<foreman_client::api::BaseUrl>().unwrap())
            .on_drop(DropPolicy::Cancel, self.canceller());
        let waits = if let Some(endpoint) = webhooks { waits.webhooks(endpoint) } else { waits };
        BoxCloneSyncService::new(ServiceBuilder::new().layer(waits.build().unwrap()).service(submit))
    }

    fn canceller(&self) -> Canceller {
        Canceller(self.clone())
    }
}

#[derive(Clone)]
struct Canceller(OwnJobs);

impl tower::Service<SubmitRequest> for Canceller {
    type Response = Accepted;
    type Error = Error;
    type Future = std::future::Ready<Result<Accepted, Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: SubmitRequest) -> Self::Future {
        unreachable!("this daemon does not support idempotency keys")
    }
}

impl tower::Service<CancelJob> for Canceller {
    type Response = JobStatus;
    type Error = Error;
    type Future = std::future::Ready<Result<JobStatus, Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, cancel: CancelJob) -> Self::Future {
        self.0.cancels.fetch_add(1, Relaxed);
        std::future::ready(Ok(self.0.status(cancel.0)))
    }
}

impl tower::Service<GetJob> for Canceller {
    type Response = Polled;
    type Error = Error;
    type Future = std::future::Ready<Result<Polled, Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, get: GetJob) -> Self::Future {
        std::future::ready(Ok(Polled::new(self.0.status(get.job_id().clone()))))
    }
}

fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn clone_at_another_daemon_never_returns_its_job() {
    for on_submit in [OnSubmit::Accept, OnSubmit::LoseResponse] {
        let (a, b) = (OwnJobs::new(on_submit, JobState::Running), OwnJobs::new(OnSubmit::Accept, JobState::Done));
        let request = request();
        let first = a.jobs("http://a.test", None).oneshot(request.clone());
        let _ = tokio::time::timeout(Duration::from_secs(1), first).await;

        let error = b.jobs("http://b.test", None).oneshot(request.clone()).await.unwrap_err();
        assert!(error.is_other_daemon() && error.may_be_running() && !error.is_retryable(), "{error:?}");
        assert_eq!(error.daemon(), Some("http://a.test"));
        assert_eq!(error.job_id().is_some(), on_submit == OnSubmit::Accept);
        assert_eq!(b.requests(), 0, "before any I/O");
        assert_eq!(request.submission().daemon().as_deref(), Some("http://a.test"));
    }
}

#[tokio::test(start_paused = true)]
async fn clone_sent_to_another_daemon_has_no_callback_url_of_the_first() {
    let mut first = WebhookHarness::signed();
    let request = request();
    let refused = spawn_wait(&first.wait, &request);
    first.daemon.next_post().await.respond(429, "");
    refused.await.unwrap().unwrap_err();
    let (api, mut second) = ScriptedDaemon::at("http://second.test");
    let sent = tokio::spawn(api.oneshot(request.clone()));
    let post = second.next_post().await;
    assert_eq!((post.callback(), first.notifier.waiting()), (None, 0));
    post.accept("7");
    sent.await.unwrap().unwrap();
}

/// The result is stored in the submission, and another wait returns it.
#[tokio::test(start_paused = true)]
async fn result_names_the_daemon_that_ran_the_job() {
    let (a, b) = (OwnJobs::new(OnSubmit::Accept, JobState::Done), OwnJobs::new(OnSubmit::Accept, JobState::Done));
    let request = request();
    for jobs in [a.jobs("http://a.test", None), b.jobs("http://b.test", None)] {
        assert_eq!(jobs.oneshot(request.clone()).await.unwrap().daemon(), Some("http://a.test"));
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn clone_at_another_client_of_the_same_daemon_attaches() {
    let daemon = OwnJobs::new(OnSubmit::Accept, JobState::Running);
    let request = request();
    let first = daemon.jobs("http://a.test", None).oneshot(request.clone());
    let _ = tokio::time::timeout(Duration::from_secs(1), first).await;
    *daemon.state.lock().unwrap() = JobState::Done;
    let result = daemon.jobs("http://a.test/", None).oneshot(request).await.unwrap();
    assert_eq!(result.job_id().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn refused_submission_moves_to_another_daemon() {
    let (a, b) =
        (OwnJobs::new(OnSubmit::RefuseConnection, JobState::Queued), OwnJobs::new(OnSubmit::Accept, JobState::Running));
    let notifiers = [Notifier::new(), Notifier::new()];
    let [on_a, on_b] =
        notifiers.each_ref().map(|notifier| WebhookEndpoint::new(notifier.clone(), "http://here.test").unwrap());
    let request = request();
    a.jobs("http://a.test", Some(on_a)).oneshot(request.clone()).await.unwrap_err();
    let second = b.jobs("http://b.test", Some(on_b)).oneshot(request.clone());
    let _ = tokio::time::timeout(Duration::from_secs(1), second).await;
    assert_eq!(request.submission().daemon().as_deref(), Some("http://b.test"));
    assert_eq!(notifiers.each_ref().map(Notifier::waiting), [0, 1], "registered where it was sent");

    // The drop policy applies at the daemon that has the job.
    drop(request);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((a.cancels.load(Relaxed), b.cancels.load(Relaxed)), (0, 1));
    assert_eq!(notifiers.each_ref().map(Notifier::waiting), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn unpolled_waits_at_two_daemons_send_to_one() {
    let (a, b) = (OwnJobs::new(OnSubmit::Accept, JobState::Running), OwnJobs::new(OnSubmit::Accept, JobState::Done));
    let request = request();
    // Both waits exist before either is polled, as in a hedge over two daemons.
    let (mut at_a, mut at_b) = (a.jobs("http://a.test", None), b.jobs("http://b.test", None));
    at_a.ready().await.unwrap();
    at_b.ready().await.unwrap();
    let mut on_a = tokio_test::task::spawn(at_a.call(request.clone()));
    let mut on_b = tokio_test::task::spawn(at_b.call(request.clone()));
    assert!(on_a.poll().is_pending());
    let std::task::Poll::Ready(Err(error)) = on_b.poll() else { panic!("the job of another daemon") };
    assert!(error.is_other_daemon(), "{error}");
    assert_eq!((b.requests(), error.daemon()), (0, Some("http://a.test")));
    // The drop policy applies at the daemon that has the job.
    drop((on_a, on_b, request));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((a.cancels.load(Relaxed), b.cancels.load(Relaxed)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn wait_at_first_daemon_fails_after_failover() {
    let a = OwnJobs::new(OnSubmit::RefuseConnection, JobState::Done);
    let b = OwnJobs::new(OnSubmit::Accept, JobState::Running);
    let request = request();
    let (mut at_a, mut at_b) = (a.jobs("http://a.test", None), b.jobs("http://b.test", None));
    at_a.ready().await.unwrap();
    let mut second_at_a = tokio_test::task::spawn(at_a.call(request.clone()));
    at_a.clone().oneshot(request.clone()).await.unwrap_err();
    at_b.ready().await.unwrap();
    let mut on_b = tokio_test::task::spawn(at_b.call(request.clone()));
    assert!(on_b.poll().is_pending());
    let std::task::Poll::Ready(Err(error)) = second_at_a.poll() else { panic!("the job of another daemon") };
    assert!(error.is_other_daemon(), "{error}");
}
