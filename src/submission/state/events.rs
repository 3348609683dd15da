use super::{Candidate, EventOutcome, SendState, SubmissionState, Trust};
use crate::submission::history::{StateChange, Via};
use crate::{JobResult, JobState, JobStatus};

impl SubmissionState {
    // # Events and polls
    //
    // A terminal state is absorbing, and the first source that reports it wins. An event can come before the response to the
    // submission, twice, out of order, or with another job's id; none of that may turn a state back or end a wait with another
    // job's result.

    /// An event came to this submission's callback URL.
    pub(crate) fn event(&mut self, status: JobStatus, trust: Trust) -> EventOutcome {
        if self.job_id.as_ref().is_some_and(|id| *id != status.job_id) {
            return EventOutcome::WrongJob;
        }
        if self.abandoned {
            return EventOutcome::Late;
        }
        if self.result.is_some() {
            return EventOutcome::Duplicate;
        }
        self.changed = true;
        if self.job_id.is_none() {
            self.early_event(status, trust);
            return EventOutcome::Hint;
        }
        match trust {
            Trust::TokenOnly => {
                self.hint(status.state.is_terminal());
                EventOutcome::Hint
            }
            Trust::Signed => {
                self.signed_events = self.signed_events.wrapping_add(1);
                self.record(&status, Via::Webhook);
                match JobResult::new(status) {
                    Ok(result) => {
                        (self.result, self.via) = (Some(result), Via::Webhook);
                        EventOutcome::Finished
                    }
                    Err(_) => EventOutcome::Hint,
                }
            }
        }
    }

    /// An event of the job came by the event stream. It is as authoritative as the response to a poll. `truncated`: its result was left
    /// out, so that a poll has to get it.
    pub(crate) fn streamed(&mut self, status: JobStatus, truncated: bool) {
        let other_job = self.job_id().is_some_and(|id| *id != status.job_id);
        if self.abandoned || self.result.is_some() || other_job {
            return;
        }
        // Without an id, the submission is sent again to confirm it.
        if truncated || self.job_id.is_none() {
            self.hint(status.state.is_terminal());
            self.hinted_by_stream = true;
            return;
        }
        self.signed_events = self.signed_events.wrapping_add(1);
        self.changed = true;
        self.record(&status, Via::EventStream);
        if let Ok(result) = JobResult::new(status) {
            (self.result, self.via) = (Some(result), Via::EventStream);
        }
    }

    /// Whether the last hint came by the event stream, and not by a webhook.
    pub(crate) fn is_hinted_by_stream(&self) -> bool {
        self.hinted_by_stream
    }

    /// A hint came. If it is `terminal` the job may have ended, and polls stay frequent until one returns the result, since the next
    /// one may return an older state.
    pub(crate) fn hint(&mut self, terminal: bool) {
        self.hints = self.hints.wrapping_add(1);
        self.terminal_hint |= terminal;
        self.hinted_by_stream = false;
        self.changed = true;
    }

    /// Something outside the submission changed that its waits have to react to.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// An event came before the job id is known.
    fn early_event(&mut self, status: JobStatus, trust: Trust) {
        // Lost -> Accepted: the first event on the submission's own URL names the job.
        if self.sending == SendState::Lost {
            self.named_by_event(&status);
            return;
        }
        let replaces = self.candidate().is_none_or(|first| {
            if first.trust != trust {
                // An id that is to be confirmed says less than a signed event.
                return trust == Trust::Signed;
            }
            first.status.job_id == status.job_id
                && !first.status.state.is_terminal()
                && order(&first.status) <= order(&status)
        });
        if replaces {
            self.rare().candidate = Some(Candidate { status, trust });
        }
    }

    /// A poll returned a state that is not terminal.
    pub(crate) fn polled(&mut self, status: &JobStatus) {
        self.changed |= self.record(status, Via::Poll);
    }

    /// A wait has the result. The first result wins and is returned.
    pub(crate) fn finish(&mut self, result: JobResult, via: Via) -> (JobResult, Via) {
        if let Some(first) = self.result() {
            return first;
        }
        self.record(result.status(), via);
        (self.result, self.via) = (Some(result.clone()), via);
        self.changed = true;
        (result, via)
    }

    /// Stores a state, unless it is stale or the same as the last. Returns whether the history or the state has changed.
    fn record(&mut self, status: &JobStatus, via: Via) -> bool {
        let order = order(status);
        if self.result.is_some() || (order != 0 && order < self.order) {
            return false;
        }
        if self.last_state.as_ref() == Some(&status.state) {
            return self.record_position(status, via);
        }
        self.order = order.max(self.order);
        (self.last_state, self.via) = (Some(status.state.clone()), via);
        if let Some(history) = self.rare.as_mut().and_then(|rare| rare.history.as_mut()) {
            history.push(StateChange::of(status, via));
        }
        true
    }

    /// The state is the same. A new position in the queue is a change for those who watch the states. An absent one says nothing.
    fn record_position(&mut self, status: &JobStatus, via: Via) -> bool {
        let Some(history) = self.rare.as_mut().and_then(|rare| rare.history.as_mut()) else { return false };
        let change = StateChange::of(status, via);
        let last = history.last().and_then(|last| last.position);
        let moved = change.position.is_some() && change.position != last;
        if moved {
            history.push(change);
        }
        moved
    }
}

/// A number that grows as a job goes on: queued, running (attempt 1), queued again, running (attempt 2), …, done or failed. 0 for a
/// state that this crate does not know.
fn order(status: &JobStatus) -> u32 {
    let attempt = u32::try_from(status.attempt).unwrap_or(u32::MAX);
    match status.state {
        JobState::Queued => attempt.saturating_mul(2).saturating_add(1),
        JobState::Running => attempt.saturating_mul(2),
        JobState::Done | JobState::Failed => u32::MAX,
        _ => 0,
    }
}
