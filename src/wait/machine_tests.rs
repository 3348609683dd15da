//! One row for each race: the events, the second of each, and the action of the machine.

use super::Action::{Fail, Finish, Poll, PollFinally, PollLater, PollNow, PresumeLost, Resend, Send, Wait};
use super::Event::{
    Accepted, ClaimFailed, Claimed, Elapsed, Hint, Overtaken, PollFailed, Polled, ResultKnown, SendFailed, SignedState,
};
use super::*;

const LIMITS: WaitLimits = WaitLimits {
    failure_budget: Duration::from_secs(120),
    not_found_grace: Duration::from_secs(5),
    lost_response_window: Duration::from_secs(10),
    final_poll_timeout: Duration::from_secs(5),
};
const DEADLINE: Option<Duration> = Some(Duration::from_secs(1_000));
const WEBHOOKS: Facts = Facts { webhooks: true, idempotency: false, named_by_event: false, lost_at: None };
const POLLING: Facts = Facts { webhooks: false, idempotency: false, named_by_event: false, lost_at: None };
const WEBHOOKS_AND_KEYS: Facts = Facts { webhooks: true, idempotency: true, named_by_event: false, lost_at: None };
const POLLING_AND_KEYS: Facts = Facts { webhooks: false, idempotency: true, named_by_event: false, lost_at: None };

const MINE: Event = Claimed(SendState::Fresh);
const DONE: Event = Polled { terminal: true, prompted: false };
const RUNNING: Event = Polled { terminal: false, prompted: false };
const TRANSIENT: Event = PollFailed(Fault::Transient);
const NOT_FOUND: Event = PollFailed(Fault::NotFound);
const PERMANENT: Event = PollFailed(Fault::Permanent);

/// One row: its name, the facts, the steps (second, event, action), and whether the machine is over after them.
fn row(name: &str, facts: Facts, ends: bool, steps: &[(u64, Event, Action)]) {
    row_of(Machine::new(DEADLINE), name, facts, ends, steps);
}

fn row_of(mut machine: Machine, name: &str, facts: Facts, ends: bool, steps: &[(u64, Event, Action)]) {
    for (at, (second, event, expected)) in steps.iter().enumerate() {
        let action = machine.on(*event, Duration::from_secs(*second), facts, &LIMITS);
        assert_eq!(action, *expected, "{name}: step {at}, {event:?} at {second} s");
    }
    assert_eq!(machine.is_over(), ends, "{name}");
}

#[test]
fn the_ordinary_ways() {
    row(
        "by polling",
        POLLING,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (1, RUNNING, Wait), (3, DONE, Finish)],
    );
    row(
        "by webhook",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (1, RUNNING, Wait), (2, Hint, PollNow), (3, ResultKnown, Finish)],
    );
    row("attached", POLLING, true, &[(0, Claimed(SendState::Accepted), Poll), (0, DONE, Finish)]);
}

#[test]
fn events_before_the_202() {
    row("the end before the 202", WEBHOOKS, true, &[(0, MINE, Send), (1, ResultKnown, Finish), (2, Accepted, Wait)]);
    row("a hint before the 202", WEBHOOKS, false, &[(0, MINE, Send), (1, Hint, Wait), (2, Accepted, PollLater)]);
    row(
        "a hint, then the response is lost",
        WEBHOOKS,
        false,
        &[(0, MINE, Send), (1, Hint, Wait), (2, SendFailed(SendState::Accepted), Poll)],
    );
}

#[test]
fn two_sources_at_once() {
    row(
        "event, then poll",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (2, ResultKnown, Finish), (2, DONE, Wait)],
    );
    row(
        "poll, then event",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (2, DONE, Finish), (2, ResultKnown, Wait)],
    );
    row(
        "two events",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (2, ResultKnown, Finish), (2, ResultKnown, Wait)],
    );
    row(
        "terminal, then running",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (2, ResultKnown, Finish), (3, RUNNING, Wait), (3, Hint, Wait)],
    );
    row(
        "a poll older than the event",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, Accepted, PollLater), (2, Hint, PollNow), (2, RUNNING, Wait), (3, DONE, Finish)],
    );
}

