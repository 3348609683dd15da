//! What the clones of a request see of each other, and what events do to a submission.

use super::*;

/// A time of no importance.
const T: Duration = Duration::from_secs(3);

fn id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn status(job: &str, state: &str, attempt: u64) -> JobStatus {
    let mut status = JobStatus::new(id(job), state.into());
    status.attempt = attempt;
    status
}

fn fresh() -> SubmissionState {
    SubmissionState::new(None)
}

fn accepted(job: &str) -> SubmissionState {
    let mut state = fresh();
    state.accept(id(job));
    state
}

/// Every state in the history, in order.
fn states(state: &SubmissionState) -> Vec<String> {
    let mut next = 0;
    std::iter::from_fn(|| state.history()?.next(&mut next)).map(|change| change.state.to_string()).collect()
}

#[test]
fn only_one_wait_sends_at_a_time() {
    let mut state = fresh();
    assert_eq!([state.claim(), state.claim()], [SendState::Fresh, SendState::InFlight]);
    state.unsent(T);
    assert_eq!([state.claim(), state.claim()], [SendState::Fresh, SendState::InFlight]);
    assert_eq!(state.lost(T), SendState::Lost);
    assert_eq!(state.claim(), SendState::Lost, "what may have arrived is not sent again");
    assert_eq!([state.reclaim(), state.reclaim()], [true, false], "unless the daemon supports keys, and then by one");
    state.accept(id("7"));
    assert_eq!((state.claim(), state.reclaim()), (SendState::Accepted, false));
    state.unsent(T);
    assert_eq!(state.lost(T), SendState::Accepted, "accepted is final");
}

#[test]
fn a_refusal_after_a_lost_attempt_stays_lost() {
    let mut state = fresh();
    state.claim();
    state.pause_after(Error::new(crate::error::Kind::Lost));
    assert_eq!(state.unsent(T), SendState::Lost);
}

#[test]
fn event_before_response_is_confirmed_by_it() {
    for (trust, finishes) in [(Trust::Signed, true), (Trust::TokenOnly, false)] {
        let mut state = fresh();
        state.claim();
        for (job, word) in [("7", "running"), ("7", "done"), ("7", "running"), ("8", "failed")] {
            assert_eq!(state.event(status(job, word, 1), trust), EventOutcome::Hint);
        }
        assert_eq!((state.job_id(), state.last_state()), (None, None));
        assert_eq!(state.snapshot().unconfirmed_result, finishes);
        let mut other = fresh();
        other.claim();
        other.event(status("8", "done", 1), trust);

        state.accept(id("7"));
        assert_eq!((state.has_result(), state.snapshot().terminal_hint), (finishes, !finishes));
        other.accept(id("7"));
        assert!(!other.has_result() && other.snapshot().terminal_hint, "a poll decides");
    }
}

#[test]
fn event_names_job_without_its_result_if_response_is_lost() {
    let mut state = fresh();
    state.claim();
    state.event(status("7", "done", 1), Trust::Signed);
    assert_eq!(state.lost(T), SendState::Accepted);
    assert_eq!((state.job_id(), state.has_result()), (Some(&id("7")), false));
    assert!(state.snapshot().terminal_hint, "a poll decides");
}

#[test]
fn unsigned_event_names_job_only_if_response_is_lost() {
    let mut state = fresh();
    state.claim();
    assert_eq!(state.event(status("7", "done", 1), Trust::TokenOnly), EventOutcome::Hint);
    assert_eq!(state.job_id(), None);
    assert_eq!(state.lost(T), SendState::Accepted);
    assert_eq!(state.job_id(), Some(&id("7")));

    let mut answered = fresh();
    answered.claim();
    answered.event(status("forged", "done", 1), Trust::TokenOnly);
    answered.accept(id("7"));
    assert_eq!(answered.job_id(), Some(&id("7")));
}

#[test]
fn first_event_after_lost_response_names_job() {
    for trust in [Trust::TokenOnly, Trust::Signed] {
        let mut state = fresh();
        state.claim();
        state.lost(T);
        state.event(status("7", "running", 1), trust);
        assert_eq!((state.claim(), state.job_id()), (SendState::Accepted, Some(&id("7"))));
    }
}

#[test]
fn first_terminal_state_wins() {
    let mut state = accepted("7");
    assert_eq!(state.event(status("8", "done", 1), Trust::Signed), EventOutcome::WrongJob);
    assert_eq!(state.event(status("7", "done", 1), Trust::Signed), EventOutcome::Finished);
    assert_eq!(state.event(status("7", "done", 1), Trust::Signed), EventOutcome::Duplicate);
    assert_eq!(state.event(status("7", "running", 1), Trust::Signed), EventOutcome::Duplicate);
    assert_eq!(state.last_state(), Some(&JobState::Done));
    let failed = JobResult::new(status("7", "failed", 1)).unwrap();
    let (kept, via) = state.finish(failed, Via::Poll);
    assert_eq!((kept.state(), via), (&JobState::Done, Via::Webhook));
}

