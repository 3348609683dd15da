//! The deadline, and the last look at it.

use super::*;

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
        &[
            (0, MINE, Send),
            (995, SendFailed(SendState::Lost), Wait),
            (995, Claimed(SendState::Lost), Wait),
            (1_000, Elapsed, Fail(Failure::Deadline)),
        ],
    );
    row("a wait that starts after it", WEBHOOKS, false, &[(1_060, Claimed(SendState::Accepted), PollFinally)]);
    row(
        "the last look of a wait that was not polled has its full time",
        WEBHOOKS,
        true,
        &with(&[(1_060, Elapsed, PollFinally), (1_064, Elapsed, Wait), (1_065, Elapsed, Fail(Failure::Deadline))]),
    );
    row("a timer that fires early is nothing", WEBHOOKS, false, &with(&[(999, Elapsed, Wait)]));
}
