use std::time::Duration;

use foreman_client::source::RefusalReason;
use foreman_client::{JobResult, SubmitRequest};
use foreman_daemon::faults::{Faults, Forgery, Times};
use foreman_daemon::{Builder, Daemon};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::super::raw::{ended, submit_to};
use super::super::receiver::{Event, Receiver};
use super::{Door, LONG, Rig, SECRET, quick, request};
use crate::eventually::{bounded, eventually};

/// A daemon that echoes and repeats at once.
async fn echoing(faults: &Faults, set: impl FnOnce(Builder) -> Builder) -> Daemon {
    let builder = Daemon::builder().webhook_secret(SECRET).webhook_retries([Duration::ZERO; 9]);
    set(builder.faults(faults.clone())).start().await.unwrap()
}

fn is_right(event: &Event) -> bool {
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

/// A job that only an event can tell the end of: the answer to the submission and the first poll were there before.
async fn ended_by_event(rig: &Rig, door: &Door) -> JoinHandle<JobResult> {
    let request: SubmitRequest = request();
    let submission = request.submission();
    let jobs = door.jobs(rig);
    let wait = tokio::spawn(async move { bounded(jobs.oneshot(request)).await.unwrap() });
    submission.accepted().await.unwrap();
    rig.gate.begun().await;
    eventually("polled", || rig.daemon.stats().polls == 1).await;
    rig.gate.open(1);
    wait
}

#[tokio::test]
async fn an_end_that_is_not_told_is_found_by_polling() {
    let (rig, door) = (Rig::start().await, Door::open().await);
    rig.faults.last_events().silence(Times::Next(1));
    let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).poll_policy(quick()));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.silenced_events == 1)).await;
    assert_eq!((jobs.stats().finished_by_poll, door.notifier.stats().finished), (1, 0));
}

#[tokio::test]
async fn an_end_that_is_told_late_is_found_by_polling_and_changes_nothing_any_more() {
    let (rig, door) = (Rig::start().await, Door::open().await);
    rig.faults.last_events().delay(LONG, Times::Next(1));
    let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).poll_policy(quick()));
    // Held to the end, so that the event finds somebody.
    let request = request();
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request.clone())).await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.late_events == 1)).await;
    // Those before it may have come after the poll too.
    let (finished_by_poll, others) = (jobs.stats().finished_by_poll, door.notifier.stats().duplicates);
    rig.faults.clear();
    eventually("told", || door.notifier.stats().duplicates == others + 1).await;
    assert_eq!((finished_by_poll, door.notifier.stats().finished), (1, 0));
    assert_eq!(bounded(jobs.oneshot(request)).await.unwrap().job_id, result.job_id);
}

#[tokio::test]
async fn only_so_many_events_are_silenced() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder).await;
    let mut receiver = Receiver::start(&[]).await;
    faults.events().silence(Times::Next(2));
    submit_to(&daemon, &receiver.url).await;
    assert_eq!(bounded(receiver.states(1)).await, ["done"]);
    // The daemon takes all for delivered.
    eventually("delivered", || daemon.stats().webhooks_delivered == 3).await;
    assert!(receiver.is_empty());
    assert_eq!((faults.seen().silenced_events, daemon.stats().webhook_attempts), (2, 3));
}

#[tokio::test]
async fn a_late_event_holds_up_its_own_job_only_and_goes_when_it_is_let() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder.webhooks_at_once(1)).await;
    let (mut late, mut other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    faults.events().delay(LONG, Times::Next(1));
    let id = submit_to(&daemon, &late.url).await;
    bounded(faults.until(|seen| seen.late_events == 1)).await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    submit_to(&daemon, &other.url).await;
    assert_eq!(other.states(3).await, ["queued", "running", "done"]);
    assert!(late.is_empty());
    faults.events().clear();
    assert_eq!(late.states(3).await, ["queued", "running", "done"]);
    assert_eq!(faults.seen().late_events, 1);
}

#[tokio::test]
async fn a_stop_sends_what_is_held() {
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
        let mut told = bounded(receiver.states(2)).await;
        told.sort();
        assert_eq!(told, ["queued", "running"]);
    }
}

#[tokio::test]
async fn an_event_that_is_held_when_a_daemon_with_a_file_breaks_down_is_sent_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let mut receiver = Receiver::start(&[]).await;
    let faults = Faults::new();
    faults.events().delay(LONG, Times::UntilCleared);
    let daemon = echoing(&faults, |builder| builder.store(&file)).await;
    let id = submit_to(&daemon, &receiver.url).await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    bounded(faults.until(|seen| seen.late_events == 1)).await;
    drop(daemon);
    let again = async {
        loop {
            // The file is free a moment later.
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
async fn an_event_that_is_told_twice_has_one_id() {
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
    // What was not delivered has not been told once.
    assert_eq!(faults.seen().duplicated_events, 1);
    daemon.shutdown().await;
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn the_first_end_that_is_told_counts_and_the_second_does_nothing() {
    let (rig, door) = (Rig::start().await, Door::open().await);
    rig.faults.events().duplicate(Times::UntilCleared);
    let result = ended_by_event(&rig, &door).await.await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.duplicated_events == 3)).await;
    assert_eq!(door.notifier.stats().finished, 1);
}

#[tokio::test]
async fn an_event_is_told_behind_the_next_of_its_job_whatever_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    for kept in [false, true] {
        let store = |builder: Builder| if kept { builder.store(folder.path().join("jobs.db")) } else { builder };
        let rig = Rig::with(store).await;
        let mut receiver = Receiver::start(&[]).await;
        rig.faults.events().reorder(Times::Next(1));
        submit_to(&rig.daemon, &receiver.url).await;
        let mut events = vec![receiver.event().await, receiver.event().await];
        rig.gate.open(1);
        events.push(receiver.event().await);
        let told: Vec<_> = events.iter().map(Event::state).collect();
        assert_eq!(told, ["running", "queued", "done"], "{kept}");
        assert!(events.iter().all(is_right));
        assert_eq!(rig.faults.seen().reordered_events, 1);
    }
}

