use super::history::{History, StateChange, Via};
use crate::{JobId, JobResult, JobState, JobStatus};

/// Everything that the clones of a request, their waits, the notifier and the handles know in common about one submission.
///
/// It has no lock, no clock and no I/O: [`SharedSubmission`](super::SharedSubmission) runs each method under its lock and wakes
/// the tasks that watch after a method that sets `changed`. There is one for each waiting job, so the fields that few submissions
/// need are in a box.
#[derive(Debug)]
pub(crate) struct SubmissionState {
    sending: SendState,
    /// An attempt to send may have arrived, whatever the outcome of a later one.
    may_have_arrived: bool,
    /// No request and no wait is left.
    abandoned: bool,
    /// A hint suggests that the job has ended.
    terminal_hint: bool,
    /// Something changed since [`take_changed`](Self::take_changed).
    changed: bool,
    /// The source of the last state, and of the result.
    via: Via,
    /// The position of the last state in the life of the job: an event with a lower one is stale.
    order: u32,
    /// Counts the signed events that were not the result. They need no poll. Wraps around, as `hints` does: a wait only compares
    /// it with the count at its last poll.
    signed_events: u16,
    /// Counts the unsigned events. Each is a reason to poll.
    hints: u16,
    job_id: Option<JobId>,
    last_state: Option<JobState>,
    result: Option<JobResult>,
    rare: Option<Box<Rare>>,
}

/// The fields that few submissions need.
#[derive(Debug, Default)]
struct Rare {
    /// The job id of an unsigned event that came before the response to the submission. It counts only if that response is lost.
    unverified_job_id: Option<JobId>,
    /// `None` until somebody asks for the states.
    history: Option<History>,
}

/// Whether the submission was sent, and what is known of its arrival.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendState {
    /// Not sent, or it surely did not arrive: the next wait may send it.
    #[default]
    Fresh,
    /// One wait is sending it; the others wait for the outcome.
    InFlight,
    /// It may have arrived, and no response came.
    Lost,
    /// The daemon accepted it; the job id is known.
    Accepted,
}

/// How far an event is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A configured secret signed it.
    Signed,
    /// The sender knew the callback token, and no secret is configured.
    TokenOnly,
}

/// What an event meant to the submission that its token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventOutcome {
    /// A signed result.
    Finished,
    /// A state before the end, or an unsigned event.
    Hint,
    /// The result was known already.
    Duplicate,
    /// No request and no wait is left.
    Late,
    /// It names another job.
    WrongJob,
}

/// What a wait reads each time it is polled.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) result: Option<(JobResult, Via)>,
    pub(crate) sending: SendState,
    pub(crate) signed_events: u16,
    pub(crate) hints: u16,
    pub(crate) terminal_hint: bool,
}

impl SubmissionState {
    /// A submission that was not sent, or, with an id, a job that exists already.
    pub(super) fn new(job_id: Option<JobId>) -> Self {
        Self {
            sending: if job_id.is_some() { SendState::Accepted } else { SendState::Fresh },
            may_have_arrived: false,
            abandoned: false,
            terminal_hint: false,
            changed: false,
            via: Via::Poll,
            order: 0,
            signed_events: 0,
            hints: 0,
            job_id,
            last_state: None,
            result: None,
            rare: None,
        }
    }

    pub(crate) fn job_id(&self) -> Option<&JobId> {
        self.job_id.as_ref()
    }

    pub(crate) fn last_state(&self) -> Option<&JobState> {
        self.last_state.as_ref()
    }

    /// Whether nothing was sent, or nothing that arrived, and no wait is about to send.
    pub(crate) fn is_fresh(&self) -> bool {
        self.sending == SendState::Fresh
    }