#[test]
fn unsigned_event_is_only_a_hint() {
    let mut state = accepted("7");
    assert_eq!(state.event(status("7", "done", 1), Trust::TokenOnly), EventOutcome::Hint);
    let snapshot = state.snapshot();
    assert!(snapshot.result.is_none() && snapshot.hints == 1 && snapshot.signed_events == 0);
    assert_eq!(state.last_state(), None);
}

#[test]
fn late_events_do_not_turn_states_back() {
    let mut state = accepted("7");
    state.keep_history();
    for (word, attempt) in [
        ("running", 1),
        ("queued", 0),
        ("running", 1),
        ("queued", 1),
        ("running", 2),
        ("running", 1),
        ("paused", 2),
        ("done", 2),
    ] {
        state.event(status("7", word, attempt), Trust::Signed);
    }
    assert_eq!(states(&state), ["running", "queued", "running", "paused", "done"]);
}

#[test]
fn new_position_in_the_queue_is_a_change() {
    let queued = |position, attempt| {
        let mut status = status("7", "queued", attempt);
        status.position = position;
        status
    };
    let mut state = accepted("7");
    state.polled(&queued(Some(9), 0));
    state.take_changed();
    state.polled(&queued(Some(8), 0));
    assert!(!state.take_changed(), "nobody watches the states");
    state.keep_history();
    for (position, changes) in [(Some(3), true), (Some(3), false), (None, false), (Some(3), false), (Some(4), true)] {
        state.polled(&queued(position, 0));
        assert_eq!(state.take_changed(), changes, "{position:?}");
    }
    state.event(queued(Some(1), 0), Trust::Signed);
    let mut running = status("7", "running", 1);
    running.position = Some(1);
    state.polled(&running);
    state.polled(&queued(Some(2), 0));
    state.polled(&queued(Some(5), 1));
    let mut next = 0;
    let seen = std::iter::from_fn(|| state.history()?.next(&mut next));
    let seen: Vec<_> = seen.map(|change| (change.state.to_string(), change.position, change.via)).collect();
    let expected = [
        ("queued", None, Via::Poll),
        ("queued", Some(3), Via::Poll),
        ("queued", Some(4), Via::Poll),
        ("queued", Some(1), Via::Webhook),
        ("running", None, Via::Poll),
        ("queued", Some(5), Via::Poll),
    ];
    assert_eq!(seen, expected.map(|(state, position, via)| (state.to_owned(), position, via)));
}

#[test]
fn positions_do_not_outgrow_the_history() {
    let mut state = accepted("7");
    state.keep_history();
    for position in 1..200 {
        let mut status = status("7", "queued", 0);
        status.position = Some(200 - position);
        state.polled(&status);
    }
    state.event(status("7", "done", 1), Trust::Signed);
    let states = states(&state);
    assert_eq!((states.len(), states.last().map(String::as_str)), (64, Some("done")));
}

#[test]
fn history_is_bounded() {
    let mut state = accepted("7");
    state.keep_history();
    for turn in 0..1_000 {
        state.polled(&status("7", if turn % 2 == 0 { "a" } else { "b" }, 0));
    }
    assert_eq!(states(&state).len(), 64);
}

#[test]
fn abandoned_submission_takes_no_events() {
    let mut state = accepted("7");
    assert_eq!(state.abandon(), (Some(id("7")), false));
    assert_eq!(state.event(status("7", "done", 1), Trust::Signed), EventOutcome::Late);
}

#[test]
fn only_changes_wake() {
    let mut state = fresh();
    state.claim();
    assert!(!state.take_changed(), "a claim concerns nobody else");
    state.accept(id("7"));
    assert!(state.take_changed() && !state.take_changed());
    state.polled(&status("7", "queued", 0));
    assert!(state.take_changed());
    state.polled(&status("7", "queued", 0));
    assert!(!state.take_changed(), "the same state again is no change");
}

#[test]
fn event_of_the_event_stream_is_the_result() {
    let mut state = accepted("7");
    state.streamed(status("8", "done", 1), false);
    state.streamed(status("7", "running", 1), false);
    assert!(!state.has_result() && state.snapshot().signed_events == 1);
    // One without its result is a reason to poll.
    state.streamed(status("7", "done", 1), true);
    assert!(!state.has_result() && state.snapshot().terminal_hint && state.is_hinted_by_stream());
    state.hint(false);
    assert!(!state.is_hinted_by_stream());
    state.streamed(status("7", "done", 1), false);
    assert!(state.snapshot().result.is_some_and(|(_, via)| via == Via::EventStream));
    state.streamed(status("7", "failed", 1), false);
    assert!(state.snapshot().result.is_some_and(|(result, _)| result.state() == &JobState::Done));
}

#[test]
fn event_of_the_event_stream_names_no_job() {
    // Before the response, and while the id from a webhook is being confirmed.
    let mut state = fresh();
    state.claim();
    state.streamed(status("7", "done", 1), false);
    assert!(!state.has_result() && state.job_id().is_none() && state.snapshot().hints == 1);
    let mut state = accepted("7");
    state.abandon();
    state.streamed(status("7", "done", 1), false);
    assert!(!state.has_result());
}
