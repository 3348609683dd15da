//! Every decision of a wait: which source ends it, what it does next, when it gives up. It has no I/O and no clock. A
//! [`JobWait`](super::JobWait) reports each event and its time since the start, and performs the action that it gets.
//!
//! ```text
//!            ┌─────────── Following ◄─────────┐ another wait sends
//!            ▼                                │
//!  Start ─► Sending ─► Polling ─► FinalPoll ─► Over
//!            │    ▲       ▲  deadline
//!            ▼    │ resend│ an event names the job
//!           Lost ─┴───────┘
//! ```

use std::time::Duration;

use crate::Error;
use crate::error::Kind;
use crate::source::Pace;
use crate::submission::SendState;

/// How often one wait sends again what may have arrived, to a daemon that supports idempotency keys.
const RESENDS: u8 = 3;

/// The time limits of a wait, beside its deadline.
#[derive(Debug, Clone)]
pub(crate) struct WaitLimits {
    /// How long all polls may fail.
    pub(crate) failure_budget: Duration,
    /// How long after the submission the daemon may answer 404.
    pub(crate) not_found_grace: Duration,
    /// How long after a lost response an event may still name the job.
    pub(crate) lost_response_window: Duration,
    /// How long the final poll at the deadline may take.
    pub(crate) final_poll_timeout: Duration,
}

/// The state of one wait.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    deadline: Option<Duration>,
    /// The time of the first failure in the current streak of failed polls.
    failing_since: Option<Duration>,
    /// A 404 before this time is not final.
    grace_until: Duration,
    /// The wait started with a job id: the daemon has known the job for long, so there is no grace for a 404.
    by_id: bool,
    /// An event caused the poll that is next or in flight.
    prompted: bool,
    /// This wait has sent the submission.
    sent: bool,
    resends: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    /// Another wait sends the same submission. If nothing comes of it until then, its response counts as lost.
    Following {
        until: Duration,
    },
    /// This wait sends it.
    Sending,
    /// The response was lost. An event may name the job until then.
    Lost {
        until: Duration,
    },
    /// The job id is known, and the job is polled.
    Polling,
    /// The deadline has passed. One more poll decides.
    FinalPoll,
    Over,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The submission belongs to another daemon, or the webhook registry is full.
    ClaimFailed,
    /// The wait asked for the right to send and found this state. `Fresh` means that it has the right now.
    Claimed(SendState),
    /// It asked for the right to send again, and another wait had taken it.
    Overtaken,
    /// The daemon accepted the submission.
    Accepted,
    /// Sending failed. `Fresh`: it surely did not arrive. `Lost`: it may have. `Accepted`: an event has named the job meanwhile.
    SendFailed(SendState),
    /// The result is known, from an event or from another wait.
    ResultKnown,
    /// A signed event came with a state that is not terminal.
    SignedState,
    /// An unsigned event came, which may be the result.
    Hint,
    /// A poll returned a state. `prompted`: an event came while it was in flight, so that the next one follows at once.
    Polled { terminal: bool, prompted: bool },
    /// A poll failed.
    PollFailed(Fault),
    /// The time of [`Machine::wake_at`] has come.
    Elapsed,
}

/// How a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A later poll may succeed.
    Transient,
    /// The daemon does not know the job.
    NotFound,
    /// No later poll will succeed.
    Permanent,
}

/// What the machine needs to know beside the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The submission is registered for webhooks.
    pub(crate) webhooks: bool,
    /// The daemon supports idempotency keys.
    pub(crate) idempotency: bool,
}

/// What the wait does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, until the next event.
    Wait,
    /// Send the submission.
    Send,
    /// Take the right to send what may have arrived, and send it again.
    Resend,
    /// Treat the response to the submission that another wait sends as lost.
    PresumeLost,
    /// Start to poll.
    Poll,
    /// Poll without a pause.
    PollNow,
    /// Poll afresh, for the last time.
    PollFinally,
    /// End with the result.
    Finish,
    /// End with an error.
    Fail(Failure),
}

/// The error that a wait ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The error of the submission.
    Submission,
    /// The response to the submission was lost.
    Lost,
    /// The error of the last poll.
    Poll,
    Deadline,
}

impl Fault {
    pub(crate) fn of(error: &Error) -> Self {
        if error.is_not_found() {
            return Self::NotFound;
        }
        let permanent = error.is_auth() || error.is_rejected() || error.is_invalid();
        if permanent || matches!(error.kind(), Kind::TooLarge(_)) { Self::Permanent } else { Self::Transient }
    }
}

