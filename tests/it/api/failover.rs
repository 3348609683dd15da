//! Several addresses of one queue, over a scripted HTTP client.

use std::error::Error as _;
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
    (Api::new("http://a".parse().unwrap(), http).over_failover(), daemon)
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

/// Sends a request to the first address, and gives up.
async fn give_up<C>(api: &FailoverApi, daemon: &mut ScriptedDaemon, poll: C, after: Duration)
where
    C: Call<Response: Send> + Send + 'static,
{
    let dropped = call(api, poll);
    let _silent = next_at(daemon, "a").await;
    tokio::time::sleep(after).await;
    dropped.abort();
    assert!(dropped.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn address_without_a_response_has_failed_after_5_s_of_waiting_beyond_the_long_poll() {
    let (api, mut daemon) = api();
    let poll = || GetJob::new(job_id("7")).wait(seconds(20));
    give_up(&api, &mut daemon, poll(), seconds(24)).await;
    // Something responds while the next one waits.
    let dropped = call(&api, poll());
    let _silent = next_at(&mut daemon, "a").await;
    let listed = call(&api, ListModels);
    models(next_at(&mut daemon, "a").await);
    listed.await.unwrap().unwrap();
    tokio::time::sleep(seconds(30)).await;
    dropped.abort();
    give_up(&api, &mut daemon, poll(), seconds(24)).await;
    give_up(&api, &mut daemon, ListModels, millis(900)).await;
    give_up(&api, &mut daemon, ListModels, millis(200)).await;
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
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error}: {cause}").contains(reason), "{error:?}");
        assert_eq!((error.is_safe_to_resubmit(), error.is_maybe_submitted()), (!sent, sent), "{error:?}");
        tokio::time::sleep(seconds(20)).await;
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

fn queue_of(status: u16, queue: &str, body: &'static str) -> Response<ScriptedBody> {
    Response::builder().status(status).header("foreman-queue", queue).body(body.into()).unwrap()
}

/// The first address is away for a moment. The second one has another token, or is another service.
#[tokio::test(start_paused = true)]
async fn address_that_is_of_no_use_is_not_used_for_ever() {
    let of_no_use = [
        ("another token", 401, r#"{"error":"unknown token"}"#),
        ("not allowed", 403, ""),
        ("another service", 200, "<html>"),
        ("broken proxy", 500, ""),
    ];
    let mut stuck = Vec::new();
    for (what, status, body) in of_no_use {
        let (api, mut daemon) = api();
        let listed = call(&api, ListModels);
        next_at(&mut daemon, "a").await.respond_with(queue_of(200, "one", r#"{"models":[]}"#));
        listed.await.unwrap().unwrap();
        let listed = call(&api, ListModels);
        next_at(&mut daemon, "a").await.fail(ConnectionRefused);
        next_at(&mut daemon, "b").await.respond(status, body);
        let _ = listed.await.unwrap();
        let mut failures = 0;
        for _ in 0..60 {
            tokio::time::sleep(seconds(60)).await;
            let listed = call(&api, ListModels);
            let request = daemon.next().await;
            if request.uri.host() == Some("a") {
                models(request);
            } else {
                failures += 1;
                request.respond(status, body);
            }
            let _ = listed.await.unwrap();
        }
        if failures > 1 {
            stuck
                .push(format!("{what}: {failures} of 60 requests failed in an hour in which the first address worked"));
        }
    }
    assert!(stuck.is_empty(), "{stuck:#?}");
}

/// The other address is that of a proxy or of another service.
#[tokio::test(start_paused = true)]
async fn submission_to_an_address_without_the_queue_is_unsent_unless_it_may_have_arrived() {
    for (status, unsent) in [(401, true), (403, true), (404, true), (405, true), (200, false), (500, false)] {
        let (api, mut daemon) = api();
        let listed = call(&api, ListModels);
        next_at(&mut daemon, "a").await.respond_with(queue_of(200, "one", r#"{"models":[]}"#));
        listed.await.unwrap().unwrap();
        let submitted = call(&api, request());
        next_at(&mut daemon, "a").await.fail(ConnectionRefused);
        next_at(&mut daemon, "b").await.respond(status, "");
        let error = submitted.await.unwrap().unwrap_err();
        assert_eq!((error.is_connect(), error.is_safe_to_resubmit()), (unsent, unsent), "{status} {error:?}");
        assert_eq!(error.is_maybe_submitted(), !unsent, "{status} {error:?}");
    }
}

/// The queue is one in memory (or a database that was made anew), whose daemon has two addresses. The one that named the queue is gone.
#[tokio::test(start_paused = true)]
async fn queue_that_was_made_anew_is_found_at_the_address_that_is_left() {
    let (api, mut daemon) = api();
    let listed = call(&api, ListModels);
    next_at(&mut daemon, "a").await.respond_with(queue_of(200, "one", r#"{"models":[]}"#));
    listed.await.unwrap().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let request = daemon.next().await;
            let required = request.header("foreman-queue").map(str::to_owned);
            if request.uri.host() == Some("a") {
                request.fail(ConnectionRefused);
            } else if required.is_none_or(|required| required == "two") {
                request.respond_with(queue_of(200, "two", r#"{"models":[]}"#));
            } else {
                request.respond_with(queue_of(421, "two", ""));
            }
        }
    });
    let mut failures = Vec::new();
    for minute in 0..5 {
        tokio::time::sleep(seconds(60)).await;
        failures.extend(call(&api, ListModels).await.unwrap().err().map(|error| (minute, error.is_connect())));
    }
    assert_eq!(failures, [(0, true)]);
    serving.abort();
}

/// Callers that wait for 10 s at most.
#[tokio::test(start_paused = true)]
async fn silent_address_is_left_by_callers_with_a_short_timeout() {
    let (api, mut daemon) = api();
    let mut silent = Vec::new();
    for _ in 0..100 {
        let listed = call(&api, ListModels);
        let request = daemon.next().await;
        if request.uri.host() == Some("b") {
            return;
        }
        silent.push(request);
        tokio::time::sleep(seconds(10)).await;
        listed.abort();
        let _ = listed.await;
    }
    panic!("1000 s of silence, and {} requests to it", silent.len());
}

/// An event stream with so many heartbeats. It cannot continue after an event of another daemon.
fn event_stream(request: ReceivedRequest, heartbeats: usize) {
    let begin = match request.header("last-event-id") {
        None => "id: 1\n\n",
        Some(_) => "id: 1\nevent: reset\ndata: {}\n\n",
    };
    let stream = Response::builder().header("content-type", "text/event-stream");
    request.respond_with(stream.body(ScriptedBody::from(begin).then_heartbeats(heartbeats)).unwrap());
}

/// The daemon at the first address runs and loses its database after 20 s. The job ends at the other one 10 s later.
#[tokio::test(start_paused = true)]
async fn wait_leaves_an_address_whose_daemon_cannot_reach_its_store() {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
    let wait = tokio::spawn(client.submit(request()));
    let began = tokio::time::Instant::now();
    let serving = tokio::spawn(async move {
        loop {
            let request = daemon.next().await;
            match (request.uri.host(), request.uri.path()) {
                (Some("a"), "/jobs") => request.accept_with_key("7"),
                (Some("a"), _) if daemon.elapsed() > seconds(20) => request.refuse(503, 10),
                // It ends with the connection to the database, some seconds later.
                (Some("a"), "/events") => event_stream(request, 2),
                (_, "/box/events") => event_stream(request, 100),
                _ if daemon.elapsed() > seconds(30) => request.respond_state("done"),
                _ => request.respond_state("running"),
            }
        }
    });
    assert_eq!(bounded_paused(wait).await.unwrap().unwrap().job_id(), &job_id("7"));
    assert!(began.elapsed() < seconds(80), "{:?}", began.elapsed());
    serving.abort();
}

/// The event stream of the address that has failed stays open.
#[tokio::test(start_paused = true)]
async fn event_stream_is_opened_at_the_address_in_use() {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
    let wait = tokio::spawn(client.submit(request()));
    let began = tokio::time::Instant::now();
    let serving = tokio::spawn(async move {
        loop {
            let request = daemon.next().await;
            match (request.uri.host(), request.uri.path()) {
                (_, "/events" | "/box/events") => event_stream(request, 100),
                (Some("a"), "/jobs") => request.accept_with_key("7"),
                (Some("a"), _) if daemon.elapsed() > seconds(20) => request.fail(ConnectionRefused),
                (_, "/box/api/tags") => models(request),
                (Some("a"), _) => request.respond_state("running"),
                _ => request.respond_state("done"),
            }
        }
    });
    tokio::time::sleep(seconds(25)).await;
    client.models().await.unwrap();
    assert_eq!(bounded_paused(wait).await.unwrap().unwrap().job_id(), &job_id("7"));
    assert!(began.elapsed() < seconds(30), "{:?}", began.elapsed());
    serving.abort();
}

/// The first address is away for 30 s. The other one is of no use meanwhile.
#[tokio::test(start_paused = true)]
async fn wait_survives_a_short_outage_although_another_address_is_of_no_use() {
    let mut ended = Vec::new();
    for status in [200, 302, 400, 401, 403, 404, 405, 410, 418, 421, 500, 502, 503] {
        let (http, mut daemon) = http();
        let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
        let wait = tokio::spawn(client.submit(request()));
        let began = tokio::time::Instant::now();
        let serving = tokio::spawn(async move {
            loop {
                let request = daemon.next().await;
                let is_away = (seconds(10)..seconds(40)).contains(&daemon.elapsed());
                match (request.uri.host(), request.uri.path()) {
                    (Some("a"), _) if is_away => request.fail(ConnectionRefused),
                    (Some("a"), "/events") => request.respond(404, ""),
                    (Some("a"), "/jobs") => {
                        let key = request.headers["idempotency-key"].clone();
                        let response = Response::builder().status(202).header("idempotency-key", key);
                        let response = response.header("foreman-queue", "one");
                        request.respond_with(response.body(r#"{"job_id":"7"}"#.into()).unwrap());
                    }
                    (Some("a"), _) if daemon.elapsed() > seconds(60) => {
                        request.respond_state_with("done", &[("foreman-queue", "one")]);
                    }
                    (Some("a"), _) => request.respond_state_with("running", &[("foreman-queue", "one")]),
                    _ if status == 421 => request.respond_with(queue_of(421, "two", "")),
                    _ => request.respond(status, ""),
                }
            }
        });
        match bounded_paused(wait).await.unwrap() {
            Ok(_) => {}
            Err(error) => ended.push(format!("{status}: after {:?}: {error}", began.elapsed())),
        }
        serving.abort();
    }
    assert!(ended.is_empty(), "{ended:#?}");
}

/// The first address is a load balancer, which says 404 while it has no daemon. Daemons name their queue in each 404.
#[tokio::test(start_paused = true)]
async fn wait_survives_a_404_that_names_no_queue() {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().build_with(http).await.unwrap();
    let wait = tokio::spawn(client.submit(request()));
    let serving = tokio::spawn(async move {
        loop {
            let request = daemon.next().await;
            let is_away = (seconds(10)..seconds(15)).contains(&daemon.elapsed());
            match (request.uri.host(), request.uri.path()) {
                (Some("a"), _) if is_away => request.respond(404, "<html>default backend"),
                (_, "/events" | "/box/events") => request.respond(404, ""),
                (_, "/jobs") => {
                    let key = request.headers["idempotency-key"].clone();
                    let response = Response::builder().status(202).header("idempotency-key", key);
                    let response = response.header("foreman-queue", "one");
                    request.respond_with(response.body(r#"{"job_id":"7"}"#.into()).unwrap());
                }
                _ if daemon.elapsed() > seconds(60) => request.respond_state_with("done", &[("foreman-queue", "one")]),
                _ => request.respond_state_with("running", &[("foreman-queue", "one")]),
            }
        }
    });
    let ended = bounded_paused(wait).await.unwrap();
    serving.abort();
    assert!(ended.is_ok(), "{}", ended.unwrap_err());
}

/// The client has another request timeout than the layer, whose own is 30 s unless set.
#[tokio::test(start_paused = true)]
async fn silent_address_is_left_after_the_request_timeout_of_the_client() {
    let (http, mut daemon) = http();
    let client = Client::builder("http://a").polling().request_timeout(seconds(10)).build_with(http).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..10 {
        let listed = tokio::spawn({
            let client = client.clone();
            async move { client.models().await }
        });
        let request = daemon.next().await;
        if request.uri.host() == Some("b") {
            return;
        }
        silent.push(request);
        assert!(listed.await.unwrap().unwrap_err().is_timeout());
    }
    panic!("{} timeouts", silent.len());
}
