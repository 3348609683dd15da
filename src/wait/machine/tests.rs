//! One row for each race: the events, the second of each, and the action of the machine.

use super::Action::{Fail, Finish, Poll, PollFinally, PollLater, PollNow, PresumeLost, Resend, Send, Wait};
use super::Event::{
    Accepted, ClaimFailed, Claimed, Elapsed, Hint, Overtaken, PollFailed, Polled, ResultKnown, SendFailed,
    ShuttingDown, SignedState, UnconfirmedResult,
};
use super::*;

const LIMITS: WaitLimits = WaitLimits {
    failure_budget: Duration::from_secs(120),
    not_found_grace: Duration::from_secs(5),
    lost_response_window: Duration::from_secs(10),
    final_poll_timeout: Some(Duration::from_secs(5)),
};
const DEADLINE: Option<Duration> = Some(Duration::from_secs(1_000));
const WEBHOOKS: Facts =
    Facts { webhooks: true, idempotency: false, named_by_event: false, is_named: false, paused: false, lost_at: None };
const POLLING: Facts =
    Facts { webhooks: false, idempotency: false, named_by_event: false, is_named: false, paused: false, lost_at: None };
const WEBHOOKS_AND_KEYS: Facts =
    Facts { webhooks: true, idempotency: true, named_by_event: false, is_named: false, paused: false, lost_at: None };
const POLLING_AND_KEYS: Facts =
    Facts { webhooks: false, idempotency: true, named_by_event: false, is_named: false, paused: false, lost_at: None };

const MINE: Event = Claimed(SendState::Fresh);
const DONE: Event = Polled { terminal: true, prompted: false };
const RUNNING: Event = Polled { terminal: false, prompted: false };
const TRANSIENT: Event = PollFailed(Fault::Transient);
const NOT_FOUND: Event = PollFailed(Fault::NotFound);
const PERMANENT: Event = PollFailed(Fault::Permanent);

/// One row: its name, the facts, the steps (second, event, action), and whether the machine is over after them. The response is lost
/// when a step says so, unless the facts have another time.
fn row(name: &str, facts: Facts, ends: bool, steps: &[(u64, Event, Action)]) {
    row_of(Machine::new(DEADLINE), name, facts, ends, steps);
}

fn row_of(mut machine: Machine, name: &str, facts: Facts, ends: bool, steps: &[(u64, Event, Action)]) {
    let mut lost_at = facts.lost_at;
    for (at, (second, event, expected)) in steps.iter().enumerate() {
        match event {
            SendFailed(SendState::Lost) => lost_at = Some(Duration::from_secs(*second)),
            Claimed(SendState::Lost) => lost_at = lost_at.or(Some(Duration::from_secs(*second))),
            _ => {}
        }
        let action = machine.on(*event, Duration::from_secs(*second), Facts { lost_at, ..facts }, &LIMITS);
        assert_eq!(action, *expected, "{name}: step {at}, {event:?} at {second} s");
    }
    assert_eq!(machine.is_over(), ends, "{name}");
}

mod deadline;
mod submissions;

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
        &[
            (0, MINE, Send),
            (1, Hint, Wait),
            (2, SendFailed(SendState::Accepted), Wait),
            (2, Claimed(SendState::Accepted), Poll),
        ],
    );
}

