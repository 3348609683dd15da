//! Every decision of a wait: which source ends it, what is asked next, when it is given up. No I/O and no clock: the
//! [`JobWait`](super::JobWait) says what happened and at what time since its begin, and does what it is told.
//!
//! ```text
//!            ┌──────────── Behind ◄──────────┐ another wait sends
//!            ▼                               │
//!  begin ─► Submitting ─► Following ─► LastLook ─► Over
//!            │    ▲           ▲  deadline
//!            ▼    │ re-send   │ an event names the job
//!           Lost ─┴───────────┘
//! ```

use std::time::Duration;

use crate::submission::Claim;

/// How often a wait sends again, by itself, what may have arrived, to a daemon that keeps idempotency keys.
const RESENDS: u8 = 3;

#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How long polls may fail, one after the other.
    pub(crate) failure_budget: Duration,
    /// How long after the submission the daemon may not know the job yet.
    pub(crate) not_found_grace: Duration,
    /// How long after a lost answer an event may still name the job.
    pub(crate) answer_window: Duration,
    /// How long the last look at the deadline may take.
    pub(crate) last_look: Duration,
}

#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    /// How long the wait may last.
    deadline: Option<Duration>,
    /// When the polls began to fail; `None` while they succeed.
    failing_since: Option<Duration>,
    /// Until when a 404 may pass.
    grace_until: Duration,
    /// Begun with nothing but a job's id: the daemon has known the job for long, and a 404 does not pass.
    by_id: bool,
    resends: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begin,
    /// Another wait sends the same submission.
    Behind,
    Submitting,
    /// The answer was lost; an event may name the job until then.
    Lost {
        until: Duration,
    },
    /// The job is known and is polled.
    Following,
    /// The deadline has passed and the state is asked once more.
    LastLook,
    Over,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The wait begins, or what it stands behind has changed.
    Claimed(Claim),
    /// The daemon has taken the submission.
    Accepted,
    /// The submission failed and surely did not arrive.
    Unsent,
    /// The submission failed and may have arrived; the claim says whether an event has named the job meanwhile.
    MaybeSent(Claim),
    /// The end is known: an event told it, or the poll of another wait.
    Finished,
    /// A signed event came that was not the end.
    Heard,
    /// An unsigned event came: it may be the end.
    Hinted,
    /// A poll was answered.
    Told { terminal: bool },
    /// A poll failed.
    PollFailed(Fault),
    /// The time that [`Machine::wake_at`] named has come.
    Elapsed,
}

/// How a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It may pass.
    Transient,
    /// The daemon does not know the job.
    NotFound,
    /// It will not pass.
    Permanent,
}

/// What is known beside the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Events of this submission can come.
    pub(crate) events: bool,
    /// The daemon keeps idempotency keys.
    pub(crate) keeps_keys: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Wait on.
    Nothing,
    /// Send the submission.
    Submit,
    /// Send again what may have arrived.
    Resend,
    /// Ask for the state, now and then by the policy.
    Follow,
    /// Ask without a pause.
    Hurry,
    /// Ask afresh, for the last time.
    LastLook,
    /// End with the result.
    Finish,
    /// End with an error.
    Fail(Failure),
}

/// Which error a wait ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The one of the submission.
    Submission,
    /// The answer to the submission was lost.
    Lost,
    /// The one of the last poll.
    Poll,
    Deadline,
}

impl Machine {
    pub(crate) fn new(deadline: Option<Duration>) -> Self {
        let grace_until = Duration::ZERO;
        Self { phase: Phase::Begin, deadline, failing_since: None, grace_until, by_id: false, resends: 0 }
    }

