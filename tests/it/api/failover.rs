//! Several addresses of one queue, over a scripted HTTP client.

use std::io::ErrorKind::ConnectionRefused;

use foreman_client::api::{Call, Failover, FailoverLayer, GetJob, ListModels};
use foreman_client::{Api, Client, Error};
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
    let dropped = call(&api, poll());
    let silent = next_at(&mut daemon, "a").await;
    tokio::time::sleep(seconds(49)).await;
    dropped.abort();
    assert!(dropped.await.is_err());
    let timed_out = call(&api, poll());
    let _silent = (silent, next_at(&mut daemon, "a").await);
    assert!(bounded_paused(timed_out).await.unwrap().unwrap_err().is_timeout());
    let poll = call(&api, poll());
    next_at(&mut daemon, "b").await.respond_state("done");
    poll.await.unwrap().unwrap();
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

#[tokio::test(start_paused = true)]
async fn wait_leaves_an_address_that_has_become_silent() {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
    let wait = tokio::spawn(client.submit(request()));
    let serving = tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let request = daemon.next().await;
            match (request.uri.host(), request.uri.path()) {
                (Some("a"), "/events") => {
                    let stream = Response::builder().header("content-type", "text/event-stream");
                    request.respond_with(stream.body(ScriptedBody::from("id: 1\n\n").then_silence()).unwrap());
                }
                (Some("a"), "/jobs") => request.accept_with_key("7"),
                (Some("a"), _) => silent.push(request),
                (_, "/box/events") => request.respond(404, ""),
                _ => request.respond_state("done"),
            }
        }
    });
    let began = tokio::time::Instant::now();
    assert_eq!(bounded_paused(wait).await.unwrap().unwrap().job_id(), &job_id("7"));
    // The event stream may be silent for 45 s, and a poll for 30 s.
    assert!(began.elapsed() < seconds(80), "{:?}", began.elapsed());
    serving.abort();
}
