//! What the clones of a request see of each other, and what events do to it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Wake;

use super::*;
use crate::submission::Hold;

fn id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn status(job: &str, state: &str, attempt: u64) -> JobStatus {
    let mut status = JobStatus::new(id(job), state.into());
    status.attempt = attempt;
    status
}

fn cell() -> Arc<Cell> {
    Cell::new(Some(Uuid::new_v4()), None, None)
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn only_one_may_send_at_a_time() {
    let cell = cell();
    assert_eq!([cell.claim(), cell.claim()], [Claim::Mine, Claim::Behind]);
    cell.unsent();
    assert_eq!([cell.claim(), cell.claim()], [Claim::Mine, Claim::Behind]);
    assert_eq!(cell.lost(), Claim::Lost);
    assert_eq!(cell.claim(), Claim::Lost, "what may have arrived is not sent again");
    assert_eq!([cell.reclaim(), cell.reclaim()], [Claim::Mine, Claim::Behind], "unless somebody says so, once");
    cell.accepted(id("7"));
    assert_eq!([cell.claim(), cell.reclaim()], [Claim::Accepted, Claim::Accepted]);
    cell.unsent();
    assert_eq!(cell.lost(), Claim::Accepted, "accepted it stays");
}

#[test]
fn a_signed_event_names_the_job_before_the_answer() {
    let cell = cell();
    cell.claim();
    assert_eq!(cell.deliver(status("7", "running", 1), Trust::Signed), Delivered::Hint);
    assert_eq!(cell.job_id(), Some(id("7")));
    assert_eq!(cell.lost(), Claim::Accepted);
}

#[test]
fn an_unsigned_event_names_the_job_only_if_the_answer_is_lost() {
    let cell = cell();
    cell.claim();
    assert_eq!(cell.deliver(status("7", "done", 1), Trust::Token), Delivered::Hint);
    assert_eq!(cell.job_id(), None);
    assert_eq!(cell.lost(), Claim::Accepted);
    assert_eq!(cell.job_id(), Some(id("7")));

    let answered = self::cell();
    answered.claim();
    answered.deliver(status("forged", "done", 1), Trust::Token);
    answered.accepted(id("7"));
    assert_eq!(answered.job_id(), Some(id("7")));
}

#[test]
fn after_a_lost_answer_the_first_event_names_the_job() {
    for trust in [Trust::Token, Trust::Signed] {
        let cell = cell();
        cell.claim();
        cell.lost();
        cell.deliver(status("7", "running", 1), trust);
        assert_eq!((cell.claim(), cell.job_id()), (Claim::Accepted, Some(id("7"))));
    }
}

#[test]
fn a_terminal_state_is_absorbing_and_the_first_wins() {
    let cell = cell();
    cell.accepted(id("7"));
    assert_eq!(cell.deliver(status("8", "done", 1), Trust::Signed), Delivered::Foreign);
    assert_eq!(cell.deliver(status("7", "done", 1), Trust::Signed), Delivered::Finished);
    assert_eq!(cell.deliver(status("7", "done", 1), Trust::Signed), Delivered::Duplicate);
    assert_eq!(cell.deliver(status("7", "running", 1), Trust::Signed), Delivered::Duplicate);
    assert_eq!(cell.last_state(), Some(JobState::Done));
    let failed = JobResult::new(status("7", "failed", 1)).unwrap();
    let (kept, via) = cell.finish(failed, Via::Poll);
    assert_eq!((&kept.state, via), (&JobState::Done, Via::Webhook));
}

#[test]
fn unsigned_events_are_not_believed() {
    let cell = cell();
    cell.accepted(id("7"));
    assert_eq!(cell.deliver(status("7", "done", 1), Trust::Token), Delivered::Hint);
    let news = cell.look(&mut Seat::default(), Waker::noop());
    assert!(news.finished.is_none() && news.hints == 1 && news.heard == 0 && cell.last_state().is_none());
}

#[test]
fn late_events_do_not_turn_the_states_back() {
    let cell = cell();
    cell.accepted(id("7"));
    cell.keep_history();
    for (state, attempt) in [
        ("running", 1),
        ("queued", 0),
        ("running", 1),
        ("queued", 1),
        ("running", 2),
        ("running", 1),
        ("paused", 2),
        ("done", 2),
    ] {
        cell.deliver(status("7", state, attempt), Trust::Signed);
    }
    let (mut place, mut seen) = (0, Vec::new());
    while let (Some(change), _) = cell.watch_states(&mut Seat::default(), &mut place, Waker::noop()) {
        seen.push(change.state.to_string());
    }
    assert_eq!(seen, ["running", "queued", "running", "paused", "done"]);
}

#[test]
fn everybody_is_woken_and_seats_are_used_again() {
    let cell = cell();
    let counts: Vec<_> = (0..4).map(|_| Arc::new(Count::default())).collect();
    let mut seats = [(); 4].map(|()| Seat::default());
    let woken = |cell: &Cell| {
        let state = if cell.last_state() == Some(JobState::Queued) { "running" } else { "queued" };
        cell.observe(&status("7", state, 0));
        counts.iter().map(|count| count.0.swap(0, Relaxed)).collect::<Vec<_>>()
    };
    for at in [0, 1, 2, 1, 0] {
        cell.look(&mut seats[at], &Arc::clone(&counts[at]).into());
    }
    assert_eq!(woken(&cell), [1, 1, 1, 0]);
    assert_eq!(woken(&cell), [1, 1, 1, 0], "they stay seated");
    for at in [0, 1, 1] {
        cell.leave(&mut seats[at]);
    }
    assert_eq!(woken(&cell), [0, 0, 1, 0]);
    for at in [3, 0] {
        cell.look(&mut seats[at], &Arc::clone(&counts[at]).into());
    }
    assert_eq!(woken(&cell), [1, 0, 1, 1]);
}

#[test]
fn it_is_abandoned_with_the_last_hold() {
    let hold = Hold::fresh(None);
    let (cell, second) = (Arc::clone(hold.cell()), hold.clone());
    drop(hold);
    assert_eq!(cell.deliver(status("7", "running", 1), Trust::Signed), Delivered::Hint);
    drop(second.clone());
    drop(second);
    assert_eq!(cell.deliver(status("7", "done", 1), Trust::Signed), Delivered::Late);
}

#[test]
fn a_history_that_nobody_reads_is_bounded() {
    let cell = cell();
    cell.accepted(id("7"));
    cell.keep_history();
    for turn in 0..1_000 {
        cell.observe(&status("7", if turn % 2 == 0 { "a" } else { "b" }, 0));
    }
    let (mut place, mut seen) = (0, 0);
    while let (Some(_), _) = cell.watch_states(&mut Seat::default(), &mut place, Waker::noop()) {
        seen += 1;
    }
    assert_eq!(seen, 64);
}