    /// For a job that is known by its id alone.
    pub(crate) fn attached(deadline: Option<Duration>) -> Self {
        Self { by_id: true, ..Self::new(deadline) }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// When to say [`Event::Elapsed`], since the begin.
    pub(crate) fn wake_at(&self, limits: &Limits) -> Option<Duration> {
        match self.phase {
            Phase::Over => None,
            Phase::Lost { until } => Some(self.deadline.map_or(until, |deadline| deadline.min(until))),
            Phase::LastLook => self.deadline.map(|deadline| deadline.saturating_add(limits.last_look)),
            _ => self.deadline,
        }
    }

    /// Whether it matters now that the claim is this one, so that [`Event::Claimed`] is to be said.
    pub(crate) fn minds(&self, claim: Claim) -> bool {
        match self.phase {
            Phase::Begin => true,
            Phase::Behind => claim != Claim::Behind,
            Phase::Lost { .. } => claim != Claim::Lost,
            _ => false,
        }
    }

    /// Whether this wait is the one that sends.
    pub(crate) fn is_submitting(&self) -> bool {
        self.phase == Phase::Submitting
    }

    /// Whether the deadline has passed and the state is asked once more.
    pub(crate) fn is_looking_last(&self) -> bool {
        self.phase == Phase::LastLook
    }

    /// Submitting -> Behind: another wait took the claim in between.
    pub(crate) fn stand_behind(&mut self) {
        self.phase = Phase::Behind;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Takes what happened at `now` since the begin.
    pub(crate) fn on(&mut self, event: Event, now: Duration, known: Known, limits: &Limits) -> Action {
        match (self.phase, event) {
            // * -> Over: a terminal state is absorbing, wherever it comes from; completion beats the deadline.
            (Phase::Over, _) => Action::Nothing,
            (_, Event::Finished | Event::Told { terminal: true }) => self.over(Action::Finish),

            // Begin, Behind, Lost -> Submitting | Behind | Following | Lost
            (Phase::Begin | Phase::Behind | Phase::Lost { .. }, Event::Claimed(claim)) => {
                self.claimed(claim, now, known, limits)
            }

            // Submitting -> Following
            (Phase::Submitting, Event::Accepted | Event::MaybeSent(Claim::Accepted)) => self.follow(now, limits),
            // Begin -> Over: there was no room for its events. Submitting -> Over: another clone may send it.
            (Phase::Begin | Phase::Submitting, Event::Unsent) => self.over(Action::Fail(Failure::Submission)),
            // Submitting -> Lost: before anything is sent again, an event may name the job.
            (Phase::Submitting, Event::MaybeSent(_)) if known.events => self.lose(now, limits),
            // Submitting -> Over: a retry inside, or a clone of the request, is the one to send again.
            (Phase::Submitting, Event::MaybeSent(_)) => self.over(Action::Fail(Failure::Submission)),

            // Following: a sign of life ends a streak of failures.
            (Phase::Following, Event::Hinted) => {
                self.failing_since = None;
                Action::Hurry
            }
            (Phase::Following, Event::Heard | Event::Told { terminal: false }) => {
                self.failing_since = None;
                Action::Nothing
            }
            // Following -> Over: a failure that will not pass, or a streak of failures over the budget.
            (Phase::Following, Event::PollFailed(fault)) => self.poll_failed(fault, now, limits),

            // LastLook -> Over: the job had its chance.
            (Phase::LastLook, Event::Told { terminal: false } | Event::PollFailed(_) | Event::Elapsed) => {
                self.over(Action::Fail(Failure::Deadline))
            }

            (_, Event::Elapsed) => self.elapsed(now, known),

            // An event that is not the end, before the job is followed: the answer to the submission is on its way.
            (_, Event::Heard | Event::Hinted) => Action::Nothing,
            // What only a wait that sends or follows can have seen, told too late.
            (_, Event::Claimed(_) | Event::Accepted | Event::Unsent | Event::MaybeSent(_)) => Action::Nothing,
            (_, Event::Told { .. } | Event::PollFailed(_)) => Action::Nothing,
        }
    }

    fn claimed(&mut self, claim: Claim, now: Duration, known: Known, limits: &Limits) -> Action {
        match claim {
            Claim::Mine => {
                self.phase = Phase::Submitting;
                Action::Submit
            }
            Claim::Behind => {
                self.phase = Phase::Behind;
                Action::Nothing
            }
            Claim::Accepted => self.follow(now, limits),
            Claim::Lost if matches!(self.phase, Phase::Lost { .. }) => Action::Nothing,
            Claim::Lost if known.events => self.lose(now, limits),
            Claim::Lost => self.resend(known),
        }
    }

    fn follow(&mut self, now: Duration, limits: &Limits) -> Action {
        self.phase = Phase::Following;
        if !self.by_id {
            self.grace_until = now.saturating_add(limits.not_found_grace);
        }
        Action::Follow
    }

    fn lose(&mut self, now: Duration, limits: &Limits) -> Action {
        self.phase = Phase::Lost { until: now.saturating_add(limits.answer_window) };
        Action::Nothing
    }

    /// Lost -> Submitting: the same key gives the same job.
    /// Lost -> Over: sending it again could run it twice.
    fn resend(&mut self, known: Known) -> Action {
        if !known.keeps_keys || self.resends == RESENDS {
            return self.over(Action::Fail(Failure::Lost));
        }
        self.resends += 1;
        self.phase = Phase::Submitting;
        Action::Resend
    }

    fn poll_failed(&mut self, fault: Fault, now: Duration, limits: &Limits) -> Action {
        let since = *self.failing_since.get_or_insert(now);
        let over = match fault {
            Fault::Permanent => true,
            Fault::NotFound => now >= self.grace_until,
            Fault::Transient => now.saturating_sub(since) >= limits.failure_budget,
        };
        if over { self.over(Action::Fail(Failure::Poll)) } else { Action::Nothing }
    }

    fn elapsed(&mut self, now: Duration, known: Known) -> Action {
        let past_deadline = self.deadline.is_some_and(|deadline| now >= deadline);
        match self.phase {
            // Following -> LastLook
            Phase::Following if past_deadline => {
                self.phase = Phase::LastLook;
                Action::LastLook
            }
            // Behind, Submitting, Lost -> Over: there is no job to look at.
            _ if past_deadline => self.over(Action::Fail(Failure::Deadline)),
            Phase::Lost { until } if now >= until => self.resend(known),
            _ => Action::Nothing,
        }
    }

    fn over(&mut self, action: Action) -> Action {
        self.phase = Phase::Over;
        action
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
