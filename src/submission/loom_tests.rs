//! Every order of what several threads do to one submission, with up to two preemptions.
//!
//! `bash .ci/run loom` runs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use loom::thread;

use super::DaemonId;
use super::draft::{Draft, LostSubmission};
use super::keep_alive::{KeepAlive, Released, WaitOwner};
use super::shared::SharedSubmission;
use super::state::{EventOutcome, SendState, SubmissionState, Trust};
use super::token::TokenId;
use super::wakers::WakerSlot;
use crate::{Error, JobId, JobStatus, Notifier};

const T: Duration = Duration::from_secs(1);

/// A wait service with webhooks.
#[derive(Debug)]
struct Owner {
    notifier: Notifier,
    released: AtomicUsize,
    lost: AtomicUsize,
}

impl WaitOwner for Owner {
    fn register(&self, submission: &Arc<SharedSubmission>) -> Result<Option<TokenId>, Error> {
        self.notifier.register(submission, None).map(Some)
    }

    fn daemon(&self) -> Option<&DaemonId> {
        None
    }

    fn lost(self: Arc<Self>, lost: LostSubmission) {
        self.lost.fetch_add(1, SeqCst);
        drop(lost);
    }

    fn released(self: Arc<Self>, released: Released) {
        self.released.fetch_add(1, SeqCst);
        if let Some(token) = released.token {
            self.notifier.release(token);
        }
    }
}

fn explore(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(test);
}

fn id() -> JobId {
    JobId::new("7").unwrap()
}

fn status(state: &str) -> JobStatus {
    JobStatus::new(id(), state.into())
}

/// A submission that a wait is sending, and the token of its callback URL.
fn sending() -> (KeepAlive, Arc<Owner>, String) {
    let notifier = Notifier::new();
    let owner =
        Arc::new(Owner { notifier: notifier.clone(), released: AtomicUsize::new(0), lost: AtomicUsize::new(0) });
    let submission = KeepAlive::new_submission(None, None);
    assert_eq!(submission.claim(&(Arc::clone(&owner) as _)).unwrap(), SendState::Fresh);
    let token = notifier.callback_url("", submission.token().unwrap()).unwrap()[1..].to_owned();
    (submission, owner, token)
}

/// An event comes to the receiver.
fn event(notifier: &Notifier, token: &str, state: &str) -> EventOutcome {
    notifier.find(token, false).unwrap().event(status(state), Trust::Signed)
}

/// Waits as `JobWait` does, until `read` returns something. Loom reports a wake-up that is lost as a deadlock.
fn wait_for<R>(submission: &SharedSubmission, mut read: impl FnMut(&SubmissionState) -> Option<R>) -> R {
    let mut slot = WakerSlot::default();
    let found = loom::future::block_on(std::future::poll_fn(|cx| {
        submission.watch(&mut slot, cx.waker(), |state| read(state)).map_or(Poll::Pending, Poll::Ready)
    }));
    submission.unwatch(&mut slot);
    found
}

