//! The transitions of a wait that take more than a line.

use std::time::Duration;

use super::{Action, FINAL_POLL, Facts, Failure, Fault, Machine, Phase, RESEND_AFTER, RESENDS, WaitLimits};
use crate::nanos::Nanos;
use crate::submission::SendState;

impl Machine {
    pub(super) fn claimed(&mut self, found: SendState, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        match found {
            SendState::Fresh => {
                (self.phase, self.until) = (Phase::Sending, Nanos::NONE);
                self.sent = true;
                Action::Send
            }
            SendState::InFlight => self.follow(now, limits),
            SendState::Accepted => self.found(now, facts, limits),
            SendState::Lost if facts.webhooks => self.lose(now, facts, limits),
            SendState::Lost => self.resend(facts),
        }
    }

    /// Sending, Lost -> Start: the wait claims the submission again, which pauses if the daemon has asked for it.
    pub(super) fn start_again(&mut self) -> Action {
        (self.phase, self.until) = (Phase::Start, Nanos::NONE);
        Action::Wait
    }

    /// Start -> Following. A wait that already follows keeps its time.
    pub(super) fn follow(&mut self, now: Duration, limits: &WaitLimits) -> Action {
        if self.phase != Phase::Following {
            (self.phase, self.until) = (Phase::Following, Nanos::NONE);
            self.phase_until = now.saturating_add(limits.failure_budget).into();
        }
        Action::Wait
    }

    /// The job id is known. An event may have named it, and not be of this job: the same idempotency key returns the right one. Where
    /// nothing may be sent any more, the job that the event names is polled.
    pub(super) fn found(&mut self, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        let may_send = self.resends < RESENDS && !facts.paused && !self.is_past_deadline(now);
        if facts.named_by_event && facts.idempotency && may_send {
            return self.resend(facts);
        }
        self.poll(now, limits)
    }

    pub(super) fn poll(&mut self, now: Duration, limits: &WaitLimits) -> Action {
        if !self.by_id {
            self.grace_until = now.saturating_add(limits.not_found_grace).into();
        }
        if self.is_past_deadline(now) {
            return self.poll_finally(now, limits);
        }
        self.phase = Phase::Polling;
        Action::Poll
    }

    /// The time of the final poll counts from its start: a caller may have been busy elsewhere at the deadline.
    pub(super) fn poll_finally(&mut self, now: Duration, limits: &WaitLimits) -> Action {
        self.phase_until = now.saturating_add(self.final_poll_timeout(limits)).into();
        self.phase = Phase::FinalPoll;
        Action::PollFinally
    }

    pub(crate) fn final_poll_timeout(&self, limits: &WaitLimits) -> Duration {
        let (shortest, longest) = FINAL_POLL;
        let by_deadline = || (self.deadline.get().unwrap_or_default() / 10).clamp(shortest, longest);
        limits.final_poll_timeout.unwrap_or_else(by_deadline)
    }

    /// The window counts from the loss, which another wait may have seen. Without idempotency keys an event is all that can name the job.
    /// With them the window is a backoff, varied so that submissions that a restart has cut do not come back together.
    pub(super) fn lose(&mut self, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        let window = match RESEND_AFTER.get(usize::from(self.resends)) {
            Some(pause) if facts.idempotency => limits.lost_response_window.min(*pause),
            _ => limits.lost_response_window,
        };
        let window = if facts.idempotency { window.mul_f64(1.0 + f64::from(self.jitter) / 512.0) } else { window };
        let until = facts.lost_at.unwrap_or(now).saturating_add(window);
        if now >= until {
            return self.resend(facts);
        }
        (self.phase, self.phase_until) = (Phase::Lost, until.into());
        Action::Wait
    }

    /// Lost -> Sending: the same idempotency key gives the same job.
    /// Lost -> Over: without support for keys, sending again could run the job twice.
    pub(super) fn resend(&mut self, facts: Facts) -> Action {
        if !facts.idempotency || self.resends == RESENDS {
            return self.end(Action::Fail(Failure::Lost));
        }
        self.resends += 1;
        self.sent = true;
        (self.phase, self.until) = (Phase::Sending, Nanos::NONE);
        Action::Resend
    }

    pub(super) fn poll_failed(&mut self, fault: Fault, now: Duration, limits: &WaitLimits) -> Action {
        let since = self.failing_since.get().unwrap_or(now);
        self.failing_since = since.into();
        let over = match fault {
            Fault::Permanent => true,
            Fault::NotFound => self.grace_until.get().is_some_and(|until| now >= until),
            Fault::Transient => now.saturating_sub(since) >= limits.failure_budget,
        };
        if over { self.end(Action::Fail(Failure::Poll)) } else { Action::Wait }
    }

    pub(super) fn elapsed(&mut self, now: Duration, facts: Facts, limits: &WaitLimits) -> Action {
        let past_deadline = self.is_past_deadline(now);
        let named = self.until.get().is_some() || facts.is_named;
        let unconfirmed = self.until.get().is_some_and(|by| now >= by);
        match self.phase {
            Phase::Sending | Phase::Following if unconfirmed || (named && past_deadline) => {
                self.until = Nanos::NONE;
                Action::PresumeLost
            }
            Phase::Polling if past_deadline => self.poll_finally(now, limits),
            // No job id is known, so there is nothing to poll.
            _ if past_deadline => self.end(Action::Fail(Failure::Deadline)),
            Phase::Lost if self.is_phase_over(now) => self.start_again(),
            // The caller of the wait that sends may have stopped polling it. No wait depends on that.
            Phase::Following if self.is_phase_over(now) => Action::PresumeLost,
            _ => Action::Wait,
        }
    }

    pub(super) fn end(&mut self, action: Action) -> Action {
        self.phase = Phase::Over;
        action
    }
}