#[test]
fn the_deadline_against_completion() {
    let begin = [(0, MINE, Send), (1, Accepted, PollLater)];
    let with = |rest: &[(u64, Event, Action)]| [&begin[..], rest].concat();
    row("it finishes first", WEBHOOKS, true, &with(&[(1_000, DONE, Finish), (1_000, Elapsed, Wait)]));
    row("the last look finds it", WEBHOOKS, true, &with(&[(1_000, Elapsed, PollFinally), (1_001, DONE, Finish)]));
    row(
        "an event comes during the last look",
        WEBHOOKS,
        true,
        &with(&[(1_000, Elapsed, PollFinally), (1_001, ResultKnown, Finish)]),
    );
    row(
        "the last look finds it running",
        WEBHOOKS,
        true,
        &with(&[(1_000, Elapsed, PollFinally), (1_001, RUNNING, Fail(Failure::Deadline))]),
    );
    row(
        "the last look fails",
        WEBHOOKS,
        true,
        &with(&[(1_000, Elapsed, PollFinally), (1_001, TRANSIENT, Fail(Failure::Deadline))]),
    );
    row(
        "the last look does not end",
        WEBHOOKS,
        true,
        &with(&[(1_000, Elapsed, PollFinally), (1_005, Elapsed, Fail(Failure::Deadline))]),
    );
    row(
        "a hint during the last look changes nothing",
        WEBHOOKS,
        false,
        &with(&[(1_000, Elapsed, PollFinally), (1_001, Hint, Wait)]),
    );
    row("while it is sent", WEBHOOKS, true, &[(0, MINE, Send), (1_000, Elapsed, Fail(Failure::Deadline))]);
    row(
        "behind another",
        WEBHOOKS,
        true,
        &[(0, Claimed(SendState::InFlight), Wait), (1_000, Elapsed, Fail(Failure::Deadline))],
    );
    row(
        "after a lost response",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (995, SendFailed(SendState::Lost), Wait), (1_000, Elapsed, Fail(Failure::Deadline))],
    );
    row("a timer that fires early is nothing", WEBHOOKS, false, &with(&[(999, Elapsed, Wait)]));
}

#[test]
fn submissions_that_fail() {
    row(
        "surely unsent",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, SendFailed(SendState::Fresh), Fail(Failure::Submission))],
    );
    row(
        "lost, polling",
        POLLING,
        true,
        &[(0, MINE, Send), (1, SendFailed(SendState::Lost), Fail(Failure::Submission))],
    );
    row(
        "lost, polling, keys: a layer or a clone resends",
        POLLING_AND_KEYS,
        true,
        &[(0, MINE, Send), (1, SendFailed(SendState::Lost), Fail(Failure::Submission))],
    );
    row(
        "lost, and an event names the job",
        WEBHOOKS,
        false,
        &[(0, MINE, Send), (1, SendFailed(SendState::Lost), Wait), (5, Claimed(SendState::Accepted), Poll)],
    );
    row(
        "lost, and an event has the result",
        WEBHOOKS,
        true,
        &[(0, MINE, Send), (1, SendFailed(SendState::Lost), Wait), (5, ResultKnown, Finish)],
    );
    row(
        "lost, no event, no keys: never twice",
        WEBHOOKS,
        true,
        &[
            (0, MINE, Send),
            (1, SendFailed(SendState::Lost), Wait),
            (10, Elapsed, Wait),
            (11, Elapsed, Fail(Failure::Lost)),
        ],
    );
    row(
        "lost, no event, keys: resent up to the limit",
        WEBHOOKS_AND_KEYS,
        true,
        &[
            (0, MINE, Send),
            (1, SendFailed(SendState::Lost), Wait),
            (11, Elapsed, Resend),
            (12, SendFailed(SendState::Lost), Wait),
            (22, Elapsed, Resend),
            (23, SendFailed(SendState::Lost), Wait),
            (33, Elapsed, Resend),
            (34, SendFailed(SendState::Lost), Wait),
            (44, Elapsed, Fail(Failure::Lost)),
        ],
    );
}

#[test]
fn full_registry_fails_before_sending() {
    row("no clone is known", WEBHOOKS, true, &[(0, ClaimFailed, Fail(Failure::Submission))]);
    row("a clone has the result", WEBHOOKS, true, &[(0, ResultKnown, Finish), (0, ClaimFailed, Wait)]);
}

