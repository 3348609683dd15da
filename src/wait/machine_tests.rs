//! Each race has a row: what happens at which second, and what the machine says to each.

use super::Action::{Fail, Finish, Follow, Hurry, LastLook, Nothing, Resend, Submit};
use super::Event::{Accepted, Claimed, Elapsed, Finished, Heard, Hinted, MaybeSent, PollFailed, Told, Unsent};
use super::*;

const LIMITS: Limits = Limits {
    failure_budget: Duration::from_secs(120),
    not_found_grace: Duration::from_secs(5),
    answer_window: Duration::from_secs(10),
    last_look: Duration::from_secs(5),
};
const DEADLINE: Option<Duration> = Some(Duration::from_secs(1_000));
const PUSH: Known = Known { events: true, keeps_keys: false };
const POLLING: Known = Known { events: false, keeps_keys: false };
const PUSH_AND_KEYS: Known = Known { events: true, keeps_keys: true };
const POLLING_AND_KEYS: Known = Known { events: false, keeps_keys: true };

const MINE: Event = Claimed(Claim::Mine);
const DONE: Event = Told { terminal: true };
const RUNNING: Event = Told { terminal: false };
const TRANSIENT: Event = PollFailed(Fault::Transient);
const NOT_FOUND: Event = PollFailed(Fault::NotFound);
const PERMANENT: Event = PollFailed(Fault::Permanent);

/// One row: its name, what is known, and (second, event, action) one after the other. It ends over or not over.
fn row(name: &str, known: Known, ends: bool, steps: &[(u64, Event, Action)]) {
    row_of(Machine::new(DEADLINE), name, known, ends, steps);
}

fn row_of(mut machine: Machine, name: &str, known: Known, ends: bool, steps: &[(u64, Event, Action)]) {
    for (at, (second, event, expected)) in steps.iter().enumerate() {
        let action = machine.on(*event, Duration::from_secs(*second), known, &LIMITS);
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
        &[(0, MINE, Submit), (1, Accepted, Follow), (1, RUNNING, Nothing), (3, DONE, Finish)],
    );
    row(
        "by webhook",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, Accepted, Follow), (1, RUNNING, Nothing), (2, Hinted, Hurry), (3, Finished, Finish)],
    );
    row("attached", POLLING, true, &[(0, Claimed(Claim::Accepted), Follow), (0, DONE, Finish)]);
}

#[test]
fn events_before_the_202() {
    row("the end before the 202", PUSH, true, &[(0, MINE, Submit), (1, Finished, Finish), (2, Accepted, Nothing)]);
    row("a hint before the 202", PUSH, false, &[(0, MINE, Submit), (1, Hinted, Nothing), (2, Accepted, Follow)]);
    row(
        "a hint, and then the answer is lost",
        PUSH,
        false,
        &[(0, MINE, Submit), (1, Hinted, Nothing), (2, MaybeSent(Claim::Accepted), Follow)],
    );
}

#[test]
fn two_sources_at_once() {
    row(
        "event, then poll",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, Accepted, Follow), (2, Finished, Finish), (2, DONE, Nothing)],
    );
    row(
        "poll, then event",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, Accepted, Follow), (2, DONE, Finish), (2, Finished, Nothing)],
    );
    row(
        "two events",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, Accepted, Follow), (2, Finished, Finish), (2, Finished, Nothing)],
    );
    row(
        "terminal, then running",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, Accepted, Follow), (2, Finished, Finish), (3, RUNNING, Nothing), (3, Hinted, Nothing)],
    );
    row(
        "a poll older than the event",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, Accepted, Follow), (2, Hinted, Hurry), (2, RUNNING, Nothing), (3, DONE, Finish)],
    );
}

#[test]
fn the_deadline_against_completion() {
    let begin = [(0, MINE, Submit), (1, Accepted, Follow)];
    let with = |rest: &[(u64, Event, Action)]| [&begin[..], rest].concat();
    row("it finishes first", PUSH, true, &with(&[(1_000, DONE, Finish), (1_000, Elapsed, Nothing)]));
    row("the last look finds it", PUSH, true, &with(&[(1_000, Elapsed, LastLook), (1_001, DONE, Finish)]));
    row(
        "an event comes during the last look",
        PUSH,
        true,
        &with(&[(1_000, Elapsed, LastLook), (1_001, Finished, Finish)]),
    );
    row(
        "the last look finds it running",
        PUSH,
        true,
        &with(&[(1_000, Elapsed, LastLook), (1_001, RUNNING, Fail(Failure::Deadline))]),
    );
    row(
        "the last look fails",
        PUSH,
        true,
        &with(&[(1_000, Elapsed, LastLook), (1_001, TRANSIENT, Fail(Failure::Deadline))]),
    );
    row(
        "the last look does not end",
        PUSH,
        true,
        &with(&[(1_000, Elapsed, LastLook), (1_005, Elapsed, Fail(Failure::Deadline))]),
    );
    row(
        "a hint during the last look changes nothing",
        PUSH,
        false,
        &with(&[(1_000, Elapsed, LastLook), (1_001, Hinted, Nothing)]),
    );
    row("while it is sent", PUSH, true, &[(0, MINE, Submit), (1_000, Elapsed, Fail(Failure::Deadline))]);
    row(
        "behind another",
        PUSH,
        true,
        &[(0, Claimed(Claim::Behind), Nothing), (1_000, Elapsed, Fail(Failure::Deadline))],
    );
    row(
        "after a lost answer",
        PUSH,
        true,
        &[(0, MINE, Submit), (995, MaybeSent(Claim::Lost), Nothing), (1_000, Elapsed, Fail(Failure::Deadline))],
    );
    row("a timer that fires early is nothing", PUSH, false, &with(&[(999, Elapsed, Nothing)]));
}

