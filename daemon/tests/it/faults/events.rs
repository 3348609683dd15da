use std::time::Duration;

use foreman_client::source::RefusalReason;
use foreman_client::{JobResult, SubmitRequest};
use foreman_daemon::faults::{Faults, Forgery, Times};
use foreman_daemon::{Builder, Daemon};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::super::raw::{ended, submit_to};
use super::super::receiver::{Event, Receiver};
use super::{LONG, Rig, SECRET, Webhooks, quick, request};
use crate::eventually::{bounded, eventually};

/// A daemon that echoes and retries webhooks without a pause.
async fn echoing(faults: &Faults, set: impl FnOnce(Builder) -> Builder) -> Daemon {
    let builder = Daemon::builder().webhook_secret(SECRET).webhook_retries([Duration::ZERO; 9]);
    set(builder.faults(faults.clone())).start().await.unwrap()
}

fn has_valid_signatures(event: &Event) -> bool {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, event.header(name).parse().unwrap());
    }
    let standard = standardwebhooks::Webhook::from_bytes(SECRET.as_bytes().to_vec()).unwrap();
    let standard = standard.verify(event.body.as_bytes(), &headers).is_ok();
    let secret = foreman_client::webhook::Secret::new(SECRET).unwrap();
    let foreman = event.header("x-foreman-signature") == secret.sign(event.body.as_bytes());
    assert_eq!(standard, foreman, "{event:?}");
    foreman
}

/// Runs a job whose end only an event reports: it ends after the 202 and the first poll.
async fn ended_by_event(rig: &Rig, webhooks: &Webhooks) -> JoinHandle<JobResult> {
    let request: SubmitRequest = request();
    let submission = request.submission();
    let jobs = webhooks.jobs(rig);
    let wait = tokio::spawn(async move { bounded(jobs.oneshot(request)).await.unwrap() });
    submission.accepted().await.unwrap();
    rig.gate.begun().await;
    eventually("polled", || rig.daemon.stats().polls == 1).await;
    rig.gate.open(1);
    wait
}

#[tokio::test]
async fn polling_finds_end_of_silenced_event() {
    let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
    rig.faults.last_events().silence(Times::Next(1));
    let jobs = rig.jobs(rig.waits().webhooks(webhooks.endpoint.clone()).poll_policy(quick()));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.silenced_events == 1)).await;
    assert_eq!((jobs.stats().finished_by_poll, webhooks.notifier.stats().finished), (1, 0));
}

#[tokio::test]
async fn late_terminal_event_changes_nothing_after_poll() {
    let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
    rig.faults.last_events().delay(LONG, Times::Next(1));
    let jobs = rig.jobs(rig.waits().webhooks(webhooks.endpoint.clone()).poll_policy(quick()));
    // Kept until the end, so that the event still has its submission.
    let request = request();
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request.clone())).await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.delayed_events == 1)).await;
    // Earlier events may have come after the poll too.
    let (finished_by_poll, others) = (jobs.stats().finished_by_poll, webhooks.notifier.stats().duplicates);
    rig.faults.clear();
    eventually("received", || webhooks.notifier.stats().duplicates == others + 1).await;
    assert_eq!((finished_by_poll, webhooks.notifier.stats().finished), (1, 0));
    assert_eq!(bounded(jobs.oneshot(request)).await.unwrap().job_id(), result.job_id());
}

#[tokio::test]
async fn silence_counts_down() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder).await;
    let mut receiver = Receiver::start(&[]).await;
    faults.events().silence(Times::Next(2));
    submit_to(&daemon, &receiver.url).await;
    assert_eq!(bounded(receiver.states(1)).await, ["done"]);
    // The daemon counts all as delivered.
    eventually("delivered", || daemon.stats().webhooks_delivered == 3).await;
    assert!(receiver.is_empty());
    assert_eq!((faults.seen().silenced_events, daemon.stats().webhook_attempts), (2, 3));
}

#[tokio::test]
async fn delayed_event_delays_only_its_job_until_cleared() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder.webhooks_at_once(1)).await;
    let (mut delayed, mut other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    faults.events().delay(LONG, Times::Next(1));
    let id = submit_to(&daemon, &delayed.url).await;
    bounded(faults.until(|seen| seen.delayed_events == 1)).await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    submit_to(&daemon, &other.url).await;
    assert_eq!(other.states(3).await, ["queued", "running", "done"]);
    assert!(delayed.is_empty());
    faults.events().clear();
    assert_eq!(delayed.states(3).await, ["queued", "running", "done"]);
    assert_eq!(faults.seen().delayed_events, 1);
}