#[test]
fn event_that_causes_the_last_poll_is_credited() {
    for (event, prompted) in [(Hint, true), (SignedState, false)] {
        let mut machine = Machine::new(DEADLINE);
        for event in [MINE, Accepted, RUNNING, event] {
            machine.on(event, Duration::ZERO, WEBHOOKS, &LIMITS);
        }
        assert_eq!(machine.was_prompted(), prompted, "{event:?}");
        machine.on(RUNNING, Duration::ZERO, WEBHOOKS, &LIMITS);
        assert!(!machine.was_prompted(), "a poll after it found nothing");
    }
}

#[test]
fn clones_of_one_request() {
    row(
        "behind one that is accepted",
        WEBHOOKS,
        false,
        &[(0, Claimed(SendState::InFlight), Wait), (1, Claimed(SendState::Accepted), Poll)],
    );
    row("behind one that did not arrive", WEBHOOKS, false, &[(0, Claimed(SendState::InFlight), Wait), (1, MINE, Send)]);
    row(
        "behind one that finished",
        WEBHOOKS,
        true,
        &[(0, Claimed(SendState::InFlight), Wait), (1, ResultKnown, Finish)],
    );
    row(
        "behind one that was dropped, polling, no keys",
        POLLING,
        true,
        &[(0, Claimed(SendState::InFlight), Wait), (1, Claimed(SendState::Lost), Fail(Failure::Lost))],
    );
    row(
        "behind one that was dropped, polling, keys",
        POLLING_AND_KEYS,
        false,
        &[(0, Claimed(SendState::InFlight), Wait), (1, Claimed(SendState::Lost), Resend)],
    );
    row(
        "after one that was dropped, push",
        WEBHOOKS,
        false,
        &[(0, Claimed(SendState::Lost), Wait), (3, Claimed(SendState::Accepted), Poll)],
    );
    row(
        "another sends again first",
        WEBHOOKS_AND_KEYS,
        false,
        &[
            (0, Claimed(SendState::Lost), Wait),
            (3, Claimed(SendState::InFlight), Wait),
            (4, Claimed(SendState::Accepted), Poll),
        ],
    );
    row(
        "behind one that is never polled again",
        POLLING_AND_KEYS,
        false,
        &[
            (0, Claimed(SendState::InFlight), Wait),
            (119, Elapsed, Wait),
            (120, Elapsed, PresumeLost),
            (120, Claimed(SendState::Lost), Resend),
        ],
    );
    row(
        "another takes the right to send again in between",
        POLLING_AND_KEYS,
        false,
        &[(0, Claimed(SendState::Lost), Resend), (0, Overtaken, Wait), (1, Claimed(SendState::Accepted), Poll)],
    );
    row(
        "the window is not begun anew by a wake-up",
        WEBHOOKS,
        true,
        &[(0, Claimed(SendState::Lost), Wait), (9, Claimed(SendState::Lost), Wait), (10, Elapsed, Fail(Failure::Lost))],
    );
}

