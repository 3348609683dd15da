//! The endpoints other than submit and poll.

use foreman_client::api::{CancelJob, ListJobs, ListModels};
use foreman_client::{EmbedRequest, JobState};
use http::Method;

use crate::support::{exchange, job_id};

#[tokio::test(start_paused = true)]
async fn models_are_parsed() {
    let tags = r#"{"models":[{"name":"a","model":"a","modified_at":"2026-01-02T03:04:05.1+02:00","size":7,"digest":"d",
        "details":{"family":"f"}},{}]}"#;
    let models = exchange(ListModels, |request| {
        assert_eq!((request.method.clone(), request.uri.path()), (Method::GET, "/api/tags"));
        request.respond(200, tags);
    });
    let models = models.await.unwrap();
    assert_eq!((models[0].name.as_str(), models[0].size), ("a", 7));
    assert_eq!(models[0].details.as_ref().unwrap().get(), r#"{"family":"f"}"#);
    assert_eq!(models[1].name, "");
}

#[tokio::test(start_paused = true)]
async fn embeddings_must_match_inputs() {
    let embed = || EmbedRequest::new("m", ["a", "b"]).unwrap();
    let good = exchange(embed(), |request| {
        assert_eq!((request.method.clone(), request.uri.path()), (Method::POST, "/api/embed"));
        assert_eq!(request.body, r#"{"model":"m","input":["a","b"]}"#);
        request.respond(200, r#"{"model":"m","embeddings":[[1,2.5],[3,4]]}"#);
    });
    assert_eq!(good.await.unwrap().embeddings, [[1.0, 2.5], [3.0, 4.0]]);

    for (body, reason) in [
        (r#"{"embeddings":[[1]]}"#, "1 embeddings for 2 texts"),
        (r#"{"embeddings":[[1],[2],[3]]}"#, "3 embeddings for 2 texts"),
        (r#"{"embeddings":[]}"#, "0 embeddings for 2 texts"),
        (r#"{"embeddings":null}"#, "another shape"),
        (r#"{"embeddings":[["1"],[2]]}"#, "another shape"),
    ] {
        let error = exchange(embed(), |request| request.respond(200, body)).await.unwrap_err();
        assert!(error.is_bad_response() && error.to_string().contains(reason), "{body}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_returns_job_or_status() {
    let cancel = || CancelJob(job_id("a b"));
    let cancelled = exchange(cancel(), |request| {
        assert_eq!((request.method.clone(), request.uri.path()), (Method::DELETE, "/jobs/a%20b"));
        request.respond(202, r#"{"job_id":"a b","state":"failed","error":"cancelled"}"#);
    });
    assert_eq!(cancelled.await.unwrap().error.as_deref(), Some("cancelled"));

    for (status, not_found, unsupported) in
        [(404, true, false), (405, false, true), (501, false, true), (409, false, false)]
    {
        let error = exchange(cancel(), |request| request.respond(status, "")).await.unwrap_err();
        assert_eq!((error.is_not_found(), error.is_unsupported()), (not_found, unsupported), "{status}");
        assert_eq!(error.status().unwrap().as_u16(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_by_page() {
    let page = exchange(ListJobs::new().state(JobState::Done).limit(2).cursor("a b"), |request| {
        assert_eq!(request.uri.query(), Some("state=done&limit=2&cursor=a%20b"));
        request.respond(
            200,
            r#"{"jobs":[{"job_id":"8","state":"done"},{"job_id":"7","state":"done"}],"next_cursor":"x"}"#,
        );
    });
    let page = page.await.unwrap();
    assert_eq!((page.jobs.len(), page.next_cursor.as_deref()), (2, Some("x")));
}
