//! Webhooks of several daemons, and the changes that one daemon makes known to the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{Schema, done, new_job, submit, submit_to, take};
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::maintenance::{end_leases, reconcile, sweep};
use crate::store::{Claim, Delivery, Destinations, NewJob, Store as _, StoreOptions, Verdict};
use crate::{JobId, JobState};

async fn claim(store: &Postgres) -> Option<Delivery> {
    match store.claim().await.unwrap() {
        Claim::Now(delivery) => Some(delivery),
        Claim::At(_) | Claim::Nothing => None,
    }
}

async fn settle(store: &Postgres, job_id: &JobId, verdict: Verdict) {
    store.settle(job_id, verdict).await.unwrap();
}

#[tokio::test]
async fn events_of_a_job_are_sent_in_order_by_one_daemon_at_a_time() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = (schema.open().await, schema.open().await);
    let job_id = submit_to(&one, "http://h/").await;
    let queued = claim(&two).await.unwrap();
    assert_eq!(
        (&queued.status.state, queued.attempt, queued.to.url.to_string()),
        (&JobState::Queued, 1, "http://h/".to_owned())
    );
    take(&one).await.unwrap();
    one.finish(&job_id, 1, done()).await.unwrap();
    assert!(claim(&one).await.is_none());
    settle(&two, &job_id, Verdict::Again(Instant::now())).await;
    let again = claim(&one).await.unwrap();
    assert_eq!((&again.event_id, again.attempt), (&queued.event_id, 2));
    settle(&one, &job_id, Verdict::Delivered).await;
    let running = claim(&two).await.unwrap();
    assert_eq!((&running.status.state, running.status.attempt, running.attempt), (&JobState::Running, 1, 1));
    assert!(running.status.result.is_none() && running.status.completed_at.is_none());
    settle(&two, &job_id, Verdict::GiveUp).await;
    let last = claim(&two).await.unwrap();
    assert!(last.status.result.is_some() && last.status.state == JobState::Done);
    settle(&two, &job_id, Verdict::Delivered).await;
    assert!(matches!(two.claim().await.unwrap(), Claim::Nothing));
    assert_eq!(schema.sql("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM outbox)"), "0");
}

/// The sender does not wait for a tick.
#[tokio::test]
async fn released_event_is_announced() {
    let Some(schema) = Schema::new() else { return };
    let (lost, options) = (schema.open().await, StoreOptions::of_test(9));
    let other = schema.open_with(options.clone()).await;
    let announced = || tokio_test::task::spawn(options.notifications.event_due.notified()).poll().is_ready();
    submit_to(&lost, "http://h/").await;
    claim(&lost).await.unwrap();
    schema.sql(&format!("DELETE FROM boxes WHERE id = '{}'", lost.shared.lease.id()));
    announced();
    end_leases(&other.shared).await.unwrap();
    assert!(announced());
    // As if the answer to its claim had been lost.
    schema.sql(&format!("UPDATE outbox SET box = '{}'", other.shared.lease.id()));
    announced();
    reconcile(&other.shared).await.unwrap();
    assert!(announced());
}

#[tokio::test]
async fn event_of_lost_daemon_is_sent_again_and_its_late_verdict_changes_nothing() {
    let Some(schema) = Schema::new() else { return };
    let (lost, other) = (schema.open().await, schema.open().await);
    let job_id = submit_to(&lost, "http://h/").await;
    let first = claim(&lost).await.unwrap();
    schema.sql(&format!("DELETE FROM boxes WHERE id = '{}'", lost.shared.lease.id()));
    end_leases(&other.shared).await.unwrap();
    let again = claim(&other).await.unwrap();
    assert_eq!(first.event_id, again.event_id);
    settle(&lost, &job_id, Verdict::Again(Instant::now())).await;
    assert!(claim(&lost).await.is_none(), "the other one sends it");
    settle(&other, &job_id, Verdict::Delivered).await;
    take(&other).await.unwrap();
    assert_eq!(claim(&other).await.unwrap().status.state, JobState::Running);
}

#[tokio::test]
async fn destination_without_room_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let destinations = Arc::new(Destinations::new(2));
    let options = StoreOptions { destinations: Arc::clone(&destinations), ..StoreOptions::of_test(100) };
    let daemon = schema.open_with(options).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(submit_to(&daemon, "http://a/secret").await);
    }
    let healthy = submit_to(&daemon, "http://b/").await;
    let mut claimed = Vec::new();
    while let Some(delivery) = claim(&daemon).await {
        claimed.push(delivery.job_id);
    }
    assert_eq!(claimed, [&silent[0], &silent[1], &healthy].map(Clone::clone));
    settle(&daemon, &silent[0], Verdict::Again(Instant::now() + Duration::from_secs(3600))).await;
    assert_eq!(claim(&daemon).await.unwrap().job_id, silent[2]);
    let to = claim_destination("http://a/");
    for _ in 0..5 {
        destinations.report(&to, false, Instant::now());
    }
    settle(&daemon, &silent[1], Verdict::GiveUp).await;
    settle(&daemon, &silent[2], Verdict::GiveUp).await;
    let Claim::At(probe) = daemon.claim().await.unwrap() else { panic!("no probe") };
    assert!(probe <= Instant::now() + Duration::from_secs(1));
}