#[test]
fn polls_that_fail() {
    let begin = [(0, MINE, Send), (1, Accepted, PollLater)];
    let with = |rest: &[(u64, Event, Action)]| [&begin[..], rest].concat();
    row("one fault does not end it", WEBHOOKS, false, &with(&[(2, TRANSIENT, Wait), (100, TRANSIENT, Wait)]));
    row(
        "a streak over the budget does",
        WEBHOOKS,
        true,
        &with(&[(2, TRANSIENT, Wait), (121, TRANSIENT, Wait), (122, TRANSIENT, Fail(Failure::Poll))]),
    );
    row(
        "a success ends the streak",
        WEBHOOKS,
        false,
        &with(&[(2, TRANSIENT, Wait), (100, RUNNING, Wait), (130, TRANSIENT, Wait), (249, TRANSIENT, Wait)]),
    );
    row(
        "so does a signed event, and nothing need be asked",
        WEBHOOKS,
        false,
        &with(&[(2, TRANSIENT, Wait), (100, SignedState, Wait), (130, TRANSIENT, Wait), (249, TRANSIENT, Wait)]),
    );
    row(
        "so does an unsigned one",
        WEBHOOKS,
        false,
        &with(&[(2, TRANSIENT, Wait), (100, Hint, PollNow), (130, TRANSIENT, Wait)]),
    );
    row("one fault after a long pause is no streak", WEBHOOKS, false, &with(&[(500, TRANSIENT, Wait)]));
    row("401 ends it at once", WEBHOOKS, true, &with(&[(2, PERMANENT, Fail(Failure::Poll))]));
    row(
        "404 has a grace after the submission",
        WEBHOOKS,
        true,
        &with(&[(2, NOT_FOUND, Wait), (5, NOT_FOUND, Wait), (6, NOT_FOUND, Fail(Failure::Poll))]),
    );
    row("404 in the grace, then it is there", WEBHOOKS, false, &with(&[(2, NOT_FOUND, Wait), (5, RUNNING, Wait)]));
    row(
        "404 right after another wait had the 202",
        POLLING,
        false,
        &[(0, Claimed(SendState::Accepted), Poll), (0, NOT_FOUND, Wait), (4, NOT_FOUND, Wait)],
    );
    row_of(
        Machine::attached(DEADLINE),
        "404 has no grace for one attached to",
        POLLING,
        true,
        &[(0, Claimed(SendState::Accepted), Poll), (0, NOT_FOUND, Fail(Failure::Poll))],
    );
    row(
        "404 has a grace for a clone that attaches right after the submission",
        POLLING,
        false,
        &[(0, Claimed(SendState::Accepted), Poll), (0, NOT_FOUND, Wait), (1, RUNNING, Wait)],
    );
}

#[test]
fn the_time_to_wake_is_the_nearest_that_matters() {
    let seconds = |machine: &Machine| machine.wake_at(&LIMITS).map(|at| at.as_secs());
    let mut machine = Machine::new(DEADLINE);
    let on = |machine: &mut Machine, event, second| machine.on(event, Duration::from_secs(second), WEBHOOKS, &LIMITS);
    assert_eq!(seconds(&machine), Some(1_000));
    on(&mut machine, MINE, 0);
    on(&mut machine, SendFailed(SendState::Lost), 7);
    assert_eq!(seconds(&machine), Some(17));
    on(&mut machine, Claimed(SendState::Accepted), 8);
    assert_eq!(seconds(&machine), Some(1_000));
    on(&mut machine, Elapsed, 1_000);
    assert_eq!(seconds(&machine), Some(1_005));
    on(&mut machine, ResultKnown, 1_001);
    assert_eq!(seconds(&machine), None);
    assert_eq!(Machine::new(None).wake_at(&LIMITS), None);
}

/// In every order of events it never sends twice without idempotency keys, and does nothing after it is over.
#[test]
fn no_order_of_events_sends_twice_or_wakes_the_dead() {
    let events = [
        MINE,
        Claimed(SendState::InFlight),
        Claimed(SendState::Lost),
        Claimed(SendState::Accepted),
        Accepted,
        SendFailed(SendState::Lost),
        SendFailed(SendState::Accepted),
        ResultKnown,
        SignedState,
        Hint,
        DONE,
        RUNNING,
        TRANSIENT,
        NOT_FOUND,
        PERMANENT,
        Elapsed,
    ];
    let mut runs = vec![Vec::new()];
    for _ in 0..4 {
        runs = runs
            .into_iter()
            .flat_map(|run: Vec<Event>| events.iter().map(move |event| [&run[..], &[*event]].concat()))
            .collect();
    }
    assert_eq!(runs.len(), events.len().pow(4));
    for run in runs {
        for facts in [WEBHOOKS, POLLING] {
            let mut machine = Machine::new(DEADLINE);
            let (mut sent, mut ended) = (0, 0);
            for (step, event) in run.iter().enumerate() {
                let was_over = machine.is_over();
                // A claim is mine only once: the cell sees to that (its tests show it).
                if *event == MINE && sent > 0 {
                    continue;
                }
                let action = machine.on(*event, Duration::from_secs(step as u64 * 400), facts, &LIMITS);
                assert!(!was_over || action == Wait, "{run:?}");
                sent += u32::from(matches!(action, Send | Resend));
                ended += u32::from(matches!(action, Finish | Fail(_)));
            }
            assert!(sent <= 1 && ended <= 1 && machine.is_over() == (ended == 1), "{run:?}");
        }
    }
}
