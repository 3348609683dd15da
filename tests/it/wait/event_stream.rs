//! Waits that end by the event stream of the daemon, on paused time.

use bytes::Bytes;
use foreman_client::source::PollPolicy;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{Client, Error, JobResult, Notifier, SubmitRequest, Via};
use futures_util::StreamExt as _;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::ServiceExt as _;

use crate::support::{SOON, StreamingDaemon, bounded_paused, event, job_id, job_json, request, seconds};

pub(super) type Waiting = JoinHandle<Result<JobResult, Error>>;

pub(super) fn submit(client: &Client<StreamingDaemon>) -> Waiting {
    let client = client.clone();
    tokio::spawn(async move { client.submit(request()).await })
}

async fn content(waiting: Waiting) -> String {
    let result = bounded_paused(waiting).await.unwrap().unwrap();
    result.content().unwrap().into_owned()
}

/// A client whose stream is open and which waits for job `1`. The polls of that job have been taken.
async fn connected() -> (StreamingDaemon, Client<StreamingDaemon>, Waiting) {
    let daemon = StreamingDaemon::new();
    let client = daemon.client().await;
    let waiting = submit(&client);
    sleep(seconds(1)).await;
    assert!(daemon.is_open());
    assert_eq!(daemon.take_opened(), [(None, 0)]);
    // It was submitted before the stream was open.
    assert!(!daemon.take_polls().is_empty());
    (daemon, client, waiting)
}

/// The number of polls of each job since the last call.
fn polls(daemon: &StreamingDaemon, jobs: usize) -> Vec<usize> {
    let polls = daemon.take_polls();
    (1..=jobs).map(|job| polls.iter().filter(|(polled, _)| *polled == job.to_string()).count()).collect()
}

