//! Several addresses of one queue, over a scripted HTTP client.

use std::io::ErrorKind::ConnectionRefused;
use std::time::Duration;

use foreman_client::api::{Call, Failover, FailoverLayer, GetJob, ListModels};
use foreman_client::{Api, Client, Error, JobHandle};
use http::Response;
use tokio::task::JoinHandle;
use tower::{Layer as _, ServiceExt as _};

use crate::support::{
    MockHttp, ReceivedRequest, ScriptedBody, ScriptedDaemon, bounded_paused, job_id, millis, request, seconds,
};

type FailoverApi = Api<Failover<MockHttp>>;

fn http() -> (Failover<MockHttp>, ScriptedDaemon) {
    let (http, daemon) = ScriptedDaemon::with_http();
    let layer = FailoverLayer::new("http://a".parse().unwrap(), ["http://b/box".parse().unwrap()]);
    (layer.layer(http), daemon)
}

fn api() -> (FailoverApi, ScriptedDaemon) {
    let (http, daemon) = http();
    (Api::new("http://a".parse().unwrap(), http), daemon)
}

fn call<C>(api: &FailoverApi, call: C) -> JoinHandle<Result<C::Response, Error>>
where
    C: Call<Response: Send> + Send + 'static,
{
    tokio::spawn(api.clone().oneshot(call))
}

/// The next request, which must be to this address.
async fn next_at(daemon: &mut ScriptedDaemon, host: &str) -> ReceivedRequest {
    let request = daemon.next().await;
    assert_eq!(request.uri.host(), Some(host), "{request:?}");
    request
}