impl Machine {
    pub(crate) fn new(deadline: Option<Duration>) -> Self {
        Self {
            phase: Phase::Start,
            deadline,
            failing_since: None,
            grace_until: Duration::ZERO,
            by_id: false,
            prompted: false,
            sent: false,
            resends: 0,
        }
    }

    /// For a job that is known by its id alone.
    pub(crate) fn attached(deadline: Option<Duration>) -> Self {
        Self { by_id: true, ..Self::new(deadline) }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the submission was sent by this wait and not by another.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Whether the last poll was caused by an event.
    pub(crate) fn was_prompted(&self) -> bool {
        self.prompted
    }

    /// When to report [`Event::Elapsed`], since the start.
    pub(crate) fn wake_at(&self, limits: &WaitLimits) -> Option<Duration> {
        match self.phase {
            Phase::Over => None,
            Phase::Following { until } | Phase::Lost { until } => {
                Some(self.deadline.map_or(until, |deadline| deadline.min(until)))
            }
            Phase::FinalPoll => self.deadline.map(|deadline| deadline.saturating_add(limits.final_poll_timeout)),
            _ => self.deadline,
        }
    }

    /// Whether the wait is to claim the submission now that it is in this state, and report [`Event::Claimed`].
    pub(crate) fn reacts_to(&self, sending: SendState) -> bool {
        match self.phase {
            Phase::Start => true,
            Phase::Following { .. } => sending != SendState::InFlight,
            Phase::Lost { .. } => sending != SendState::Lost,
            _ => false,
        }
    }

    /// How often to poll. The final poll must not be held by the daemon, as polls at other paces may be.
    pub(crate) fn pace(&self, usual: Pace) -> Pace {
        if self.phase == Phase::FinalPoll { Pace::Slow } else { usual }
    }

    /// Takes an event that happened at `now` since the start.
    pub(crate) fn on(&mut self, event: Event, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        match (self.phase, event) {
            // # The end: * -> Over
            //
            // A result ends the wait in every phase, from whatever source it comes: an event may be earlier than the response to
            // the submission, and a job that finished in time is not lost to a deadline that passes at the same moment. After
            // that nothing is reported twice, because sources that are still in flight report to a machine that is over.
            (Phase::Over, _) => Action::Wait,
            (_, Event::ResultKnown | Event::Polled { terminal: true, .. }) => self.end(Action::Finish),
            (Phase::Start | Phase::Following { .. } | Phase::Lost { .. }, Event::ClaimFailed) => {
                self.end(Action::Fail(Failure::Submission))
            }

            // # Who sends: Start, Following, Lost -> Sending | Following | Lost | Polling
            //
            // Waits on clones of one request share one submission, and its state decides which of them sends. A wait that does
            // not send holds nothing that the sender needs. It claims again whenever the state changes, so that a sender that is
            // dropped or fails is replaced, and none is replaced while it sends.
            (Phase::Start | Phase::Following { .. } | Phase::Lost { .. }, Event::Claimed(sending)) => {
                self.claimed(sending, now, facts, limits)
            }
            (Phase::Sending, Event::Overtaken) => self.follow(now, limits),

            // # The outcome of sending: Sending -> Polling | Lost | Over
            //
            // A failure is final for this wait where the submission surely did not arrive; a retry inside or a clone may send it.
            // Where it may have arrived, sending again could run the job twice. With webhooks, the first event can name the job,
            // so the wait gives it time. Without, nothing will come by itself: the wait ends, and a retry or a clone resends to a
            // daemon that supports idempotency keys.
            (Phase::Sending, Event::Accepted | Event::SendFailed(SendState::Accepted)) => self.poll(now, limits),
            (Phase::Sending, Event::SendFailed(SendState::Lost)) if facts.webhooks => self.lose(now, limits),
            (Phase::Sending, Event::SendFailed(_)) => self.end(Action::Fail(Failure::Submission)),

            // # Polling -> Polling | Over
            //
            // A poll is the authority; an unsigned event is only a reason to poll at once. Any sign of life from the daemon ends a
            // streak of failures. A streak that outlasts the budget ends the wait, as does a failure that no later poll can mend.
            (Phase::Polling, Event::Hint) => {
                (self.failing_since, self.prompted) = (None, true);
                Action::PollNow
            }
            (Phase::Polling, Event::SignedState) => {
                self.failing_since = None;
                Action::Wait
            }
            (Phase::Polling, Event::Polled { prompted, .. }) => {
                (self.failing_since, self.prompted) = (None, prompted);
                Action::Wait
            }
            (Phase::Polling, Event::PollFailed(fault)) => self.poll_failed(fault, now, limits),

            // # The deadline: Polling -> FinalPoll -> Over
            //
            // At the deadline the last state known may be as old as the interval between polls, so one more poll decides. A hint
            // during it changes nothing, since that poll is as fresh as one that the hint would cause.
            (Phase::FinalPoll, Event::Polled { .. } | Event::PollFailed(_) | Event::Elapsed) => {
                self.end(Action::Fail(Failure::Deadline))
            }
            (Phase::FinalPoll, Event::Hint) => {
                self.prompted = true;
                Action::Wait
            }
            (_, Event::Elapsed) => self.elapsed(now, facts),

            // An event that is not the result, before the job id is known: the response to the submission is on its way.
            (_, Event::Hint) => {
                self.prompted = true;
                Action::Wait
            }
            (_, Event::SignedState) => Action::Wait,
            // Reports of a send or a poll from a phase that has ended it.
            (_, Event::ClaimFailed | Event::Claimed(_) | Event::Overtaken) => Action::Wait,
            (_, Event::Accepted | Event::SendFailed(_)) => Action::Wait,
            (_, Event::Polled { .. } | Event::PollFailed(_)) => Action::Wait,
        }
    }

    fn claimed(&mut self, found: SendState, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        match found {
            SendState::Fresh => {
                self.phase = Phase::Sending;
                self.sent = true;
                Action::Send
            }
            SendState::InFlight => self.follow(now, limits),
            SendState::Accepted => self.poll(now, limits),
            // The window does not start again.
            SendState::Lost if matches!(self.phase, Phase::Lost { .. }) => Action::Wait,
            SendState::Lost if facts.webhooks => self.lose(now, limits),
            SendState::Lost => self.resend(facts),
        }
    }

    /// Start -> Following. A wait that already follows keeps its time.
    fn follow(&mut self, now: Duration, limits: &WaitLimits) -> Action {
        if !matches!(self.phase, Phase::Following { .. }) {
            self.phase = Phase::Following { until: now.saturating_add(limits.failure_budget) };
        }
        Action::Wait
    }

    fn poll(&mut self, now: Duration, limits: &WaitLimits) -> Action {
        self.phase = Phase::Polling;
        if !self.by_id {
            self.grace_until = now.saturating_add(limits.not_found_grace);
        }
        Action::Poll
    }

    fn lose(&mut self, now: Duration, limits: &WaitLimits) -> Action {
        self.phase = Phase::Lost { until: now.saturating_add(limits.lost_response_window) };
        Action::Wait
    }

    /// Lost -> Sending: the same idempotency key gives the same job.
    /// Lost -> Over: without support for keys, sending again could run the job twice.
    fn resend(&mut self, facts: Facts) -> Action {
        if !facts.idempotency || self.resends == RESENDS {
            return self.end(Action::Fail(Failure::Lost));
        }
        self.resends += 1;
        self.sent = true;
        self.phase = Phase::Sending;
        Action::Resend
    }

    fn poll_failed(&mut self, fault: Fault, now: Duration, limits: &WaitLimits) -> Action {
        let since = *self.failing_since.get_or_insert(now);
        let over = match fault {
            Fault::Permanent => true,
            Fault::NotFound => now >= self.grace_until,
            Fault::Transient => now.saturating_sub(since) >= limits.failure_budget,
        };
        if over { self.end(Action::Fail(Failure::Poll)) } else { Action::Wait }
    }

    fn elapsed(&mut self, now: Duration, facts: Facts) -> Action {
        let past_deadline = self.deadline.is_some_and(|deadline| now >= deadline);
        match self.phase {
            Phase::Polling if past_deadline => {
                self.phase = Phase::FinalPoll;
                Action::PollFinally
            }
            // No job id is known, so there is nothing to poll.
            _ if past_deadline => self.end(Action::Fail(Failure::Deadline)),
            Phase::Lost { until } if now >= until => self.resend(facts),
            // The caller of the wait that sends may have stopped polling it. No wait depends on that.
            Phase::Following { until } if now >= until => Action::PresumeLost,
            _ => Action::Wait,
        }
    }

    fn end(&mut self, action: Action) -> Action {
        self.phase = Phase::Over;
        action
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
