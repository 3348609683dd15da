//! Attempts at a job whose backend fails transiently.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foreman_daemon::BoxError;
use foreman_daemon::{Backend, Builder, Chat, ChatResponse, Daemon, Transient};
use tokio::sync::Notify;
use tower::service_fn;

use super::raw::{delete, ended, status, submit};
use crate::eventually::eventually;
use crate::gate::Gate;

/// A backend that fails this often, then succeeds, and the count of its runs.
fn failing(times: u64) -> (Arc<AtomicU64>, Backend) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let backend = Backend::new(service_fn(move |chat: Chat| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if chat.attempt() <= times {
                return Err(BoxError::from(Transient::new("no model server")));
            }
            Ok(ChatResponse::from_value("ok")?)
        }
    }));
    (runs, backend)
}

fn without_pause() -> Builder {
    Daemon::builder().attempt_pause(Duration::ZERO)
}

#[tokio::test]
async fn job_is_retried_until_it_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [without_pause(), without_pause().store(folder.path().join("jobs.db"))] {
        let (runs, backend) = failing(2);
        let daemon = builder.backend(backend).start().await.unwrap();
        let id = submit(&daemon, "go").await;
        let job = ended(&daemon, &id).await;
        assert_eq!((&job["state"], &job["attempt"], &job["result"]), (&"done".into(), &3.into(), &"ok".into()));
        assert_eq!((runs.load(Ordering::Relaxed), daemon.stats().executions), (3, 3));
        daemon.shutdown().await;
    }
}

#[tokio::test]
async fn job_fails_with_error_of_last_attempt() {
    let (runs, backend) = failing(u64::MAX);
    let daemon = without_pause().attempts(2).backend(backend).start().await.unwrap();
    let id = submit(&daemon, "go").await;
    let job = ended(&daemon, &id).await;
    assert_eq!((&job["state"], &job["attempt"]), (&"failed".into(), &2.into()));
    assert_eq!(job["error"], "transient failure: no model server");
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

/// With a limit of one attempt.
#[tokio::test]
async fn attempts_that_a_shutdown_interrupts_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || Daemon::builder().store(folder.path().join("jobs.db")).attempts(1).drain(Duration::ZERO);
    let mut id = None;
    for _ in 0..3 {
        let (gate, backend) = Gate::new();
        let daemon = builder().backend(backend).start().await.unwrap();
        if id.is_none() {
            id = Some(submit(&daemon, "go").await);
        }
        gate.begun().await;
        daemon.shutdown().await;
    }
    let daemon = builder().start().await.unwrap();
    let job = ended(&daemon, &id.unwrap()).await;
    assert_eq!((&job["state"], &job["attempt"]), (&"done".into(), &4.into()));
}

#[tokio::test]
async fn job_can_be_cancelled_between_attempts() {
    let (runs, backend) = failing(u64::MAX);
    let daemon = Daemon::builder().attempt_pause(Duration::from_secs(3600)).backend(backend).start().await.unwrap();
    let id = submit(&daemon, "go").await;
    eventually("run", || runs.load(Ordering::Relaxed) != 0).await;
    assert_eq!(delete(&daemon, &format!("/jobs/{id}")).await.status, 202);
    assert_eq!(ended(&daemon, &id).await["error"], "cancelled");
    // The worker takes the next job.
    let next = submit(&daemon, "go").await;
    eventually("run", || runs.load(Ordering::Relaxed) != 1).await;
    assert_eq!(delete(&daemon, &format!("/jobs/{next}")).await.status, 202);
}

#[tokio::test]
async fn status_has_the_error_of_the_latest_attempt_until_the_job_ends() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [without_pause(), without_pause().store(folder.path().join("jobs.db"))] {
        let (second, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begun, ends) = (Arc::clone(&second), Arc::clone(&end));
        let backend = Backend::new(service_fn(move |chat: Chat| {
            let (begun, ends) = (Arc::clone(&begun), Arc::clone(&ends));
            async move {
                if chat.attempt() == 1 {
                    return Err(BoxError::from(Transient::new("connection refused")));
                }
                begun.notify_one();
                ends.notified().await;
                Ok(ChatResponse::from_value("ok")?)
            }
        }));
        let daemon = builder.backend(backend).start().await.unwrap();
        let id = submit(&daemon, "go").await;
        second.notified().await;
        let running = status(&daemon, &id).await;
        assert_eq!((&running["attempt"], &running["error"]), (&2.into(), &serde_json::Value::Null));
        assert_eq!(running["last_error"], "transient failure: connection refused");
        end.notify_one();
        let done = ended(&daemon, &id).await;
        assert_eq!((&done["state"], done.get("last_error")), (&"done".into(), None));
    }
}

#[tokio::test]
async fn zero_attempts_and_zero_keep_are_rejected() {
    let error = Daemon::builder().attempts(0).start().await.unwrap_err();
    assert_eq!(error.to_string(), "invalid attempts: must be at least 1");
    let error = Daemon::builder().keep(Duration::ZERO).start().await.unwrap_err();
    assert_eq!(error.to_string(), "invalid keep: must not be zero");
}