#[tokio::test]
async fn claim_costs_the_same_however_many_events_of_a_blocked_destination_wait() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    let claim = claim_beside_dead(&daemon);
    add_events(&schema, 30, "'dead'");
    let nothing = schema.cost(&claim).await;
    add_events(&schema, 1, "'h'");
    let one = schema.cost(&claim).await;
    assert_eq!((nothing.0.as_deref(), one.0.as_deref()), (None, Some("http://h:80")));
    schema.sql("DELETE FROM jobs WHERE destination = 'http://h:80'");
    add_events(&schema, 2_000, "'dead'");
    // To the planner, all events are to one destination.
    schema.sql("ANALYZE");
    let beside_many = schema.cost(&claim).await;
    assert!(beside_many.1 <= nothing.1 + 5, "{nothing:?} {beside_many:?}");
    add_events(&schema, 1, "'h'");
    let beside_many = schema.cost(&claim).await;
    assert!(beside_many.0 == one.0 && beside_many.1 <= one.1 + 5, "{one:?} {beside_many:?}");
    schema.sql("UPDATE outbox SET due_at = clock_timestamp() + interval '1 hour', ready = false WHERE destination = 'http://h:80'");
    for _ in 0..5 {
        daemon.shared.options.destinations.report(&claim_destination("http://dead/"), false, Instant::now());
    }
    let Claim::At(next) = daemon.claim().await.unwrap() else { panic!("no time") };
    assert!(next <= Instant::now() + Duration::from_secs(3600));
}

#[tokio::test]
async fn claim_costs_the_same_however_many_destinations_wait() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    let claim = claim_beside_dead(&daemon);
    add_events(&schema, 30, "'dead'");
    let nothing = schema.cost(&claim).await;
    add_events(&schema, 1, "'z'");
    let one = schema.cost(&claim).await;
    assert_eq!((nothing.0.as_deref(), one.0.as_deref()), (None, Some("http://z:80")));
    // They have failed, and wait for their next attempt.
    add_events(&schema, 2_000, "'h' || generate_series");
    schema.sql(
        "UPDATE outbox SET due_at = clock_timestamp() + interval '1 hour', ready = false WHERE destination LIKE 'http://h%'",
    );
    schema.sql("ANALYZE");
    let beside_many = schema.cost(&claim).await;
    assert!(beside_many.0 == one.0 && beside_many.1 <= one.1 + 5, "{one:?} {beside_many:?}");
    schema.sql("DELETE FROM jobs WHERE destination = 'http://z:80'");
    let beside_many = schema.cost(&claim).await;
    assert!(beside_many.1 <= nothing.1 + 5, "{nothing:?} {beside_many:?}");
    // They are due: the first one is found, whichever it is.
    schema.sql("UPDATE outbox SET ready = true WHERE NOT ready");
    let beside_many = schema.cost(&claim).await;
    assert!(beside_many.0.is_some() && beside_many.1 <= one.1 + 20, "{one:?} {beside_many:?}");
}

/// Adds queued jobs with an event to the host that this expression returns.
fn add_events(schema: &Schema, count: usize, host: &str) {
    let webhook = format!(", 'http://' || {host} || '/', 'http://' || {host} || ':80'");
    schema.insert(Owner::ANONYMOUS, count, ", webhook, destination", &webhook);
}

/// Selects the destination of the event that is claimed while two destinations are blocked.
fn claim_beside_dead(daemon: &Postgres) -> String {
    let id = daemon.shared.lease.id();
    format!(
        "SELECT (SELECT destination FROM outbox WHERE number = claimed)
        FROM claim_event('{id}', ARRAY['http://dead:80', 'http://other:80'], '')"
    )
}

#[tokio::test]
async fn destinations_take_turns_beside_a_blocked_one() {
    let Some(schema) = Schema::new() else { return };
    let destinations = Arc::new(Destinations::new(3));
    let daemon = schema.open_with(StoreOptions { destinations, ..StoreOptions::of_test(100) }).await;
    for (count, host) in [(30, "'dead'"), (4, "'a'"), (4, "'b'"), (4, "'c'")] {
        add_events(&schema, count, host);
    }
    let mut claimed = String::new();
    while let Some(delivery) = claim(&daemon).await {
        claimed += delivery.to.url.host().unwrap();
        claimed += " ";
    }
    assert_eq!(claimed, "dead dead dead a b c a b c a b c ");
}