#[tokio::test]
async fn events_that_are_all_put_behind_others_are_all_told_once() {
    let folder = tempfile::tempdir().unwrap();
    for kept in [false, true] {
        let faults = Faults::new();
        let store = |builder: Builder| if kept { builder.store(folder.path().join("jobs.db")) } else { builder };
        let daemon = echoing(&faults, store).await;
        let mut receiver = Receiver::start(&[]).await;
        faults.events().reorder(Times::UntilCleared);
        submit_to(&daemon, &receiver.url).await;
        let mut told = bounded(receiver.states(3)).await;
        assert_ne!(told, ["queued", "running", "done"]);
        told.sort();
        assert_eq!(told, ["done", "queued", "running"]);
        assert_eq!(faults.seen().reordered_events, 2);
        daemon.shutdown().await;
        assert!(receiver.is_empty());
    }
}

#[tokio::test]
async fn an_older_state_after_the_end_changes_nothing() {
    let (rig, door) = (Rig::start().await, Door::open().await);
    rig.faults.events().reorder(Times::UntilCleared);
    let result = ended_by_event(&rig, &door).await.await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.reordered_events == 2)).await;
    eventually("delivered", || rig.daemon.stats().webhooks_delivered + rig.daemon.stats().webhooks_given_up >= 2).await;
    assert_eq!(door.notifier.stats().finished, 1);
}

#[tokio::test]
async fn what_is_forged_or_wrongly_signed_is_refused_and_the_event_after_it_believed() {
    type Set = fn(&Faults);
    let faults: [(Set, RefusalReason, [u64; 2]); 3] = [
        (|faults| faults.last_events().forge(Forgery::Body, Times::Next(2)), RefusalReason::Signature, [2, 0]),
        (|faults| faults.last_events().forge(Forgery::Job, Times::Next(2)), RefusalReason::WrongJob, [2, 0]),
        (|faults| faults.last_events().missign(Times::Next(2)), RefusalReason::Signature, [0, 2]),
    ];
    for (set, refusal, [forged, missigned]) in faults {
        let (rig, door) = (Rig::start().await, Door::open().await);
        set(&rig.faults);
        let result = ended_by_event(&rig, &door).await.await.unwrap();
        rig.ran_once(&result).await;
        let stats = door.notifier.stats();
        assert_eq!((stats.refused(refusal), stats.refusals(), stats.finished), (2, 2, 1), "{refusal:?}");
        let seen = rig.faults.seen();
        assert_eq!((seen.forged_events, seen.missigned_events), (forged, missigned));
    }
}

#[tokio::test]
async fn an_end_that_is_only_told_in_forgeries_is_found_by_polling() {
    let (rig, door) = (Rig::start().await, Door::open().await);
    rig.faults.events().forge(Forgery::Body, Times::UntilCleared);
    let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).poll_policy(quick()));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    bounded(rig.faults.until(|seen| seen.forged_events > 0)).await;
    assert_eq!((jobs.stats().finished_by_poll, door.notifier.stats().finished), (1, 0));
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_what_was_asked_for() {
    let faults = Faults::new();
    let daemon = echoing(&faults, |builder| builder).await;
    let mut receiver = Receiver::start(&[]).await;
    faults.events().forge(Forgery::Body, Times::Next(1));
    let id = submit_to(&daemon, &receiver.url).await;
    let body = receiver.event().await;
    assert!(!is_right(&body));
    assert_eq!((&body.json()["job_id"], &body.json()["error"]), (&id.clone().into(), &"forged".into()));
    receiver.states(2).await;

    faults.events().forge(Forgery::Job, Times::Next(1));
    let id = submit_to(&daemon, &receiver.url).await;
    let other = receiver.event().await;
    assert!(is_right(&other));
    assert_ne!(other.json()["job_id"], id);
    assert_eq!(other.state(), "queued");
    receiver.states(2).await;

    faults.events().missign(Times::Next(1));
    let id = submit_to(&daemon, &receiver.url).await;
    let missigned = receiver.event().await;
    assert!(!is_right(&missigned));
    assert_eq!((missigned.state().as_str(), &missigned.json()["job_id"]), ("queued", &id.into()));
    for _ in 0..2 {
        assert!(is_right(&receiver.event().await));
    }
    assert_eq!((faults.seen().forged_events, faults.seen().missigned_events), (2, 1));
}

#[tokio::test]
async fn what_has_no_signature_has_no_wrong_one() {
    let faults = Faults::new();
    let daemon = Daemon::builder().faults(faults.clone()).start().await.unwrap();
    let mut receiver = Receiver::start(&[]).await;
    faults.events().missign(Times::UntilCleared);
    submit_to(&daemon, &receiver.url).await;
    assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
    assert_eq!(faults.seen().missigned_events, 0);
}