#[test]
fn loom_event_and_response_in_any_order_finish_the_wait() {
    explore(|| {
        let (keep_alive, owner, token) = sending();
        let submission = Arc::clone(keep_alive.shared());
        let receiver = thread::spawn({
            let notifier = owner.notifier.clone();
            move || event(&notifier, &token, "done")
        });
        let sender = thread::spawn({
            let submission = Arc::clone(&submission);
            move || submission.update(|state| state.accept(id()))
        });
        let result = wait_for(&submission, |state| state.snapshot().result);
        assert_eq!(result.0.job_id(), &id());
        receiver.join().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn loom_event_and_loss_in_any_order_name_the_job() {
    explore(|| {
        let (keep_alive, owner, token) = sending();
        let submission = Arc::clone(keep_alive.shared());
        let receiver = thread::spawn({
            let notifier = owner.notifier.clone();
            move || event(&notifier, &token, "done")
        });
        let sender = thread::spawn({
            let submission = Arc::clone(&submission);
            move || submission.update(|state| state.lost(T))
        });
        let hints = wait_for(&submission, |state| {
            let snapshot = state.snapshot();
            (snapshot.sending == SendState::Accepted).then_some(snapshot.hints)
        });
        assert!(hints > 0, "a poll decides");
        receiver.join().unwrap();
        sender.join().unwrap();
        assert_eq!(submission.read(|state| state.job_id().cloned()), Some(id()));
    });
}

#[test]
fn loom_duplicate_events_finish_once() {
    explore(|| {
        let (keep_alive, owner, token) = sending();
        let submission = Arc::clone(keep_alive.shared());
        submission.update(|state| state.accept(id()));
        let receivers: Vec<_> = ["done", "done"]
            .into_iter()
            .map(|word| {
                let (notifier, token) = (owner.notifier.clone(), token.clone());
                thread::spawn(move || event(&notifier, &token, word))
            })
            .collect();
        wait_for(&submission, |state| state.snapshot().result);
        let mut outcomes: Vec<_> = receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect();
        outcomes.sort_by_key(|outcome| *outcome != EventOutcome::Finished);
        assert_eq!(outcomes, [EventOutcome::Finished, EventOutcome::Duplicate]);
    });
}

#[test]
fn loom_drop_of_the_last_holder_and_event_free_the_slot_once() {
    explore(|| {
        let (keep_alive, owner, token) = sending();
        keep_alive.shared().update(|state| state.accept(id()));
        let receiver = thread::spawn({
            let notifier = owner.notifier.clone();
            move || event(&notifier, &token, "done")
        });
        let other = keep_alive.clone();
        let holder = thread::spawn(move || drop(other));
        drop(keep_alive);
        holder.join().unwrap();
        let outcome = receiver.join().unwrap();
        assert!(matches!(outcome, EventOutcome::Finished | EventOutcome::Late), "{outcome:?}");
        assert_eq!((owner.notifier.waiting(), owner.released.load(SeqCst)), (0, 1));
    });
}

#[test]
fn loom_lost_submission_is_left_to_its_owner_once() {
    explore(|| {
        let (keep_alive, owner, _) = sending();
        let submission = Arc::clone(keep_alive.shared());
        submission.update(|state| state.lost(T));
        let draft = Arc::new(Draft { model: "m".into(), head: [].into() });
        let leave = move |keep_alive: KeepAlive| {
            keep_alive.shared().update(|state| state.leave_draft(&draft));
            drop(keep_alive);
        };
        let (other, leave_other) = (keep_alive.clone(), leave.clone());
        let holder = thread::spawn(move || leave_other(other));
        leave(keep_alive);
        holder.join().unwrap();
        assert_eq!((owner.lost.load(SeqCst), owner.released.load(SeqCst), owner.notifier.waiting()), (1, 1, 0));
    });
}

#[test]
fn loom_one_of_two_waits_sends() {
    explore(|| {
        let (keep_alive, owner, _) = sending();
        keep_alive.shared().update(|state| state.unsent(T));
        let other = thread::spawn({
            let (keep_alive, owner) = (keep_alive.clone(), Arc::clone(&owner));
            move || keep_alive.claim(&(owner as _)).unwrap()
        });
        let mut found = [keep_alive.claim(&(Arc::clone(&owner) as _)).unwrap(), other.join().unwrap()];
        found.sort_by_key(|found| *found != SendState::Fresh);
        assert_eq!(found, [SendState::Fresh, SendState::InFlight]);
        assert_eq!(owner.notifier.waiting(), 1);
    });
}

#[test]
fn loom_one_of_two_waits_resends() {
    explore(|| {
        let (keep_alive, ..) = sending();
        let submission = Arc::clone(keep_alive.shared());
        submission.update(|state| state.lost(T));
        let other = thread::spawn({
            let submission = Arc::clone(&submission);
            move || submission.update(SubmissionState::reclaim)
        });
        let one = submission.update(SubmissionState::reclaim);
        assert_ne!(one, other.join().unwrap());
    });
}

/// A wait that is dropped or ends at its deadline gives its place among the wakers back while others are woken.
#[test]
fn loom_departure_of_a_watcher_takes_no_wake_up_from_another() {
    explore(|| {
        let (keep_alive, owner, token) = sending();
        let submission = Arc::clone(keep_alive.shared());
        submission.update(|state| state.accept(id()));
        let leaving = thread::spawn({
            let submission = Arc::clone(&submission);
            move || {
                let mut slot = WakerSlot::default();
                submission.watch(&mut slot, std::task::Waker::noop(), |_| ());
                submission.unwatch(&mut slot);
            }
        });
        let receiver = thread::spawn({
            let notifier = owner.notifier.clone();
            move || event(&notifier, &token, "done")
        });
        wait_for(&submission, |state| state.snapshot().result);
        leaving.join().unwrap();
        receiver.join().unwrap();
    });
}