/// Another session has locked the events that are due first.
#[tokio::test]
async fn locked_events_delay_no_others_and_are_not_asked_for_all_the_time() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    for _ in 0..21 {
        submit_to(&daemon, "http://h/").await;
    }
    let _lock = schema.lock_rows("outbox ORDER BY number LIMIT 20").await;
    assert!(claim(&daemon).await.is_some());
    let now = Instant::now();
    let Claim::At(at) = daemon.claim().await.unwrap() else { panic!("all are locked") };
    assert!(at >= now + Duration::from_millis(100));
}

#[tokio::test]
async fn events_whose_time_has_come_are_claimed_in_portions() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    add_events(&schema, 300, "'dead'");
    add_events(&schema, 1, "'h'");
    schema.sql("UPDATE outbox SET due_at = clock_timestamp() - make_interval(secs => 400 - number), ready = false");
    for _ in 0..5 {
        daemon.shared.options.destinations.report(&claim_destination("http://dead/"), false, Instant::now());
    }
    let mut claims = 1;
    let delivery = loop {
        match daemon.claim().await.unwrap() {
            Claim::Now(delivery) => break delivery,
            Claim::At(at) if at <= Instant::now() => claims += 1,
            Claim::At(_) | Claim::Nothing => panic!("events are due"),
        }
    };
    assert_eq!((delivery.to.url.host(), claims), (Some("h"), 4));
}

fn claim_destination(url: &str) -> crate::store::Destination {
    crate::store::Destination::of(&url.parse().unwrap())
}

#[tokio::test]
async fn restarted_client_moves_its_events() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let new = |url: &str| NewJob { webhook: Some(url.parse().unwrap()), ..new_job(Some("key"), "go") };
    let job_id = daemon.submit(new("http://a/")).await.unwrap().unwrap().job_id;
    assert!(daemon.submit(new("http://b/")).await.unwrap().unwrap().replayed);
    assert_eq!(claim(&daemon).await.unwrap().to.url.to_string(), "http://b/");
    assert_eq!(schema.sql("SELECT destination FROM outbox"), "http://b:80");
    settle(&daemon, &job_id, Verdict::Stop).await;
    take(&daemon).await.unwrap();
    assert!(claim(&daemon).await.is_none());
}

#[tokio::test]
async fn job_whose_event_is_being_sent_is_deleted_later() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let job_id = submit_to(&daemon, "http://h/").await;
    claim(&daemon).await.unwrap();
    daemon.cancel(Owner::ANONYMOUS, &job_id).await.unwrap();
    schema.sql("UPDATE jobs SET completed_at = completed_at - interval '2 days'");
    assert_eq!(sweep(&daemon.shared).await.unwrap(), 0);
    settle(&daemon, &job_id, Verdict::Delivered).await;
    assert_eq!(sweep(&daemon.shared).await.unwrap(), 1);
    assert_eq!(schema.sql("SELECT count(*) FROM events"), "0");
}

#[tokio::test]
async fn change_at_one_daemon_reaches_watchers_and_streams_of_another() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = (schema.open().await, schema.open().await);
    let options = &two.shared.options;
    let mut stream = options.streams.open(Owner::ANONYMOUS, None, None).unwrap();
    let open = CancellationToken::new();
    timeout(Duration::from_secs(60), stream.next(&open)).await.unwrap().unwrap();
    let mut queued = Box::pin(options.notifications.work[0].notified());
    queued.as_mut().enable();
    let job_id = submit(&one, "go").await;
    let mut watch = options.notifications.signals.watch(&job_id);
    let mut next = async || {
        let event = timeout(Duration::from_secs(60), stream.next(&open)).await.unwrap().unwrap();
        String::from_utf8(event.to_vec()).unwrap()
    };
    let event = next().await;
    assert!(event.contains("\"state\":\"queued\"") && event.contains(job_id.as_str()), "{event}");
    timeout(Duration::from_secs(60), queued).await.unwrap();
    take(&one).await.unwrap();
    timeout(Duration::from_secs(60), watch.changed()).await.unwrap();
    assert!(next().await.contains("\"state\":\"running\""));
    // Without a notification: the feed finds it by a poll.
    schema.sql("UPDATE jobs SET state = 'done', completed_at = now(), result = '1'");
    let event = next().await;
    assert!(event.contains("\"state\":\"done\"") && event.contains("\"result\":1"), "{event}");
}
