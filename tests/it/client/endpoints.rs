//! The short methods that do not wait.

use foreman_client::api::ListJobs;
use foreman_client::{Client, EmbedRequest, JobId, JobState, SubmitRequest};
use foreman_daemon::Daemon;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::service_fn;

fn request() -> SubmitRequest {
    SubmitRequest::builder("echo").user("hi").build().unwrap()
}

#[tokio::test]
async fn models_are_listed_and_texts_embedded() {
    let daemon = Daemon::builder().token("a-token").start().await.unwrap();
    let client = Client::builder(format!("{}/", daemon.url())).token("a-token").polling().build().await.unwrap();
    assert_eq!(client.models().await.unwrap()[0].name, "echo");
    let request = EmbedRequest::new("echo", ["one", "two"]).unwrap();
    assert_eq!(client.embed(request).await.unwrap().embeddings.len(), 2);

    let stranger = Client::builder(daemon.url()).token("another").polling().build().await.unwrap();
    let error = stranger.models().await.unwrap_err();
    assert!(error.is_auth() && !error.is_retryable());
    let said = format!("GET {}/api/tags: daemon returned 401", daemon.url());
    assert!(error.to_string().starts_with(&said), "{error}");
}

#[tokio::test]
async fn jobs_are_looked_at_and_listed() {
    let daemon = Daemon::start().await.unwrap();
    let client = Client::builder(daemon.url()).polling().build().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.submit(request()).await.unwrap().job_id.clone());
    }
    assert_eq!(client.status(&ids[0]).await.unwrap().state, JobState::Done);
    let page = client.list(ListJobs::new().limit(2)).await.unwrap();
    let listed: Vec<_> = page.jobs.iter().map(|job| &job.job_id).collect();
    assert_eq!(listed, [&ids[2], &ids[1]], "newest first");
    let rest = client.list(ListJobs::new().state(JobState::Done).cursor(page.next_cursor.unwrap())).await.unwrap();
    assert_eq!(rest.jobs.len(), 1);
    assert!(rest.next_cursor.is_none());
}

#[tokio::test]
async fn a_job_that_is_not_known_is_not_found() {
    let daemon = Daemon::start().await.unwrap();
    let client = Client::builder(daemon.url()).polling().build().await.unwrap();
    let unknown = JobId::new("unknown").unwrap();
    assert!(client.status(&unknown).await.unwrap_err().is_not_found());
    assert!(client.wait(unknown.clone()).await.unwrap_err().is_not_found());
    let error = client.cancel(&unknown).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_unsupported(), "{error}");
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_cancelled() {
    let daemon = Daemon::start().await.unwrap();
    let client = Client::builder(daemon.url()).polling().build().await.unwrap();
    let job_id = client.submit(request()).await.unwrap().job_id.clone();
    assert_eq!(client.cancel(&job_id).await.unwrap_err().status().map(|status| status.as_u16()), Some(409));
}

/// A daemon in the field that has neither of them: 404 or 405 for what it does not know.
#[tokio::test]
async fn a_daemon_without_cancel_and_list_is_said_to_be_one() {
    for status in [404, 405] {
        let old = service_fn(move |request: Request<Full<bytes::Bytes>>| async move {
            let known = request.method() == Method::GET && request.uri().path() == "/jobs/7";
            let (status, body) =
                if known { (200, r#"{"job_id":"7","state":"running"}"#) } else { (status, "404 page not found") };
            Response::builder().status(status).body(Full::<bytes::Bytes>::from(body))
        });
        let client = Client::builder("http://old.example").polling().build_with(old).await.unwrap();
        let error = client.cancel(&JobId::new("7").unwrap()).await.unwrap_err();
        assert!(
            error.is_unsupported() && error.to_string().contains("daemon does not support cancelling jobs"),
            "{error}"
        );
        let error = client.list(ListJobs::new()).await.unwrap_err();
        assert!(
            error.is_unsupported() && error.to_string().contains("daemon does not support listing jobs"),
            "{error}"
        );
    }
}
