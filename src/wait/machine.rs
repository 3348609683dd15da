//! Every decision of a wait: which source ends it, what it does next, when it gives up. It has no I/O and no clock. A
//! [`JobWait`](super::JobWait) reports each event and its time since the first call of
//! the submission, and performs the action that it gets.
//!
//! ```text
//!            ┌─────────── Following ◄─────────┐ another wait sends
//!            ▼                                │
//!  Start ─► Sending ─► Polling ─► FinalPoll ─► Over
//!            │    ▲       ▲  deadline
//!            ▼    │ resend│ an event names the job
//!           Lost ─┴───────┘
//!
//! Start: claims the submission, and pauses before that while the daemon asks for it.
//! ```

use std::time::Duration;

use crate::nanos::Nanos;
use crate::source::Pace;
use crate::submission::SendState;

mod transitions;
mod vocabulary;

pub(crate) use self::vocabulary::{Action, Event, Facts, Failure, Fault, WaitLimits};

/// How often one wait sends again what may have arrived, to a daemon that supports idempotency keys.
const RESENDS: u8 = 3;

/// The pauses before the first resends. Those after them are the window of a lost response.
const RESEND_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];

/// The shortest and the longest final poll unless set. In between it is a tenth of the deadline.
const FINAL_POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long the response to the submission may take after a signed event has come with a result. Then a poll decides instead.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// The state of one wait.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    /// The end of the phase, if it has one.
    phase_until: Nanos,
    deadline: Nanos,
    /// In `Start`: the daemon has asked to send nothing until then. In `Sending` and `Following`: a result waits for the response until
    /// then.
    until: Nanos,
    /// The time of the first failure in the current streak of failed polls.
    failing_since: Nanos,
    /// A 404 before this time is not final.
    grace_until: Nanos,
    /// The wait started with a job id: the daemon has known the job for long, so there is no grace for a 404.
    by_id: bool,
    /// An event caused the poll that is next or in flight.
    prompted: bool,
    /// This wait has sent the submission.
    sent: bool,
    resends: u8,
    /// Varies the pauses before resends.
    jitter: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    /// Another wait sends the same submission. If nothing comes of it until then, its response counts as lost.
    Following,
    /// This wait sends it.
    Sending,
    /// The response was lost. An event may name the job until then.
    Lost,
    /// The job id is known, and the job is polled.
    Polling,
    /// The deadline has passed. One more poll decides, if it returns by then.
    FinalPoll,
    Over,
}

impl Machine {
    pub(crate) fn new(deadline: Option<Duration>) -> Self {
        Self {
            phase: Phase::Start,
            deadline: deadline.into(),
            until: Nanos::NONE,
            failing_since: Nanos::NONE,
            grace_until: Nanos::from(Duration::ZERO),
            phase_until: Nanos::NONE,
            by_id: false,
            prompted: false,
            sent: false,
            resends: 0,
            jitter: fastrand::u8(..),
        }
    }

    /// For a job that is known by its id alone.
    pub(crate) fn attached(deadline: Option<Duration>) -> Self {
        Self { by_id: true, ..Self::new(deadline) }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline.get()
    }

