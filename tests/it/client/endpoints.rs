//! The methods of `Client` that do not wait for a job.

use foreman_client::api::ListJobs;
use foreman_client::{Client, EmbedRequest, JobState};
use foreman_daemon::Daemon;
use http::Method;

use crate::support::{Exchange, bounded, function_http, job_id, polling_client, request};

#[tokio::test]
async fn models_and_embeddings() {
    let daemon = Daemon::builder().token("a-token").start().await.unwrap();
    let client = Client::builder(format!("{}/", daemon.url())).token("a-token").polling().build().await.unwrap();
    assert_eq!(bounded(client.models()).await.unwrap()[0].name, "echo");
    let request = EmbedRequest::new("echo", ["one", "two"]).unwrap();
    assert_eq!(bounded(client.embed(request)).await.unwrap().embeddings.len(), 2);

    let stranger = Client::builder(daemon.url()).token("another").polling().build().await.unwrap();
    let error = bounded(stranger.models()).await.unwrap_err();
    assert!(error.is_auth() && !error.is_retryable());
    let expected = format!("GET {}/api/tags: daemon returned 401", daemon.url());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn boxes_are_listed_and_drained() {
    let daemon = Daemon::builder().token("user").admin_token("operator").start().await.unwrap();
    let client = async |token: &str| Client::builder(daemon.url()).token(token).polling().build().await.unwrap();
    let (user, operator) = (client("user").await, client("operator").await);
    let [one] = &bounded(user.boxes()).await.unwrap()[..] else { panic!("not one box") };
    assert!(one.answering && !one.draining && one.lease_seconds.is_none());
    let refused = bounded(user.drain_box(&one.id)).await.unwrap_err();
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(403));
    assert!(bounded(operator.drain_box(&one.id)).await.unwrap().draining);
    assert!(bounded(user.boxes()).await.unwrap()[0].draining);
    assert!(!bounded(operator.undrain_box(&one.id)).await.unwrap().draining);
    assert!(bounded(operator.drain_box("a/b")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn status_and_list() {
    let daemon = Daemon::start().await.unwrap();
    let client = polling_client(&daemon).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(bounded(client.submit(request())).await.unwrap().job_id().clone());
    }
    assert_eq!(bounded(client.status(&ids[0])).await.unwrap().state, JobState::Done);
    let page = bounded(client.list(ListJobs::new().limit(2))).await.unwrap();
    let listed: Vec<_> = page.jobs.iter().map(|job| &job.job_id).collect();
    assert_eq!(listed, [&ids[2], &ids[1]], "newest first");
    let rest =
        bounded(client.list(ListJobs::new().state(JobState::Done).cursor(page.next_cursor.unwrap()))).await.unwrap();
    assert_eq!(rest.jobs.len(), 1);
    assert!(rest.next_cursor.is_none());
}

#[tokio::test]
async fn unknown_job_is_not_found() {
    let daemon = Daemon::start().await.unwrap();
    let client = polling_client(&daemon).await;
    let unknown = job_id("unknown");
    assert!(bounded(client.status(&unknown)).await.unwrap_err().is_not_found());
    assert!(bounded(client.wait(&unknown)).await.unwrap_err().is_not_found());
    let error = bounded(client.cancel(&unknown)).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_unsupported(), "{error}");
}

#[tokio::test]
async fn cancel_of_finished_job_is_a_conflict() {
    let daemon = Daemon::start().await.unwrap();
    let client = polling_client(&daemon).await;
    let job_id = bounded(client.submit(request())).await.unwrap().job_id().clone();
    assert_eq!(bounded(client.cancel(&job_id)).await.unwrap_err().status().map(|status| status.as_u16()), Some(409));
}

/// An older daemon has neither endpoint and returns 404 or 405.
#[tokio::test]
async fn missing_cancel_and_list_are_unsupported() {
    for status in [404, 405] {
        let old = function_http(move |request| match (request.method(), request.uri().path()) {
            (&Method::GET, "/jobs/7") => Exchange::response(200, &[], r#"{"job_id":"7","state":"running"}"#),
            _ => Exchange::response(status, &[], "page not found"),
        });
        let client = Client::builder("http://old.example").polling().build_with(old).await.unwrap();
        let error = bounded(client.cancel(&job_id("7"))).await.unwrap_err();
        assert!(
            error.is_unsupported() && error.to_string().contains("daemon does not support cancelling jobs"),
            "{error}"
        );
        let error = bounded(client.list(ListJobs::new())).await.unwrap_err();
        assert!(
            error.is_unsupported() && error.to_string().contains("daemon does not support listing jobs"),
            "{error}"
        );
    }
}