#[test]
fn submissions_that_fail() {
    row("surely unsent", PUSH, true, &[(0, MINE, Submit), (1, Unsent, Fail(Failure::Submission))]);
    row("lost, polling", POLLING, true, &[(0, MINE, Submit), (1, MaybeSent(Claim::Lost), Fail(Failure::Submission))]);
    row(
        "lost, polling, keys kept: a layer or a clone sends again",
        POLLING_AND_KEYS,
        true,
        &[(0, MINE, Submit), (1, MaybeSent(Claim::Lost), Fail(Failure::Submission))],
    );
    row(
        "lost, and an event names the job",
        PUSH,
        false,
        &[(0, MINE, Submit), (1, MaybeSent(Claim::Lost), Nothing), (5, Claimed(Claim::Accepted), Follow)],
    );
    row(
        "lost, and an event tells the end",
        PUSH,
        true,
        &[(0, MINE, Submit), (1, MaybeSent(Claim::Lost), Nothing), (5, Finished, Finish)],
    );
    row(
        "lost, no event, no keys: never twice",
        PUSH,
        true,
        &[
            (0, MINE, Submit),
            (1, MaybeSent(Claim::Lost), Nothing),
            (10, Elapsed, Nothing),
            (11, Elapsed, Fail(Failure::Lost)),
        ],
    );
    row(
        "lost, no event, keys kept: sent again, so many times",
        PUSH_AND_KEYS,
        true,
        &[
            (0, MINE, Submit),
            (1, MaybeSent(Claim::Lost), Nothing),
            (11, Elapsed, Resend),
            (12, MaybeSent(Claim::Lost), Nothing),
            (22, Elapsed, Resend),
            (23, MaybeSent(Claim::Lost), Nothing),
            (33, Elapsed, Resend),
            (34, MaybeSent(Claim::Lost), Nothing),
            (44, Elapsed, Fail(Failure::Lost)),
        ],
    );
}

#[test]
fn clones_of_one_request() {
    row(
        "behind one that is accepted",
        PUSH,
        false,
        &[(0, Claimed(Claim::Behind), Nothing), (1, Claimed(Claim::Accepted), Follow)],
    );
    row("behind one that did not arrive", PUSH, false, &[(0, Claimed(Claim::Behind), Nothing), (1, MINE, Submit)]);
    row("behind one that finished", PUSH, true, &[(0, Claimed(Claim::Behind), Nothing), (1, Finished, Finish)]);
    row(
        "behind one that was dropped, polling, no keys",
        POLLING,
        true,
        &[(0, Claimed(Claim::Behind), Nothing), (1, Claimed(Claim::Lost), Fail(Failure::Lost))],
    );
    row(
        "behind one that was dropped, polling, keys",
        POLLING_AND_KEYS,
        false,
        &[(0, Claimed(Claim::Behind), Nothing), (1, Claimed(Claim::Lost), Resend)],
    );
    row(
        "after one that was dropped, push",
        PUSH,
        false,
        &[(0, Claimed(Claim::Lost), Nothing), (3, Claimed(Claim::Accepted), Follow)],
    );
    row(
        "another sends again first",
        PUSH_AND_KEYS,
        false,
        &[
            (0, Claimed(Claim::Lost), Nothing),
            (3, Claimed(Claim::Behind), Nothing),
            (4, Claimed(Claim::Accepted), Follow),
        ],
    );
    row(
        "the window is not begun anew by a wake-up",
        PUSH,
        true,
        &[(0, Claimed(Claim::Lost), Nothing), (9, Claimed(Claim::Lost), Nothing), (10, Elapsed, Fail(Failure::Lost))],
    );
}