fn models(request: ReceivedRequest) {
    request.respond(200, r#"{"models":[]}"#);
}

#[tokio::test(start_paused = true)]
async fn request_that_is_unsent_goes_to_the_next_address_and_later_ones_stay_there() {
    let unsent: [fn(ReceivedRequest); 2] =
        [|request| request.fail(ConnectionRefused), |request| request.refuse(503, 10)];
    for refuse in unsent {
        let (api, mut daemon) = api();
        let submission = request();
        let accepted = call(&api, submission.clone());
        let first = next_at(&mut daemon, "a").await;
        let (key, body) = (first.headers["idempotency-key"].clone(), first.body.clone());
        refuse(first);
        let second = next_at(&mut daemon, "b").await;
        assert_eq!((second.uri.path(), &second.headers["idempotency-key"], &second.body), ("/box/jobs", &key, &body));
        second.accept_with_key("7");
        assert_eq!(accepted.await.unwrap().unwrap().job_id, job_id("7"));
        assert_eq!(daemon.elapsed(), seconds(0));
        tokio::time::sleep(seconds(60)).await;
        let listed = call(&api, ListModels);
        models(next_at(&mut daemon, "b").await);
        listed.await.unwrap().unwrap();
        // The submission is one of this client, whatever address has it.
        assert_eq!(submission.submission().daemon().as_deref(), Some("http://a"));
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_may_have_arrived_is_left_to_others_and_the_next_one_moves() {
    let lost: [fn(ReceivedRequest); 3] =
        [ReceivedRequest::reset, |request| request.respond(503, ""), |request| request.respond(502, "")];
    for fail in lost {
        let (api, mut daemon) = api();
        let lost = call(&api, request());
        fail(next_at(&mut daemon, "a").await);
        let error = lost.await.unwrap().unwrap_err();
        assert!(error.is_maybe_submitted() && !error.is_safe_to_resubmit(), "{error:?}");
        daemon.quiet_for(seconds(1)).await;
        let listed = call(&api, ListModels);
        models(next_at(&mut daemon, "b").await);
        listed.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn refused_everywhere_is_unsent() {
    let (api, mut daemon) = api();
    let submitted = call(&api, request());
    next_at(&mut daemon, "a").await.refuse(503, 7);
    next_at(&mut daemon, "b").await.fail(ConnectionRefused);
    let error = submitted.await.unwrap().unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_overloaded(), "{error:?}");
    assert_eq!(error.retry_after(), Some(seconds(7)));
    // Both are in a pause: one attempt only.
    let submitted = call(&api, request());
    next_at(&mut daemon, "a").await.fail(ConnectionRefused);
    let error = submitted.await.unwrap().unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_connect(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn address_without_a_response_has_failed_after_the_timeout_and_not_before() {
    let (api, mut daemon) = api();
    let poll = || GetJob::new(job_id("7")).wait(seconds(20));
    // The caller gives up.
    let dropped = call(&api, request());
    let silent = next_at(&mut daemon, "a").await;
    tokio::time::sleep(seconds(29)).await;
    dropped.abort();
    assert!(dropped.await.is_err());
    let timed_out = call(&api, request());
    let _silent = (silent, next_at(&mut daemon, "a").await);
    assert!(bounded_paused(timed_out).await.unwrap().unwrap_err().is_timeout());
    let poll = call(&api, poll());
    next_at(&mut daemon, "b").await.respond_state("done");
    poll.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn read_without_a_response_is_repeated_at_the_next_address() {
    for (wait, after) in [(0, 15), (20, 35)] {
        let (api, mut daemon) = api();
        let poll = call(&api, GetJob::new(job_id("7")).wait(seconds(wait)));
        let silent = next_at(&mut daemon, "a").await;
        assert_eq!(silent.header("prefer").is_some(), wait > 0);
        let second = next_at(&mut daemon, "b").await;
        assert_eq!(daemon.elapsed(), seconds(after));
        assert_eq!(second.header("prefer"), (wait > 0).then_some("wait=1"), "the time for a long poll has passed");
        second.respond_state("done");
        poll.await.unwrap().unwrap();
        let listed = call(&api, ListModels);
        models(next_at(&mut daemon, "b").await);
        listed.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn read_that_fails_on_the_way_is_repeated_at_the_next_address() {
    let lost: [fn(ReceivedRequest); 3] =
        [ReceivedRequest::reset, |request| request.respond(503, ""), |request| request.respond(502, "")];
    for fail in lost {
        let (api, mut daemon) = api();
        let listed = call(&api, ListModels);
        fail(next_at(&mut daemon, "a").await);
        models(next_at(&mut daemon, "b").await);
        listed.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn silence_everywhere_ends_at_the_request_timeout() {
    let (api, mut daemon) = api();
    let listed = call(&api, ListModels);
    let _silent = (next_at(&mut daemon, "a").await, next_at(&mut daemon, "b").await);
    let error = bounded_paused(listed).await.unwrap().unwrap_err();
    let expected = "GET http://b/box/api/tags (also tried: http://a): no complete response within 30 s";
    assert_eq!((error.to_string().as_str(), daemon.elapsed()), (expected, seconds(30)));
}

#[tokio::test(start_paused = true)]
async fn error_names_the_address_that_responded_and_the_others_that_were_tried() {
    let (api, mut daemon) = api();
    let poll = call(&api, GetJob::new(job_id("7")));
    next_at(&mut daemon, "a").await.fail(ConnectionRefused);
    next_at(&mut daemon, "b").await.respond(404, "");
    let error = poll.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "GET http://b/box/jobs/7 (also tried: http://a): daemon returned 404 Not Found");
    let submitted = call(&api, request());
    next_at(&mut daemon, "b").await.respond(422, "");
    let error = submitted.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "POST http://b/box/jobs: daemon returned 422 Unprocessable Entity");
    tokio::time::sleep(seconds(60)).await;
    let submitted = call(&api, request());
    next_at(&mut daemon, "b").await.refuse(503, 7);
    next_at(&mut daemon, "a").await.fail(ConnectionRefused);
    let error = submitted.await.unwrap().unwrap_err();
    assert!(
        error.to_string().starts_with("POST http://b/box/jobs (also tried: http://a): daemon returned 503"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn address_of_another_queue_is_an_error() {
    let named = |status: u16, queue: &str, body: &'static str| {
        Response::builder().status(status).header("foreman-queue", queue).body(body.into()).unwrap()
    };
    let listing = r#"{"models":[]}"#;
    let (api, mut daemon) = api();
    let listed = call(&api, ListModels);
    let first = next_at(&mut daemon, "a").await;
    assert_eq!(first.header("foreman-queue"), None);
    first.respond_with(named(200, "one", listing));
    listed.await.unwrap().unwrap();
    for (status, sent) in [(421, false), (202, true)] {
        let submitted = call(&api, request());
        let mut second = daemon.next().await;
        if second.uri.host() == Some("a") {
            second.fail(ConnectionRefused);
            second = next_at(&mut daemon, "b").await;
        }
        assert_eq!(second.header("foreman-queue"), Some("one"), "a daemon of another queue does nothing with it");
        second.respond_with(named(status, "two", r#"{"job_id":"7"}"#));
        let error = submitted.await.unwrap().unwrap_err();
        let reason = "http://a and http://b/box are not addresses of one queue";
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!((error.is_invalid(), error.is_maybe_submitted()), (!sent, sent), "{error:?}");
        tokio::time::sleep(seconds(60)).await;
    }
}

/// Refuses the connections to one address, and answers those to the other as a daemon whose job is done.
async fn serve_at(mut daemon: ScriptedDaemon, host: &str) {
    loop {
        let request = daemon.next().await;
        if request.uri.host() != Some(host) {
            request.fail(ConnectionRefused);
        } else if request.uri.path().ends_with("/events") {
            request.respond(404, "");
        } else {
            request.respond_state("done");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wait_ends_at_another_address() {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
    let wait = tokio::spawn(client.submit(request()));
    loop {
        let request = next_at(&mut daemon, "a").await;
        if request.uri.path() == "/jobs" {
            request.accept_with_key("7");
            break;
        }
        request.respond(404, "");
    }
    let began = tokio::time::Instant::now();
    let serving = tokio::spawn(serve_at(daemon, "b"));
    let result = bounded_paused(wait).await.unwrap().unwrap();
    assert_eq!((result.job_id(), result.daemon()), (&job_id("7"), Some("http://a")));
    assert!(began.elapsed() < millis(500), "{:?}", began.elapsed());
    serving.abort();
}

/// The time that a wait needs to leave the first address, which becomes silent once it has accepted the job.
async fn time_to_leave_a_silent_address(has_event_stream: bool) -> Duration {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
    let wait = tokio::spawn(client.submit(request()));
    let serving = tokio::spawn(async move {
        let (mut silent, mut polled) = (Vec::new(), false);
        loop {
            let request = daemon.next().await;
            match (request.uri.host(), request.uri.path()) {
                (Some("a"), "/events") if has_event_stream => {
                    let stream = Response::builder().header("content-type", "text/event-stream");
                    request.respond_with(stream.body(ScriptedBody::from("id: 1\n\n").then_silence()).unwrap());
                }
                (_, "/events" | "/box/events") => request.respond(404, ""),
                (Some("a"), "/jobs") => request.accept_with_key("7"),
                (Some("a"), _) if !has_event_stream && !std::mem::replace(&mut polled, true) => {
                    request.respond_state("running");
                }
                (Some("a"), _) => silent.push(request),
                _ => request.respond_state("done"),
            }
        }
    });
    let began = tokio::time::Instant::now();
    assert_eq!(bounded_paused(wait).await.unwrap().unwrap().job_id(), &job_id("7"));
    serving.abort();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn wait_leaves_an_address_that_has_become_silent() {
    // The first poll after the submission fails: half of the request timeout of 30 s.
    let with_stream = time_to_leave_a_silent_address(true).await;
    // The daemon may hold a long poll for 20 s more.
    let by_polls = time_to_leave_a_silent_address(false).await;
    assert!(with_stream < seconds(17) && by_polls < seconds(37), "{with_stream:?} {by_polls:?}");
}

#[tokio::test(start_paused = true)]
async fn client_waits_for_a_job_at_any_of_its_addresses() {
    let client = Client::builder("http://127.0.0.1:1").other_addresses(["http://127.0.0.2:1"]).polling();
    let client = client.failure_budget(millis(1)).build().await.unwrap();
    for (daemon, is_other) in
        [("http://127.0.0.1:1", false), ("http://127.0.0.2:1", false), ("http://127.0.0.3:1", true)]
    {
        let job = JobHandle::new(daemon.parse().unwrap(), job_id("7"));
        let error = client.wait_for(&job).await.unwrap_err();
        assert_eq!((error.is_other_daemon(), error.is_connect()), (is_other, !is_other), "{error:?}");
    }
}
