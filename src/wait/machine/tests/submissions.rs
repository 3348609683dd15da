//! Submissions that fail, and clones of one request.

use super::*;

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
        &[
            (0, MINE, Send),
            (1, SendFailed(SendState::Lost), Wait),
            (1, Claimed(SendState::Lost), Wait),
            (5, Claimed(SendState::Accepted), Poll),
        ],
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
            (1, Claimed(SendState::Lost), Wait),
            (10, Elapsed, Wait),
            (11, Elapsed, Wait),
            (11, Claimed(SendState::Lost), Fail(Failure::Lost)),
        ],
    );
    row(
        "lost, no event, keys: resent up to the limit",
        WEBHOOKS_AND_KEYS,
        true,
        &[
            (0, MINE, Send),
            (1, SendFailed(SendState::Lost), Wait),
            (1, Claimed(SendState::Lost), Wait),
            (2, Elapsed, Wait),
            (2, Claimed(SendState::Lost), Resend),
            (2, SendFailed(SendState::Lost), Wait),
            (2, Claimed(SendState::Lost), Wait),
            (5, Elapsed, Wait),
            (5, Claimed(SendState::Lost), Resend),
            (5, SendFailed(SendState::Lost), Wait),
            (5, Claimed(SendState::Lost), Wait),
            (20, Elapsed, Wait),
            (20, Claimed(SendState::Lost), Resend),
            (20, SendFailed(SendState::Lost), Wait),
            (20, Claimed(SendState::Lost), Wait),
            (35, Elapsed, Wait),
            (35, Claimed(SendState::Lost), Fail(Failure::Lost)),
        ],
    );
}

#[test]
fn full_registry_fails_before_sending() {
    row("no clone is known", WEBHOOKS, true, &[(0, ClaimFailed, Fail(Failure::Submission))]);
    row("a clone has the result", WEBHOOKS, true, &[(0, ResultKnown, Finish), (0, ClaimFailed, Wait)]);
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
        &[
            (0, Claimed(SendState::Lost), Wait),
            (9, Claimed(SendState::Lost), Wait),
            (10, Elapsed, Wait),
            (10, Claimed(SendState::Lost), Fail(Failure::Lost)),
        ],
    );
}