#[test]
fn polls_that_fail() {
    let begin = [(0, MINE, Submit), (1, Accepted, Follow)];
    let with = |rest: &[(u64, Event, Action)]| [&begin[..], rest].concat();
    row("one fault does not end it", PUSH, false, &with(&[(2, TRANSIENT, Nothing), (100, TRANSIENT, Nothing)]));
    row(
        "a streak over the budget does",
        PUSH,
        true,
        &with(&[(2, TRANSIENT, Nothing), (121, TRANSIENT, Nothing), (122, TRANSIENT, Fail(Failure::Poll))]),
    );
    row(
        "a success ends the streak",
        PUSH,
        false,
        &with(&[
            (2, TRANSIENT, Nothing),
            (100, RUNNING, Nothing),
            (130, TRANSIENT, Nothing),
            (249, TRANSIENT, Nothing),
        ]),
    );
    row(
        "so does a signed event, and nothing need be asked",
        PUSH,
        false,
        &with(&[(2, TRANSIENT, Nothing), (100, Heard, Nothing), (130, TRANSIENT, Nothing), (249, TRANSIENT, Nothing)]),
    );
    row(
        "so does an unsigned one",
        PUSH,
        false,
        &with(&[(2, TRANSIENT, Nothing), (100, Hinted, Hurry), (130, TRANSIENT, Nothing)]),
    );
    row("one fault after a long pause is no streak", PUSH, false, &with(&[(500, TRANSIENT, Nothing)]));
    row("401 ends it at once", PUSH, true, &with(&[(2, PERMANENT, Fail(Failure::Poll))]));
    row(
        "404 has a grace after the submission",
        PUSH,
        true,
        &with(&[(2, NOT_FOUND, Nothing), (5, NOT_FOUND, Nothing), (6, NOT_FOUND, Fail(Failure::Poll))]),
    );
    row("404 in the grace, then it is there", PUSH, false, &with(&[(2, NOT_FOUND, Nothing), (5, RUNNING, Nothing)]));
    row(
        "404 right after another wait had the 202",
        POLLING,
        false,
        &[(0, Claimed(Claim::Accepted), Follow), (0, NOT_FOUND, Nothing), (4, NOT_FOUND, Nothing)],
    );
    row_of(
        Machine::attached(DEADLINE),
        "404 has no grace for one attached to",
        POLLING,
        true,
        &[(0, Claimed(Claim::Accepted), Follow), (0, NOT_FOUND, Fail(Failure::Poll))],
    );
    row(
        "404 has a grace for a clone that attaches right after the submission",
        POLLING,
        false,
        &[(0, Claimed(Claim::Accepted), Follow), (0, NOT_FOUND, Nothing), (1, RUNNING, Nothing)],
    );
}

#[test]
fn the_time_to_wake_is_the_nearest_that_matters() {
    let seconds = |machine: &Machine| machine.wake_at(&LIMITS).map(|at| at.as_secs());
    let mut machine = Machine::new(DEADLINE);
    let on = |machine: &mut Machine, event, second| machine.on(event, Duration::from_secs(second), PUSH, &LIMITS);
    assert_eq!(seconds(&machine), Some(1_000));
    on(&mut machine, MINE, 0);
    on(&mut machine, MaybeSent(Claim::Lost), 7);
    assert_eq!(seconds(&machine), Some(17));
    on(&mut machine, Claimed(Claim::Accepted), 8);
    assert_eq!(seconds(&machine), Some(1_000));
    on(&mut machine, Elapsed, 1_000);
    assert_eq!(seconds(&machine), Some(1_005));
    on(&mut machine, Finished, 1_001);
    assert_eq!(seconds(&machine), None);
    assert_eq!(Machine::new(None).wake_at(&LIMITS), None);
}

/// Whatever happens in whatever order: it never sends twice unless keys are kept, and once over it stays over and is silent.
#[test]
fn no_order_of_events_sends_twice_or_wakes_the_dead() {
    let events = [
        MINE,
        Claimed(Claim::Behind),
        Claimed(Claim::Lost),
        Claimed(Claim::Accepted),
        Accepted,
        MaybeSent(Claim::Lost),
        MaybeSent(Claim::Accepted),
        Finished,
        Heard,
        Hinted,
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
        for known in [PUSH, POLLING] {
            let mut machine = Machine::new(DEADLINE);
            let (mut sent, mut ended) = (0, 0);
            for (step, event) in run.iter().enumerate() {
                let was_over = machine.is_over();
                // A claim is mine only once: the cell sees to that (its tests show it).
                if *event == MINE && sent > 0 {
                    continue;
                }
                let action = machine.on(*event, Duration::from_secs(step as u64 * 400), known, &LIMITS);
                assert!(!was_over || action == Nothing, "{run:?}");
                sent += u32::from(matches!(action, Submit | Resend));
                ended += u32::from(matches!(action, Finish | Fail(_)));
            }
            assert!(sent <= 1 && ended <= 1 && machine.is_over() == (ended == 1), "{run:?}");
        }
    }
}
