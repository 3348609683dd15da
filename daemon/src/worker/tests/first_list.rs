//! Jobs that are queued before a backend has first listed its models.

use tokio::task::JoinSet;

use super::*;
use crate::backends::refresh_models;
use crate::notifications::Notifications;

/// A backend that lists its models after 300 ms, and does not know others.
fn slow_list(model: &'static str) -> Backend {
    let chat = service_fn(move |chat: Chat| async move {
        match chat.model() == model {
            true => Ok(ChatResponse::from_value("ok")?),
            false => Err(BackendError::status(StatusCode::NOT_FOUND, None, b"model not found")),
        }
    });
    let models = service_fn(move |_: ListModels| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok::<_, BoxError>(vec![ModelInfo::new(model)])
    });
    Backend::new(chat).models(models)
}

/// Such as after a restart. A job that the backend does not know would fail for good.
#[tokio::test(start_paused = true)]
async fn jobs_wait_for_the_first_list_of_a_backend() {
    for takes in [Takes::Listed, Takes::ListedUnlessAny] {
        let mut options = StoreOptions::of_test(100);
        options.notifications = Notifications::new(2);
        let jobs = Arc::new(Jobs::in_memory(&options));
        let mut ids = Vec::new();
        for _ in 0..10 {
            for body in [r#"{"model":"a"}"#, r#"{"model":"b"}"#] {
                ids.push(submit_body(&jobs, body).await);
            }
        }
        let members = [(0, "a"), (1, "b")].map(|(index, model)| {
            let (workers, lists) = (NonZeroUsize::MIN, Lists::new([model, model].into_iter()));
            Arc::new(Member::new(index, model, slow_list(model), workers, 1, takes, lists))
        });
        let backends = Arc::new(Backends::new(members.to_vec(), false, Duration::ZERO));
        let mut tasks = JoinSet::new();
        for member in members {
            let index = member.index;
            let attempts = Attempts { most: 3, pause: Duration::from_secs(1) };
            let context = WorkerContext {
                jobs: Arc::clone(&jobs),
                backends: Arc::clone(&backends),
                member,
                attempts,
                closing: CancellationToken::new(),
            };
            tasks.spawn(work(context));
            tasks.spawn(refresh_models(Arc::clone(&backends), index, HOUR, Arc::clone(&jobs)));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        for id in &ids {
            let status = jobs.status(Owner::ANONYMOUS, id).await.unwrap().unwrap();
            assert_eq!(status.state, JobState::Done, "{takes:?} {:?}", status.error);
        }
    }
}

/// A list that comes after this time.
fn late_list(after: Duration) -> Backend {
    let (chat, began) = (slow_list("a"), Instant::now());
    let models = service_fn(move |_: ListModels| async move {
        tokio::time::sleep_until(began + after).await;
        Ok::<_, BoxError>(vec![ModelInfo::new("a")])
    });
    chat.models(models)
}

/// Such as a model server that was just installed. Jobs of another daemon would fail for good.
#[tokio::test(start_paused = true)]
async fn backend_without_models_takes_no_jobs_of_another_daemon() {
    let of_none = slow_list("a").models(service_fn(async |_: ListModels| Ok::<_, BoxError>(Vec::<ModelInfo>::new())));
    assert_eq!(state_at_unlisted(of_none, Takes::ListedUnlessAny).await, JobState::Queued);
    assert_eq!(state_at_unlisted(slow_list("b"), Takes::ListedUnlessAny).await, JobState::Queued);
    let without_lists = Backend::new(service_fn(async |_: Chat| Ok::<_, BoxError>(ChatResponse::from_value("ok")?)));
    assert_eq!(state_at_unlisted(without_lists, Takes::ListedUnlessAny).await, JobState::Done);
}

/// It takes its own jobs once it has listed its models, and others never.
#[tokio::test(start_paused = true)]
async fn backend_whose_first_list_is_late_is_an_outage_until_then() {
    for (late, expected) in [(Duration::from_secs(11), JobState::Done), (HOUR, JobState::Queued)] {
        for takes in [Takes::Listed, Takes::ListedUnlessAny] {
            assert_eq!(state_at_unlisted(late_list(late), takes).await, expected, "{takes:?} {late:?}");
        }
    }
    assert_eq!(state_at_unlisted(late_list(HOUR), Takes::Every).await, JobState::Done);
}

/// The state of a job of model `a` after two minutes at this backend.
async fn state_at_unlisted(backend: Backend, takes: Takes) -> JobState {
    let mut context = context(backend);
    let (backend, workers, lists) = (context.member.backend.clone(), NonZeroUsize::MIN, Lists::new(["m"]));
    context.member = Arc::new(Member::new(0, "m", backend, workers, 1, takes, lists));
    let backends = Arc::new(Backends::new(vec![Arc::clone(&context.member)], false, Duration::ZERO));
    context.backends = Arc::clone(&backends);
    let id = submit_body(&context.jobs, r#"{"model":"a"}"#).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(work(context.clone()));
    tasks.spawn(refresh_models(backends, 0, HOUR, Arc::clone(&context.jobs)));
    state_after(&context, &id, Duration::from_secs(120)).await
}
