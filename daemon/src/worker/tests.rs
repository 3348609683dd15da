//! Jobs in memory, on paused time.

mod first_list;
mod loaded;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;
use tokio::time::{Instant, advance};
use tower::service_fn;

use super::*;
use crate::backend::{BackendError, ListModels};
use crate::backends::Takes;
use crate::lists::Lists;
use crate::owner::Owner;
use crate::store::{NewJob, StoreOptions, Wanted};
use crate::{BoxError, ChatResponse, JobState, ModelInfo};

const HOUR: Duration = Duration::from_secs(3600);

fn context(backend: Backend) -> WorkerContext {
    let member = Arc::new(Member::new(0, "test", backend, NonZeroUsize::MIN, 1, Takes::Every, Lists::default()));
    WorkerContext {
        jobs: Arc::new(Jobs::in_memory(&StoreOptions::of_test(100))),
        backends: Arc::new(Backends::new(vec![Arc::clone(&member)], false, Duration::ZERO)),
        member,
        attempts: Attempts { most: 3, pause: Duration::from_secs(1) },
        closing: CancellationToken::new(),
    }
}

async fn submit(jobs: &Jobs) -> crate::JobId {
    submit_body(jobs, r#"{"model":"m"}"#).await
}

async fn submit_body(jobs: &Jobs, body: &'static str) -> crate::JobId {
    let mut new = NewJob::of_test(body);
    new.start_by = new.submission.start_by(Timestamp::now());
    jobs.submit(new).await.unwrap().unwrap().job_id
}

/// A model server that is down for an hour: connections are refused, or it responds with 503 as one that loads a model does. The count is
/// that of the chats.
fn server_that_is_down(error: fn() -> BoxError, lists_models: bool) -> (Arc<AtomicU64>, Backend) {
    let chats = Arc::new(AtomicU64::new(0));
    let (counted, start) = (Arc::clone(&chats), Instant::now());
    let is_up = move || start.elapsed() >= HOUR;
    let chat = service_fn(move |_: Chat| {
        counted.fetch_add(1, Relaxed);
        async move { if is_up() { Ok(ChatResponse::from_value("ok")?) } else { Err(error()) } }
    });
    let models = service_fn(move |_: ListModels| async move {
        if lists_models || is_up() { Ok(Vec::<ModelInfo>::new()) } else { Err(error()) }
    });
    (chats, Backend::new(chat).models(models))
}

#[tokio::test(start_paused = true)]
async fn outage_of_the_backend_consumes_no_attempt() {
    let refused = || BackendError::connect("http://gpu", "connection refused".into());
    let loading = || BackendError::status(StatusCode::SERVICE_UNAVAILABLE, None, b"");
    for (error, lists_models, most_chats) in
        [(refused as fn() -> BoxError, false, 2 + 10), (loading, true, 2 * 70 + 10)]
    {
        let (chats, backend) = server_that_is_down(error, lists_models);
        let context = context(backend);
        let mut ids = Vec::new();
        for _ in 0..10 {
            ids.push(submit(&context.jobs).await);
        }
        let workers = [(); 2].map(|()| tokio::spawn(work(context.clone())));
        advance(HOUR / 2).await;
        assert!(context.member.availability.outage().is_some());
        for id in &ids {
            let mut watch = context.jobs.watch(id);
            while !context.jobs.status(Owner::ANONYMOUS, id).await.unwrap().unwrap().state.is_terminal() {
                watch.changed().await;
            }
            let status = context.jobs.status(Owner::ANONYMOUS, id).await.unwrap().unwrap();
            assert_eq!(status.state, JobState::Done, "{:?}", status.error);
        }
        assert_eq!(context.member.availability.outage(), None);
        let chats = chats.load(Relaxed);
        assert!(chats <= most_chats, "{chats}");
        for worker in workers {
            worker.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn transient_failures_count() {
    let chat = service_fn(async |_: Chat| Err::<ChatResponse, _>(crate::Transient::new("GPU lost")));
    let context = context(Backend::new(chat));
    let id = submit(&context.jobs).await;
    let worker = tokio::spawn(work(context.clone()));
    let mut watch = context.jobs.watch(&id);
    while !context.jobs.progress(&id).await.unwrap().unwrap().state.is_terminal() {
        watch.changed().await;
    }
    let status = context.jobs.status(Owner::ANONYMOUS, &id).await.unwrap().unwrap();
    assert_eq!((&status.state, status.attempt), (&JobState::Failed, 3));
    assert_eq!(status.error.as_deref(), Some("transient failure: GPU lost"));
    worker.abort();
}

/// No attempt is made for it.
#[tokio::test(start_paused = true)]
async fn late_job_fails_without_the_backend() {
    let (chats, backend) =
        server_that_is_down(|| BackendError::connect("http://gpu", "connection refused".into()), false);
    let context = context(backend);
    context.member.availability.failed("connection refused", None);
    let late = submit_body(&context.jobs, r#"{"model":"m","deadline":"2026-01-02T03:04:05Z"}"#).await;
    let worker = tokio::spawn(work(context.clone()));
    let mut watch = context.jobs.watch(&late);
    while !context.jobs.progress(&late).await.unwrap().unwrap().state.is_terminal() {
        watch.changed().await;
    }
    let status = context.jobs.status(Owner::ANONYMOUS, &late).await.unwrap().unwrap();
    assert_eq!(status.error.as_deref(), Some("deadline"));
    let stats = context.jobs.stats();
    assert_eq!((stats.deadline_missed, stats.failed), (1, 0));
    assert_eq!(chats.load(Relaxed), 0);
    worker.abort();
}

async fn state_after(context: &WorkerContext, id: &crate::JobId, time: Duration) -> JobState {
    let until = Instant::now() + time;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    context.jobs.progress(id).await.unwrap().unwrap().state
}

/// Such as a quota of one model, or a model that does not fit: 429 or 503 for that model alone, for ever.
#[tokio::test(start_paused = true)]
async fn model_that_is_never_available_stops_no_other_model() {
    let chat = service_fn(async |chat: Chat| match chat.model() {
        "bad" => Err(BackendError::status(StatusCode::TOO_MANY_REQUESTS, None, b"")),
        _ => Ok(ChatResponse::from_value("ok")?),
    });
    let context = context(Backend::new(chat));
    submit_body(&context.jobs, r#"{"model":"bad"}"#).await;
    let good = submit_body(&context.jobs, r#"{"model":"good"}"#).await;
    let worker = tokio::spawn(work(context.clone()));
    assert_eq!(state_after(&context, &good, 24 * HOUR).await, JobState::Done);
    worker.abort();
}

/// Such as a gateway without `GET /v1/models`, or whose list is too large.
#[tokio::test(start_paused = true)]
async fn server_that_cannot_list_its_models_is_available_again() {
    let chats = Arc::new(AtomicU64::new(0));
    let chat = service_fn(move |_: Chat| {
        let first = chats.fetch_add(1, Relaxed) == 0;
        async move {
            match first {
                true => Err(BackendError::status(StatusCode::TOO_MANY_REQUESTS, None, b"")),
                false => Ok(ChatResponse::from_value("ok")?),
            }
        }
    });
    let models = service_fn(async |_: ListModels| {
        Err::<Vec<ModelInfo>, _>(BackendError::status(StatusCode::NOT_FOUND, None, b""))
    });
    let context = context(Backend::new(chat).models(models));
    let id = submit(&context.jobs).await;
    let worker = tokio::spawn(work(context.clone()));
    assert_eq!(state_after(&context, &id, 24 * HOUR).await, JobState::Done);
    worker.abort();
}

/// Unlike an attempt that the stop interrupts.
#[tokio::test(start_paused = true)]
async fn failed_attempt_counts_if_the_daemon_stops_in_the_pause_after_it() {
    let chat = service_fn(async |_: Chat| Err::<ChatResponse, _>(crate::Transient::new("GPU lost")));
    let context = context(Backend::new(chat));
    submit(&context.jobs).await;
    let worker = tokio::spawn(work(context.clone()));
    advance(Duration::from_millis(500)).await;
    context.closing.cancel();
    worker.await.unwrap();
    let taken = context.jobs.take(&Wanted::any()).await.unwrap().unwrap();
    assert_eq!((taken.attempt, taken.spent), (2, 2));
}

/// The worker of the long job has asked for one before the idle worker did.
#[tokio::test(start_paused = true)]
async fn idle_worker_takes_the_next_job_while_others_run() {
    let chat = service_fn(async |chat: Chat| {
        let minutes: u64 = chat.model().parse().unwrap();
        tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
        ChatResponse::from_value("ok")
    });
    let context = context(Backend::new(chat));
    let workers = [(); 2].map(|()| tokio::spawn(work(context.clone())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for body in [r#"{"model":"1"}"#, r#"{"model":"100"}"#] {
        submit_body(&context.jobs, body).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let next = submit_body(&context.jobs, r#"{"model":"0"}"#).await;
    assert_eq!(state_after(&context, &next, Duration::from_secs(20)).await, JobState::Done);
    workers.iter().for_each(tokio::task::JoinHandle::abort);
}