#[tokio::test]
async fn shutdown_sends_events_held_back() {
    for fault in [
        |faults: &Faults| faults.events().delay(LONG, Times::UntilCleared),
        |faults: &Faults| {
            faults.events().reorder(Times::UntilCleared);
        },
    ] {
        let rig = Rig::with(|builder| builder.drain(Duration::ZERO)).await;
        let mut receiver = Receiver::start(&[]).await;
        rig.faults.jobs().stall(Times::UntilCleared);
        fault(&rig.faults);
        submit_to(&rig.daemon, &receiver.url).await;
        bounded(rig.faults.until(|seen| seen.stalled_jobs == 1)).await;
        bounded(rig.daemon.shutdown()).await;
        let mut states = bounded(receiver.states(2)).await;
        states.sort();
        assert_eq!(states, ["queued", "running"]);
    }
}

#[tokio::test]
async fn delayed_event_survives_restart_with_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let mut receiver = Receiver::start(&[]).await;
    let faults = Faults::new();
    faults.events().delay(LONG, Times::UntilCleared);
    let daemon = echoing(&faults, |builder| builder.store(&file)).await;
    let id = submit_to(&daemon, &receiver.url).await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    bounded(faults.until(|seen| seen.delayed_events == 1)).await;
    drop(daemon);
    let again = async {
        loop {
            // The lock of the file is released shortly after.
            if let Ok(daemon) = Daemon::builder().store(&file).start().await {
                return daemon;
            }
            tokio::task::yield_now().await;
        }
    };
    let _daemon = bounded(again).await;
    assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
}

#[tokio::test]
async fn duplicate_event_has_same_id() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder).await;
    let mut receiver = Receiver::start(&["503 Busy"]).await;
    faults.events().duplicate(Times::Next(1));
    submit_to(&daemon, &receiver.url).await;
    let queued = [receiver.event().await, receiver.event().await, receiver.event().await];
    for event in &queued {
        assert_eq!((event.state().as_str(), event.header("webhook-id")), ("queued", queued[0].header("webhook-id")));
    }
    assert_eq!(receiver.states(2).await, ["running", "done"]);
    // An attempt that failed is not duplicated.
    assert_eq!(faults.seen().duplicated_events, 1);
    daemon.shutdown().await;
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn duplicate_terminal_event_finishes_once() {
    let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
    rig.faults.events().duplicate(Times::UntilCleared);
    let result = ended_by_event(&rig, &webhooks).await.await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.duplicated_events == 3)).await;
    assert_eq!(webhooks.notifier.stats().finished, 1);
}

#[tokio::test]
async fn reordered_event_follows_next_event_in_both_stores() {
    let folder = tempfile::tempdir().unwrap();
    for with_file in [false, true] {
        let store = |builder: Builder| if with_file { builder.store(folder.path().join("jobs.db")) } else { builder };
        let rig = Rig::with(store).await;
        let mut receiver = Receiver::start(&[]).await;
        rig.faults.events().reorder(Times::Next(1));
        submit_to(&rig.daemon, &receiver.url).await;
        let mut events = vec![receiver.event().await, receiver.event().await];
        rig.gate.open(1);
        events.push(receiver.event().await);
        let states: Vec<_> = events.iter().map(Event::state).collect();
        assert_eq!(states, ["running", "queued", "done"], "{with_file}");
        assert!(events.iter().all(has_valid_signatures));
        assert_eq!(rig.faults.seen().reordered_events, 1);
    }
}

#[tokio::test]
async fn reordered_events_are_each_sent_once() {
    let folder = tempfile::tempdir().unwrap();
    for with_file in [false, true] {
        let faults = Faults::new();
        let store = |builder: Builder| if with_file { builder.store(folder.path().join("jobs.db")) } else { builder };
        let daemon = echoing(&faults, store).await;
        let mut receiver = Receiver::start(&[]).await;
        faults.events().reorder(Times::UntilCleared);
        submit_to(&daemon, &receiver.url).await;
        let mut states = bounded(receiver.states(3)).await;
        assert_ne!(states, ["queued", "running", "done"]);
        states.sort();
        assert_eq!(states, ["done", "queued", "running"]);
        assert_eq!(faults.seen().reordered_events, 2);
        daemon.shutdown().await;
        assert!(receiver.is_empty());
    }
}