/// A signed event may be one of another job until the response confirms its id.
#[test]
fn results_before_the_202() {
    let begin = [(0, MINE, Send), (1, UnconfirmedResult, Wait)];
    let with = |more: &[(u64, Event, Action)]| [&begin, more].concat();
    row("the 202 confirms it", WEBHOOKS, true, &with(&[(2, Accepted, PollLater), (2, ResultKnown, Finish)]));
    row(
        "no 202 comes, no keys: a poll decides in the end",
        WEBHOOKS,
        false,
        &with(&[
            (3, Elapsed, Wait),
            (121, Elapsed, PresumeLost),
            (121, SendFailed(SendState::Accepted), Wait),
            (121, Claimed(SendState::Accepted), Poll),
        ]),
    );
    let named = Facts { named_by_event: true, ..WEBHOOKS_AND_KEYS };
    row(
        "no 202 comes: the same key returns the id",
        named,
        false,
        &with(&[
            (3, Elapsed, PresumeLost),
            (3, SendFailed(SendState::Accepted), Wait),
            (3, Claimed(SendState::Accepted), Resend),
            (4, SendFailed(SendState::Accepted), Wait),
            (4, Claimed(SendState::Accepted), Resend),
            (5, SendFailed(SendState::Accepted), Wait),
            (5, Claimed(SendState::Accepted), Resend),
            (6, SendFailed(SendState::Accepted), Wait),
            (6, Claimed(SendState::Accepted), Poll),
        ]),
    );
    row(
        "the sender is not polled",
        WEBHOOKS_AND_KEYS,
        false,
        &[
            (0, Claimed(SendState::InFlight), Wait),
            (1, UnconfirmedResult, Wait),
            (3, Elapsed, PresumeLost),
            (3, Claimed(SendState::Accepted), Poll),
        ],
    );
}

#[test]
fn shutdown_ends_every_phase_and_no_result() {
    for steps in [&[][..], &[(0, MINE, Send)], &[(0, MINE, Send), (1, Accepted, PollLater)]] {
        let end = [(2, ShuttingDown, Fail(Failure::ShuttingDown)), (3, ShuttingDown, Wait)];
        row("shutdown", WEBHOOKS, true, &[steps, &end].concat());
    }
    row("after the result", WEBHOOKS, true, &[(0, MINE, Send), (1, ResultKnown, Finish), (1, ShuttingDown, Wait)]);
}

#[test]
fn window_of_a_lost_response_counts_from_the_loss() {
    let lost_at = |second| Facts { lost_at: Some(Duration::from_secs(second)), ..WEBHOOKS };
    row(
        "a clone has what is left",
        lost_at(3),
        true,
        &[
            (8, Claimed(SendState::Lost), Wait),
            (12, Elapsed, Wait),
            (13, Elapsed, Wait),
            (13, Claimed(SendState::Lost), Fail(Failure::Lost)),
        ],
    );
    row("or nothing", lost_at(3), true, &[(13, Claimed(SendState::Lost), Fail(Failure::Lost))]);
}

#[test]
fn pauses_that_the_daemon_asks_for_are_varied() {
    let (now, until) = (Duration::from_secs(5), Duration::from_secs(15));
    let ends: std::collections::HashSet<_> = (0..50)
        .map(|_| {
            let mut machine = Machine::new(None);
            assert!(machine.has_to_pause(Some(until), now) && !machine.has_to_pause(None, now));
            let end = machine.wake_at().unwrap();
            assert!((until..=until + Duration::from_secs(1)).contains(&end), "{end:?}");
            assert!(machine.has_to_pause(Some(until), now), "asked again");
            assert_eq!(machine.wake_at(), Some(end), "the end stays");
            assert!(!machine.has_to_pause(Some(until), end));
            end
        })
        .collect();
    assert!(ends.len() > 40, "{}", ends.len());
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
    let seconds = |machine: &Machine| machine.wake_at().map(|at| at.as_secs());
    let mut machine = Machine::new(DEADLINE);
    let on = |machine: &mut Machine, event, second| machine.on(event, Duration::from_secs(second), WEBHOOKS, &LIMITS);
    assert_eq!(seconds(&machine), Some(1_000));
    on(&mut machine, MINE, 0);
    on(&mut machine, SendFailed(SendState::Lost), 7);
    on(&mut machine, Claimed(SendState::Lost), 7);
    assert_eq!(seconds(&machine), Some(17));
    on(&mut machine, Claimed(SendState::Accepted), 8);
    assert_eq!(seconds(&machine), Some(1_000));
    on(&mut machine, Elapsed, 1_000);
    assert_eq!(seconds(&machine), Some(1_005));
    on(&mut machine, ResultKnown, 1_001);
    assert_eq!(seconds(&machine), None);
    assert_eq!(Machine::new(None).wake_at(), None);
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