    pub(crate) fn is_by_id(&self) -> bool {
        self.by_id
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

    /// Whether the end of the phase has passed.
    fn is_phase_over(&self, now: Duration) -> bool {
        self.phase_until.get().is_some_and(|until| now >= until)
    }

    pub(crate) fn is_past_deadline(&self, now: Duration) -> bool {
        self.deadline.get().is_some_and(|deadline| now >= deadline)
    }

    /// Whether a result that came before the response starts the time for that response.
    pub(crate) fn reacts_to_unconfirmed_result(&self) -> bool {
        self.until.get().is_none() && matches!(self.phase, Phase::Sending | Phase::Following)
    }

    /// Start, Following, Lost -> Start: the daemon has asked to send nothing before `until`. Returns whether this wait has to pause. It
    /// varies the end of its pause by up to a tenth, so that waits that pause together do not send together.
    pub(crate) fn has_to_pause(&mut self, until: Option<Duration>, now: Duration) -> bool {
        let Some(until) = until else { return false };
        let pausing = self.until.get().filter(|_| self.phase == Phase::Start);
        let after = match pausing {
            Some(after) if after >= until => after,
            _ => until.saturating_add(until.saturating_sub(now).mul_f64(fastrand::f64() / 10.0)),
        };
        let pauses = now < after;
        if pauses {
            (self.phase, self.until) = (Phase::Start, after.into());
        }
        pauses
    }

    /// When to report [`Event::Elapsed`], since the first call.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let next = match self.phase {
            Phase::Over => return None,
            Phase::FinalPoll => return self.phase_until.get(),
            Phase::Start | Phase::Sending => self.until.get(),
            Phase::Following => self.until.get().into_iter().chain(self.phase_until.get()).min(),
            Phase::Lost => self.phase_until.get(),
            Phase::Polling => None,
        };
        next.into_iter().chain(self.deadline.get()).min()
    }

    /// Whether the wait is to claim the submission now that it is in this state, and report [`Event::Claimed`].
    pub(crate) fn reacts_to(&self, sending: SendState) -> bool {
        match self.phase {
            Phase::Start => true,
            Phase::Following => sending != SendState::InFlight,
            Phase::Lost => sending != SendState::Lost,
            _ => false,
        }
    }

    /// How often to poll. The final poll must not be held by the daemon, as polls at other paces may be.
    pub(crate) fn pace(&self, usual: Pace) -> Pace {
        if self.is_final() { Pace::Slow } else { usual }
    }

    /// Whether the deadline has passed and the last poll decides.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.phase, Phase::FinalPoll)
    }

    /// Takes an event that happened at `now` since the first call.
    pub(crate) fn on(&mut self, event: Event, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        match (self.phase, event) {
            // # The end: * -> Over
            //
            // A result ends the wait in every phase, from whatever source it comes: an event may be earlier than the response to
            // the submission, and a job that finished in time is not lost to a deadline that passes at the same moment. After
            // that nothing is reported twice, because sources that are still in flight report to a machine that is over.
            (Phase::Over, _) => Action::Wait,
            (_, Event::ShuttingDown) => self.end(Action::Fail(Failure::ShuttingDown)),
            (_, Event::ResultKnown | Event::Polled { terminal: true, .. }) => self.end(Action::Finish),
            (Phase::Start | Phase::Following | Phase::Lost, Event::ClaimFailed) => {
                self.end(Action::Fail(Failure::Submission))
            }

            // # Who sends: Start, Following, Lost -> Sending | Following | Lost | Polling
            //
            // Waits on clones of one request share one submission, and its state decides which of them sends. A wait that does
            // not send holds nothing that the sender needs. It claims again whenever the state changes, so that a sender that is
            // dropped or fails is replaced, and none is replaced while it sends.
            (Phase::Start | Phase::Following | Phase::Lost, Event::Claimed(sending)) => {
                self.claimed(sending, now, facts, limits)
            }
            (Phase::Sending, Event::Overtaken) => self.follow(now, limits),
            // Nothing was sent, and nothing may be sent now.
            (Phase::Sending, Event::Paused) => {
                self.resends = self.resends.saturating_sub(1);
                self.start_again()
            }
            // A result waits for a service that is not ready: the job that the event names is polled.
            (Phase::Sending, Event::NotReady) => {
                self.resends = RESENDS;
                self.start_again()
            }

            // # The outcome of sending: Sending -> Polling | Lost | Over
            //
            // A failure is final for this wait where the submission surely did not arrive; a retry inside or a clone may send it.
            // Where it may have arrived, sending again could run the job twice. With webhooks, the first event can name the job,
            // so the wait gives it time. Without, nothing will come by itself: the wait ends, and a retry or a clone resends to a
            // daemon that supports idempotency keys.
            (Phase::Sending, Event::Accepted) => match self.poll(now, limits) {
                // After a lost response the job may have ended, and its event may be lost.
                Action::Poll if self.resends == 0 => Action::PollLater,
                action => action,
            },
            // An event has named the job: claiming it decides whether it is confirmed.
            (Phase::Sending, Event::SendFailed(SendState::Accepted)) => self.start_again(),
            (Phase::Sending, Event::SendFailed(SendState::Lost)) if facts.webhooks => self.start_again(),
            (Phase::Sending, Event::SendFailed(_)) => self.end(Action::Fail(Failure::Submission)),

            // # Polling -> Polling | Over
            //
            // A poll is the authority; an unsigned event is only a reason to poll at once. Any sign of life from the daemon ends a
            // streak of failures. A streak that outlasts the budget ends the wait, as does a failure that no later poll can mend.
            (Phase::Polling, Event::Hint) => {
                (self.failing_since, self.prompted) = (Nanos::NONE, true);
                Action::PollNow
            }
            (Phase::Polling, Event::SignedState) => {
                self.failing_since = Nanos::NONE;
                Action::Wait
            }
            (Phase::Polling, Event::Polled { prompted, .. }) => {
                (self.failing_since, self.prompted) = (Nanos::NONE, prompted);
                Action::Wait
            }
            (Phase::Polling, Event::PollFailed(fault)) => self.poll_failed(fault, now, limits),

            // # The deadline: Polling -> FinalPoll -> Over
            //
            // At the deadline the last state known may be as old as the interval between polls, so one more poll decides. A hint
            // during it changes nothing, since that poll is as fresh as one that the hint would cause.
            (Phase::FinalPoll, Event::Elapsed) if !self.is_phase_over(now) => Action::Wait,
            (Phase::FinalPoll, Event::Polled { .. } | Event::PollFailed(_) | Event::Elapsed) => {
                self.end(Action::Fail(Failure::Deadline))
            }
            (Phase::FinalPoll, Event::Hint) => {
                self.prompted = true;
                Action::Wait
            }
            (_, Event::Elapsed) => self.elapsed(now, facts, limits),

            // # A result before the response: Sending, Following -> Polling
            //
            // The response confirms that the result is of this job. It is on its way, unless it is lost. At a daemon with idempotency
            // keys the submission is soon sent again, which returns the id. At another daemon only the response has the id, so the
            // wait goes on until the response is lost.
            (Phase::Sending | Phase::Following, Event::UnconfirmedResult) => {
                let time = if facts.idempotency { CONFIRMATION } else { limits.failure_budget };
                self.until = now.saturating_add(time).into();
                Action::Wait
            }

            // An event that is not the result, before the job id is known: the response to the submission is on its way.
            (_, Event::Hint) => {
                self.prompted = true;
                Action::Wait
            }
            (_, Event::SignedState | Event::UnconfirmedResult) => Action::Wait,
            // Reports of a send or a poll from a phase that has ended it.
            (_, Event::ClaimFailed | Event::Claimed(_) | Event::Overtaken | Event::Paused | Event::NotReady) => {
                Action::Wait
            }
            (_, Event::Accepted | Event::SendFailed(_)) => Action::Wait,
            (_, Event::Polled { .. } | Event::PollFailed(_)) => Action::Wait,
        }
    }
}

#[cfg(test)]
mod tests;
