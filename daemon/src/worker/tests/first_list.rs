//! Jobs that are queued before a backend has first listed its models.

use tokio::task::JoinSet;

use super::*;
use crate::backends::refresh_models;
use crate::notifications::Notifications;

/// A backend that lists its models after 300 ms, or never, and does not know others.
fn slow_list(model: &'static str, lists: bool) -> Backend {
    let chat = service_fn(move |chat: Chat| async move {
        match chat.model() == model {
            true => Ok(ChatResponse::from_value("ok")?),
            false => Err(BackendError::status(StatusCode::NOT_FOUND, None, b"model not found")),
        }
    });
    let models = service_fn(move |_: ListModels| async move {
        tokio::time::sleep(if lists { Duration::from_millis(300) } else { 24 * HOUR }).await;
        Ok::<_, BoxError>(vec![ModelInfo::new(model)])
    });
    Backend::new(chat).models(models)
}

/// Such as after a restart. A job that the backend does not know would fail for good.
#[tokio::test(start_paused = true)]
async fn jobs_wait_for_the_first_list_of_a_backend() {
    for takes in [Takes::Listed, Takes::ListedIfAny] {
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
            Arc::new(Member::new(index, model, slow_list(model, true), workers, 1, takes, lists))
        });
        let backends = Arc::new(Backends::new(members.to_vec(), false));
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

/// It may run models that it cannot list.
#[tokio::test(start_paused = true)]
async fn backend_whose_list_does_not_come_takes_jobs_after_its_timeout() {
    let mut context = context(slow_list("m", false));
    let (backend, workers, lists) = (context.member.backend.clone(), NonZeroUsize::MIN, Lists::new(["m"].into_iter()));
    context.member = Arc::new(Member::new(0, "m", backend, workers, 1, Takes::Listed, lists));
    let backends = Arc::new(Backends::new(vec![Arc::clone(&context.member)], false));
    context.backends = Arc::clone(&backends);
    let id = submit(&context.jobs).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(work(context.clone()));
    tasks.spawn(refresh_models(backends, 0, HOUR, Arc::clone(&context.jobs)));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(context.jobs.progress(&id).await.unwrap().unwrap().state, JobState::Queued);
    assert_eq!(state_after(&context, &id, Duration::from_secs(60)).await, JobState::Done);
}