    pub(crate) fn has_result(&self) -> bool {
        self.result.is_some()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            result: self.result(),
            sending: self.sending,
            signed_events: self.signed_events,
            hints: self.hints,
            terminal_hint: self.terminal_hint,
        }
    }

    /// No job id will become known any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// No state will follow the last one.
    pub(super) fn is_over(&self) -> bool {
        self.abandoned || self.result.is_some()
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn result(&self) -> Option<(JobResult, Via)> {
        self.result.clone().map(|result| (result, self.via))
    }

    // # Sending
    //
    // Only one wait sends at a time, and what may have arrived never becomes `Fresh` again: these two rules are why clones of a
    // request are submitted once. The right to send is not tied to the life of a wait. A wait that is dropped or that fails calls
    // `unsent` or `lost`, so that the next one knows which of the two it was.

    /// `Fresh` -> `InFlight`: the caller is the one to send. In every other state nothing changes. Returns the state it found.
    pub(super) fn claim(&mut self) -> SendState {
        let found = self.sending;
        if found == SendState::Fresh {
            self.sending = SendState::InFlight;
        }
        found
    }

    /// `Lost` -> `InFlight`: the caller sends again what may have arrived, which is safe only where the daemon supports idempotency
    /// keys. Returns whether it is the one to send.
    pub(crate) fn reclaim(&mut self) -> bool {
        let lost = self.sending == SendState::Lost;
        if lost {
            self.sending = SendState::InFlight;
        }
        lost
    }

    /// Any state -> `Accepted`: the daemon returned the job id. From `Lost` too: an event may have named the job while the response was on
    /// its way.
    pub(crate) fn accept(&mut self, job_id: JobId) {
        self.sending = SendState::Accepted;
        self.job_id = Some(job_id);
        self.changed = true;
    }

    /// An attempt may have arrived, and a layer inside the wait is about to make another.
    pub(crate) fn may_have_arrived(&mut self) {
        self.may_have_arrived = true;
    }

    /// `InFlight` -> `Fresh`: the last attempt surely did not arrive.
    /// `InFlight` -> `Lost`: but one before it may have.
    /// `InFlight` -> `Accepted`: but an event came meanwhile, which proves that one did.
    pub(crate) fn unsent(&mut self) -> SendState {
        self.settle(SendState::Fresh)
    }

    /// `InFlight` -> `Lost`: the last attempt may have arrived.
    /// `InFlight` -> `Accepted`: an event that came meanwhile names the job.
    pub(crate) fn lost(&mut self) -> SendState {
        self.settle(SendState::Lost)
    }

    fn settle(&mut self, outcome: SendState) -> SendState {
        if self.sending != SendState::InFlight {
            return self.sending;
        }
        self.may_have_arrived |= outcome == SendState::Lost;
        let unverified = self.rare.as_mut().and_then(|rare| rare.unverified_job_id.take());
        self.job_id = self.job_id.take().or(unverified);
        self.sending = match outcome {
            _ if self.job_id.is_some() => SendState::Accepted,
            _ if self.may_have_arrived => SendState::Lost,
            outcome => outcome,
        };
        self.changed = true;
        self.sending
    }

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
        self.learn_job_id(&status.job_id, trust);
        self.changed = true;
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

    /// A hint came. If it is `terminal` the job may have ended, and polls stay frequent until one returns the result, since the next
    /// one may return an older state.
    pub(crate) fn hint(&mut self, terminal: bool) {
        self.hints = self.hints.wrapping_add(1);
        self.terminal_hint |= terminal;
        self.changed = true;
    }

    /// Something outside the submission changed that its waits have to react to.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    fn learn_job_id(&mut self, job_id: &JobId, trust: Trust) {
        if self.job_id.is_some() {
            return;
        }
        // Lost -> Accepted: the first event on the submission's own URL names the job.
        // InFlight, signed: the id is known before the response, which will only repeat it.
        // InFlight, unsigned: the id counts only if the response is lost.
        match (self.sending, trust) {
            (SendState::Lost, _) => {
                self.job_id = Some(job_id.clone());
                self.sending = SendState::Accepted;
            }
            (_, Trust::Signed) => self.job_id = Some(job_id.clone()),
            (_, Trust::TokenOnly) => {
                self.rare().unverified_job_id.get_or_insert_with(|| job_id.clone());
            }
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
        self.record(&result, via);
        (self.result, self.via) = (Some(result.clone()), via);
        self.changed = true;
        (result, via)
    }

    /// Stores a state, unless it is stale or the same as the last. Returns whether it did.
    fn record(&mut self, status: &JobStatus, via: Via) -> bool {
        if self.result.is_some() || self.last_state.as_ref() == Some(&status.state) {
            return false;
        }
        let order = order(status);
        if order != 0 && order < self.order {
            return false;
        }
        self.order = order.max(self.order);
        (self.last_state, self.via) = (Some(status.state.clone()), via);
        if let Some(history) = self.rare.as_mut().and_then(|rare| rare.history.as_mut()) {
            history.push(StateChange::of(status, via));
        }
        true
    }

    // # Handles

    /// Starts the history, with the state known by now.
    pub(super) fn keep_history(&mut self) {
        if self.history().is_some() {
            return;
        }
        let mut history = History::default();
        if let Some((result, via)) = self.result() {
            history.push(StateChange::of(&result, via));
        } else if let Some(state) = &self.last_state {
            history.push(StateChange { state: state.clone(), at: None, via: self.via });
        }
        self.rare().history = Some(history);
    }

    pub(super) fn history(&self) -> Option<&History> {
        self.rare.as_ref()?.history.as_ref()
    }

    /// The last request and the last wait are gone. Returns the id of the job if it has not ended, and whether the submission may
    /// have become a job whose id is not known.
    pub(super) fn abandon(&mut self) -> (Option<JobId>, bool) {
        self.abandoned = true;
        self.changed = true;
        let unfinished = self.job_id.clone().filter(|_| self.result.is_none());
        (unfinished, self.sending == SendState::Lost)
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
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

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