#[tokio::test]
async fn reordered_event_is_retried_until_delivered() {
    let rig = Rig::start().await;
    let mut receiver = Receiver::start(&["503 Busy", "204 No Content", "503 Busy"]).await;
    rig.faults.events().reorder(Times::Next(1));
    submit_to(&rig.daemon, &receiver.url).await;
    // The retries of the next event come first, then those of the reordered one.
    assert_eq!(bounded(receiver.states(4)).await, ["running", "running", "queued", "queued"]);
    rig.gate.open(1);
    assert_eq!(bounded(receiver.states(1)).await, ["done"]);
    eventually("delivered", || rig.daemon.stats().webhooks_delivered == 3).await;
    rig.daemon.shutdown().await;
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn older_state_after_terminal_event_changes_nothing() {
    let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
    rig.faults.events().reorder(Times::UntilCleared);
    let result = ended_by_event(&rig, &webhooks).await.await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.reordered_events == 2)).await;
    eventually("delivered", || rig.daemon.stats().webhooks_delivered + rig.daemon.stats().webhooks_given_up == 3).await;
    assert_eq!(webhooks.notifier.stats().finished, 1);
}

#[tokio::test]
async fn forged_and_wrongly_signed_events_are_rejected_and_retry_is_accepted() {
    type Set = fn(&Faults);
    let faults: [(Set, RefusalReason, [u64; 2]); 3] = [
        (|faults| faults.last_events().forge(Forgery::Body, Times::Next(2)), RefusalReason::Signature, [2, 0]),
        (|faults| faults.last_events().forge(Forgery::Job, Times::Next(2)), RefusalReason::WrongJob, [2, 0]),
        (|faults| faults.last_events().sign_wrongly(Times::Next(2)), RefusalReason::Signature, [0, 2]),
    ];
    for (set, reason, [forged, wrongly_signed]) in faults {
        let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
        set(&rig.faults);
        let result = ended_by_event(&rig, &webhooks).await.await.unwrap();
        rig.ran_once(&result).await;
        let stats = webhooks.notifier.stats();
        assert_eq!((stats.refused(reason), stats.refusals(), stats.finished), (2, 2, 1), "{reason:?}");
        let seen = rig.faults.seen();
        assert_eq!((seen.forged_events, seen.wrongly_signed_events), (forged, wrongly_signed));
    }
}

#[tokio::test]
async fn polling_finds_end_of_forged_events() {
    let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
    rig.faults.events().forge(Forgery::Body, Times::UntilCleared);
    let jobs = rig.jobs(rig.waits().webhooks(webhooks.endpoint.clone()).poll_policy(quick()));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.forged_events > 0)).await;
    assert_eq!((jobs.stats().finished_by_poll, webhooks.notifier.stats().finished), (1, 0));
}

#[tokio::test]
async fn each_tampering_changes_only_its_part() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder).await;
    let mut receiver = Receiver::start(&[]).await;
    faults.events().forge(Forgery::Body, Times::Next(1));
    let id = submit_to(&daemon, &receiver.url).await;
    let body = receiver.event().await;
    assert!(!has_valid_signatures(&body));
    assert_eq!((&body.json()["job_id"], &body.json()["error"]), (&id.clone().into(), &"forged".into()));
    receiver.states(2).await;

    faults.events().forge(Forgery::Job, Times::Next(1));
    let id = submit_to(&daemon, &receiver.url).await;
    let other = receiver.event().await;
    assert!(has_valid_signatures(&other));
    assert_ne!(other.json()["job_id"], id);
    assert_eq!(other.state(), "queued");
    receiver.states(2).await;

    faults.events().sign_wrongly(Times::Next(1));
    let id = submit_to(&daemon, &receiver.url).await;
    let wrongly_signed = receiver.event().await;
    assert!(!has_valid_signatures(&wrongly_signed));
    assert_eq!((wrongly_signed.state().as_str(), &wrongly_signed.json()["job_id"]), ("queued", &id.into()));
    for _ in 0..2 {
        assert!(has_valid_signatures(&receiver.event().await));
    }
    assert_eq!((faults.seen().forged_events, faults.seen().wrongly_signed_events), (2, 1));
}

#[tokio::test]
async fn unsigned_event_has_no_wrong_signature() {
    let faults = Faults::new();
    let daemon = Daemon::builder().faults(faults.clone()).start().await.unwrap();
    let mut receiver = Receiver::start(&[]).await;
    faults.events().sign_wrongly(Times::UntilCleared);
    submit_to(&daemon, &receiver.url).await;
    assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
    assert_eq!(faults.seen().wrongly_signed_events, 0);
}