#[tokio::test(start_paused = true)]
async fn waits_end_by_events_and_not_by_polls() {
    let (daemon, client, first) = connected().await;
    let waits: Vec<_> = (0..50).map(|_| submit(&client)).collect();
    daemon.idle(100).await;
    daemon.event("1", "running");
    daemon.event("1", "done");
    assert_eq!(content(first).await, "from an event");
    for job in 2..=51 {
        daemon.event(&job.to_string(), "done");
    }
    for waiting in waits {
        assert_eq!(content(waiting).await, "from an event");
    }
    assert_eq!((daemon.take_polls(), daemon.take_opened()), (vec![], vec![]));
    let stats = client.stats().waits;
    assert_eq!((stats.finished_by_event_stream, stats.finished_by_poll, stats.waiting()), (51, 0, 0));
    let names: Vec<_> = daemon.submissions().iter().map(|body| body["event_stream"].clone()).collect();
    assert!(names[0].as_str().is_some_and(|name| name.len() == 32), "{names:?}");
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn jobs_are_polled_every_tenth_slow_interval() {
    let (daemon, _client, _waiting) = connected().await;
    daemon.idle(1_000).await;
    let times: Vec<_> = daemon.take_polls().into_iter().map(|(_, at)| at).collect();
    assert!((3..=4).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| (270..=330).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn job_with_a_key_of_the_caller_is_polled_at_the_slow_interval() {
    let (daemon, client, _first) = connected().await;
    let request = SubmitRequest::builder("m").user("hi").idempotency_key("order-18").build().unwrap();
    let waiting = tokio::spawn(async move { client.submit(request).await });
    sleep(seconds(1)).await;
    daemon.event("2", "running");
    daemon.idle(1).await;
    daemon.take_polls();
    // Another process has submitted it too, and gets the events.
    daemon.set("2", "done");
    daemon.idle(35).await;
    assert_eq!(content(waiting).await, "from a poll");
    assert_eq!(polls(&daemon, 2)[1], 1);
}

#[tokio::test(start_paused = true)]
async fn event_before_the_response_is_the_result() {
    let (daemon, client, _first) = connected().await;
    daemon.send_before_response(event("2", "running") + &event("2", "done"));
    assert_eq!(content(submit(&client)).await, "from an event");
    // One of another job changes nothing.
    let waiting = submit(&client);
    sleep(SOON).await;
    assert!(!waiting.is_finished());
    daemon.event("3", "done");
    assert_eq!(content(waiting).await, "from an event");
    assert_eq!(daemon.take_polls(), []);
}

#[tokio::test(start_paused = true)]
async fn states_are_reported_with_their_source() {
    let (daemon, client, _first) = connected().await;
    let request = request();
    let states = request.submission().states();
    let waiting = tokio::spawn(async move { client.submit(request).await });
    sleep(SOON).await;
    for state in ["running", "done"] {
        daemon.event("2", state);
    }
    let states: Vec<_> = bounded_paused(states.collect::<Vec<_>>()).await;
    let states: Vec<_> = states.into_iter().map(|change| change.unwrap()).map(|it| (it.state, it.via)).collect();
    assert_eq!(states, [("running".into(), Via::EventStream), ("done".into(), Via::EventStream)]);
    assert_eq!(content(waiting).await, "from an event");
}

#[tokio::test(start_paused = true)]
async fn truncated_event_is_polled_at_once() {
    let (daemon, client, waiting) = connected().await;
    daemon.set("1", "done");
    daemon.send("event: job\ndata: {\"job_id\":\"1\",\"state\":\"done\",\"truncated\":true}\n\n");
    sleep(SOON).await;
    assert_eq!(content(waiting).await, "from a poll");
    assert_eq!(polls(&daemon, 1), [1]);
    let stats = client.stats().waits;
    assert_eq!((stats.finished_by_event_stream, stats.finished_by_webhook), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_ends_without_a_poll() {
    let (daemon, _client, waiting) = connected().await;
    daemon.send("event: job\ndata: {\"job_id\":\"1\",\"state\":\"failed\",\"error\":\"no memory\"}\n\n");
    let result = bounded_paused(waiting).await.unwrap().unwrap();
    assert_eq!(result.error(), Some("no memory"));
    assert_eq!(daemon.take_polls(), []);
}

#[tokio::test(start_paused = true)]
async fn cut_stream_is_continued_and_polls_bridge_the_gap() {
    let (daemon, _client, waiting) = connected().await;
    daemon.event("1", "running");
    daemon.respond_with(503);
    sleep(SOON).await;
    daemon.cut();
    sleep(seconds(5)).await;
    let gap = polls(&daemon, 1)[0];
    assert!((2..=20).contains(&gap), "{gap}");
    assert!(daemon.take_opened().iter().all(|(last_id, _)| last_id.as_deref() == Some("1-running")));
    daemon.respond_with(200);
    daemon.greet_with(":\n");
    sleep(seconds(10)).await;
    assert!(daemon.is_open());
    daemon.take_polls();
    daemon.idle(60).await;
    assert_eq!(daemon.take_polls(), []);
    daemon.event("1", "done");
    assert_eq!(content(waiting).await, "from an event");
}

#[tokio::test(start_paused = true)]
async fn stream_that_begins_anew_has_each_job_polled_once() {
    let (daemon, client, _first) = connected().await;
    let waits: Vec<_> = (0..20).map(|_| submit(&client)).collect();
    daemon.idle(30).await;
    assert_eq!(daemon.take_polls(), []);
    for reset in ["id: 9\nevent: reset\ndata: {}\n\n", &format!("data: {}\n\n", "x".repeat(2 << 20))] {
        daemon.send(reset);
        daemon.idle(30).await;
        assert_eq!(polls(&daemon, 21), [1; 21]);
    }
    assert_eq!(daemon.take_opened(), []);
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn reset_after_a_gap_has_each_job_polled() {
    let (daemon, _client, waiting) = connected().await;
    daemon.greet_with("id: 9\nevent: reset\ndata: {}\n\n");
    daemon.set("1", "done");
    daemon.cut();
    assert_eq!(content(waiting).await, "from a poll");
    sleep(seconds(1)).await;
    assert_eq!(daemon.take_opened().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn silent_stream_is_opened_again_after_45_s() {
    let (daemon, _client, _waiting) = connected().await;
    sleep(seconds(43)).await;
    assert_eq!(daemon.take_opened(), []);
    daemon.respond_with(500);
    sleep(seconds(4)).await;
    assert!(!daemon.is_open());
    assert!(polls(&daemon, 1)[0] > 0);
    assert_eq!(daemon.take_opened().first(), Some(&(None, 45)));
}

#[tokio::test(start_paused = true)]
async fn attempts_to_open_become_rarer() {
    let daemon = StreamingDaemon::new();
    daemon.respond_with(401);
    let client = daemon.client().await;
    let _waiting = submit(&client);
    sleep(seconds(600)).await;
    let attempts = daemon.take_opened();
    assert!((20..=50).contains(&attempts.len()), "{attempts:?}");
    assert!(attempts.iter().filter(|(_, at)| *at <= 1).count() >= 2, "{attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn event_that_is_no_job_begins_the_stream_anew() {
    let (daemon, _client, waiting) = connected().await;
    daemon.send("id: 5\nevent: job\ndata: {\"job_id\":1}\n\n");
    sleep(seconds(1)).await;
    assert_eq!(daemon.take_opened(), [(None, 1)]);
    assert!(polls(&daemon, 1)[0] >= 1);
    daemon.event("1", "done");
    assert_eq!(content(waiting).await, "from an event");
}

#[tokio::test(start_paused = true)]
async fn daemon_without_streams_is_polled_and_asked_again_after_10_min() {
    for status in [404, 405, 406] {
        let daemon = StreamingDaemon::new();
        daemon.respond_with(status);
        let client = daemon.client().await;
        let waiting = submit(&client);
        sleep(seconds(1)).await;
        daemon.set("1", "done");
        assert_eq!(content(waiting).await, "from a poll");
        daemon.respond_with(200);
        let _second = submit(&client);
        sleep(seconds(600)).await;
        assert_eq!(daemon.take_opened().len(), 1);
        let _third = submit(&client);
        sleep(SOON).await;
        assert!(daemon.is_open());
        let submissions = daemon.submissions();
        let named: Vec<_> = submissions.iter().map(|body| body.get("event_stream").is_some()).collect();
        assert_eq!(named, [true, false, true]);
    }
}

#[tokio::test(start_paused = true)]
async fn attached_job_is_polled_unless_the_stream_carries_it() {
    let (daemon, client, _first) = connected().await;
    daemon.set("other", "running");
    let attach = |job: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.wait(&job_id(job)).await })
    };
    let (other, carried) = (attach("other"), attach("1"));
    sleep(seconds(30)).await;
    let polls = daemon.take_polls();
    assert!(polls.iter().filter(|(job, _)| job == "other").count() > 5, "{polls:?}");
    daemon.event("1", "done");
    assert_eq!(content(carried).await, "from an event");
    daemon.set("other", "done");
    assert_eq!(content(other).await, "from a poll");
}

#[tokio::test(start_paused = true)]
async fn stream_is_closed_when_no_wait_needs_it() {
    let (daemon, client, waiting) = connected().await;
    daemon.idle(300).await;
    assert!(daemon.is_open());
    daemon.event("1", "done");
    content(waiting).await;
    daemon.idle(70).await;
    assert!(!daemon.is_open());
    let waiting = submit(&client);
    sleep(SOON).await;
    assert!(daemon.is_open());
    // With the last user of the client.
    waiting.abort();
    drop(client);
    sleep(SOON).await;
    assert!(!daemon.is_open());
}

#[tokio::test(start_paused = true)]
async fn shutdown_closes_the_stream() {
    let (daemon, client, waiting) = connected().await;
    daemon.event("1", "running");
    let running = bounded_paused(client.shutdown(seconds(1))).await;
    assert_eq!(running, [job_id("1")]);
    assert!(bounded_paused(waiting).await.unwrap().unwrap_err().is_shutting_down());
    sleep(SOON).await;
    assert!(!daemon.is_open());
}

#[tokio::test(start_paused = true)]
async fn proven_webhooks_need_no_stream() {
    let daemon = StreamingDaemon::new();
    let notifier = Notifier::new();
    let builder = Client::builder("http://daemon.test").notifier(notifier.clone()).public_url("http://here.test/");
    let client = daemon.client_of(builder).await;
    let receiver = WebhookReceiver::new(notifier);
    let waiting = submit(&client);
    sleep(seconds(1)).await;
    assert!(daemon.is_open());
    let url = daemon.submissions()[0]["state_webhook_url"].as_str().unwrap().to_owned();
    daemon.set("1", "done");
    let event = Request::post(url).body(Full::<Bytes>::from(job_json("1", "done", ""))).unwrap();
    assert_eq!(receiver.oneshot(event).await.unwrap().status(), 204);
    assert_eq!(content(waiting).await, "from a poll");
    assert_eq!(client.stats().waits.finished_by_webhook, 1);
    let _second = submit(&client);
    sleep(SOON).await;
    assert!(daemon.submissions()[1].get("event_stream").is_none());
}

#[tokio::test(start_paused = true)]
async fn jobs_without_an_event_still_end() {
    let (daemon, _client, waiting) = connected().await;
    daemon.set("1", "done");
    daemon.idle(330).await;
    assert_eq!(content(waiting).await, "from a poll");
}

#[test]
fn another_runtime_takes_the_stream_over() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (daemon, client) = first.block_on(async {
        let (daemon, client, waiting) = connected().await;
        daemon.event("1", "done");
        content(waiting).await;
        (daemon, client)
    });
    drop(first);
    assert!(!daemon.is_open());
    second.block_on(async {
        let waiting = submit(&client);
        sleep(seconds(1)).await;
        assert!(daemon.is_open());
        daemon.event("2", "done");
        assert_eq!(content(waiting).await, "from an event");
    });
}

#[tokio::test(start_paused = true)]
async fn polls_of_a_client_with_10000_waits_are_none() {
    let policy = PollPolicy::builder().max_rate(u32::MAX).build().unwrap();
    let daemon = StreamingDaemon::new();
    let client = daemon.client_of(Client::builder("http://daemon.test").polling().poll_policy(policy)).await;
    let _first = submit(&client);
    sleep(seconds(1)).await;
    daemon.take_polls();
    let waits: Vec<_> = (0..10_000).map(|_| submit(&client)).collect();
    daemon.idle(60).await;
    for job in 2..=10_001 {
        daemon.event(&job.to_string(), "done");
    }
    for waiting in waits {
        assert_eq!(content(waiting).await, "from an event");
    }
    let polled = daemon.take_polls().into_iter().filter(|(job, _)| job != "1").count();
    assert_eq!((polled, daemon.take_opened().len()), (0, 1));
}
