use std::num::NonZeroU16;
use std::time::Duration;

use super::daemon_id::DaemonId;
use super::history::Via;
use crate::{Error, JobId, JobResult, JobState, JobStatus};

mod events;
mod rare;
mod waits;

use self::rare::{Candidate, Rare};

/// Everything that the clones of a request, their waits, the notifier and the handles know in common about one submission.
///
/// It has no lock, no clock and no I/O: [`SharedSubmission`](super::SharedSubmission) runs each method under its lock and wakes
/// the tasks that watch after a method that sets `changed`. Times are since the first call of the submission. There is one for each
/// waiting job, so the fields that few submissions need are in a box.
#[derive(Debug)]
pub(crate) struct SubmissionState {
    sending: SendState,
    /// An attempt to send may have arrived, whatever the outcome of a later one.
    may_have_arrived: bool,
    /// No request and no wait is left.
    abandoned: bool,
    /// A hint suggests that the job has ended.
    terminal_hint: bool,
    /// The last hint came by the event stream.
    hinted_by_stream: bool,
    /// The job id is from an event, and no response has confirmed it.
    named_by_event: bool,
    /// A wait has started, now or before.
    waited_for: bool,
    /// Something changed since [`take_changed`](Self::take_changed).
    changed: bool,
    /// The source of the last state, and of the result.
    via: Via,
    /// The position of the last state in the life of the job: an event with a lower one is stale.
    order: u32,
    /// Counts the events that are believed and were not the result. They need no poll. Wraps around, as `hints` does: a wait only compares
    /// it with the count at its last poll.
    signed_events: u16,
    /// Counts the unsigned events. Each is a reason to poll.
    hints: u16,
    /// How many waits there are.
    waits: u32,
    /// How many retry policies may start another wait.
    reattaching: u16,
    /// Counts the claims. Wraps around: a wait only compares it with the count at its own claim.
    claims: NonZeroU16,
    /// How many requests with the submission are in flight: more than one, if a service without a wait sends it beside a wait.
    requests: u16,
    job_id: Option<JobId>,
    last_state: Option<JobState>,
    result: Option<JobResult>,
    rare: Option<Box<Rare>>,
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
    /// A signed event with a result came, and the response to the submission has yet to confirm that it is of its job.
    pub(crate) unconfirmed_result: bool,
}

impl SubmissionState {
    /// A submission that was not sent, or, with an id, a job that exists already.
    pub(super) fn new(job_id: Option<JobId>) -> Self {
        Self {
            sending: if job_id.is_some() { SendState::Accepted } else { SendState::Fresh },
            may_have_arrived: false,
            abandoned: false,
            terminal_hint: false,
            hinted_by_stream: false,
            named_by_event: false,
            waited_for: false,
            changed: false,
            via: Via::Poll,
            order: 0,
            signed_events: 0,
            hints: 0,
            waits: 0,
            reattaching: 0,
            claims: NonZeroU16::MIN,
            requests: 0,
            job_id,
            last_state: None,
            result: None,
            rare: None,
        }
    }

    /// The id of the job, also while the one that an event has named is being confirmed.
    pub(crate) fn job_id(&self) -> Option<&JobId> {
        let confirming = self.candidate().filter(|_| self.sending == SendState::InFlight && self.may_have_arrived);
        self.job_id.as_ref().or(confirming.map(|candidate| &candidate.status.job_id))
    }

    pub(crate) fn last_state(&self) -> Option<&JobState> {
        self.last_state.as_ref()
    }

    /// Whether nothing was sent, or nothing that arrived, and no wait is about to send.
    pub(crate) fn is_fresh(&self) -> bool {
        self.sending == SendState::Fresh
    }

    /// Whether it may have arrived at a daemon, or may still be sent by a wait. `None` before the first wait: a service without a
    /// wait may send it.
    pub(crate) fn may_be_at_daemon(&self) -> Option<bool> {
        if self.is_fresh() && !self.waited_for { None } else { Some(!self.is_fresh() || !self.has_no_wait()) }
    }

    /// There were waits, and there will be no more of the present callers.
    fn has_no_wait(&self) -> bool {
        self.waited_for && self.waits == 0 && self.reattaching == 0
    }

    pub(crate) fn has_seen_event(&self) -> bool {
        self.signed_events > 0 || self.hints > 0
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
            unconfirmed_result: self
                .candidate()
                .is_some_and(|it| it.trust == Trust::Signed && it.status.state.is_terminal()),
        }
    }

    /// When the response was lost, if it is still lost.
    pub(crate) fn lost_at(&self) -> Option<Duration> {
        (self.sending == SendState::Lost).then(|| self.rare.as_ref().map_or(Duration::ZERO, |rare| rare.lost_at))
    }

    /// Nobody waits any more: no state will follow unless another wait starts.
    pub(super) fn is_over(&self) -> bool {
        self.abandoned || self.result.is_some() || self.has_no_wait()
    }

    fn candidate(&self) -> Option<&Candidate> {
        self.rare.as_ref()?.candidate.as_ref()
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
            self.claims = self.claims.checked_add(1).unwrap_or(NonZeroU16::MIN);
            if let Some(rare) = &mut self.rare {
                rare.sent_to = None;
            }
        }
        found
    }

    /// `Lost` -> `InFlight`: the caller sends again what may have arrived, which is safe only where the daemon supports idempotency
    /// keys. Returns whether it is the one to send.
    /// `Accepted` -> `InFlight`: the same, to confirm the id that an event has named. If no response comes, that id counts.
    pub(crate) fn reclaim(&mut self) -> bool {
        if self.is_named_by_event()
            && let Some(job_id) = self.job_id.take()
        {
            let status = JobStatus::new(job_id, JobState::Queued);
            self.rare().candidate = Some(Candidate { status, trust: Trust::TokenOnly });
        } else if self.sending != SendState::Lost {
            return false;
        }
        (self.sending, self.named_by_event) = (SendState::InFlight, false);
        self.claims = self.claims.checked_add(1).unwrap_or(NonZeroU16::MIN);
        true
    }

    /// The number of the last claim.
    pub(crate) fn claim_number(&self) -> NonZeroU16 {
        self.claims
    }

    /// Whether the wait with this claim is the one that sends.
    pub(super) fn is_claimed_by(&self, claim: NonZeroU16) -> bool {
        self.sending == SendState::InFlight && self.claims == claim
    }

    /// Whether a retry policy inside the wait pauses after a refusal, so that nothing is being sent.
    pub(crate) fn is_pausing(&self) -> bool {
        self.sending == SendState::InFlight && self.rare.as_ref().is_some_and(|rare| rare.refusal.is_some())
    }

    /// Whether the job id is from an event, and no response has confirmed it.
    pub(crate) fn is_named_by_event(&self) -> bool {
        self.named_by_event && self.sending == SendState::Accepted && self.result.is_none()
    }

    /// Any state -> `Accepted`: the daemon returned the job id. From `Lost` too: an event may have named the job while the response was on
    /// its way.
    ///
    /// An event that came before is believed now if it is of this job. One of another job may have taken the place of one of this job, so
    /// it is a reason to poll.
    pub(crate) fn accept(&mut self, job_id: JobId) {
        (self.sending, self.named_by_event) = (SendState::Accepted, false);
        self.job_id = Some(job_id);
        self.changed = true;
        if let Some(rare) = &mut self.rare {
            rare.draft = None;
        }
        match self.rare.as_mut().and_then(|rare| rare.candidate.take()) {
            Some(Candidate { status, trust }) if Some(&status.job_id) == self.job_id.as_ref() => {
                self.event(status, trust);
            }
            Some(_) => self.hint(true),
            None => {}
        }
    }

    /// An attempt failed, and a retry policy inside the wait pauses before it makes another.
    pub(crate) fn pause_after(&mut self, error: Error) {
        if !error.is_safe_to_resubmit() {
            // A refusal of the next attempt does not show that this one did not arrive.
            self.may_have_arrived = true;
        } else if !self.may_have_arrived {
            self.rare().refusal = Some(error);
            self.changed = true;
        }
    }

    /// The refusal of the last attempt, while a retry policy pauses after it.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.rare.as_ref()?.refusal.as_ref()
    }

    /// An `Api` is about to send what is not fresh to `daemon`. `owner`: the daemon of the wait that has claimed it. `by_wait`: for that
    /// wait. Returns the daemon that has it, if that is another one.
    ///
    /// Inside a wait, the `Api` decides where the first request goes, and its identity may differ from the one that the wait was given.
    pub(crate) fn send_to(
        &mut self,
        daemon: Option<&DaemonId>,
        owner: Option<&DaemonId>,
        by_wait: bool,
    ) -> Result<(), DaemonId> {
        let sent_to = self.rare.as_ref().and_then(|rare| rare.sent_to.as_ref()).or(owner);
        if sent_to.is_some() && sent_to == daemon {
            return Ok(());
        }
        if by_wait && self.sending == SendState::InFlight && !self.may_have_arrived && self.requests == 0 {
            self.rare().sent_to = daemon.cloned();
            return Ok(());
        }
        sent_to.cloned().map_or(Ok(()), Err)
    }

    /// A request with the submission is sent.
    pub(crate) fn request_sent(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// Its response came, or will not. `lost`: it may have arrived.
    pub(crate) fn request_ended(&mut self, lost: bool) {
        self.requests = self.requests.saturating_sub(1);
        self.may_have_arrived |= lost;
    }

    /// The policy makes another attempt.
    pub(crate) fn resume(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.refusal = None;
        }
    }

    /// The refusal of the last attempt, if no attempt is being made now and none before may have arrived.
    pub(crate) fn take_refusal(&mut self) -> Option<Error> {
        self.rare.as_mut()?.refusal.take()
    }

    /// `InFlight` -> `Fresh`: the last attempt surely did not arrive.
    /// `InFlight` -> `Lost`: but one before it may have.
    /// `InFlight` -> `Accepted`: but an event came meanwhile, which proves that one did.
    pub(crate) fn unsent(&mut self, now: Duration) -> SendState {
        self.settle(SendState::Fresh, now)
    }

    /// `InFlight` -> `Lost`: the last attempt may have arrived.
    /// `InFlight` -> `Accepted`: an event that came meanwhile names the job. A poll decides whether it has ended.
    pub(crate) fn lost(&mut self, now: Duration) -> SendState {
        self.settle(SendState::Lost, now)
    }

    fn settle(&mut self, outcome: SendState, now: Duration) -> SendState {
        if self.sending != SendState::InFlight {
            return self.sending;
        }
        // Another request may arrive that is still in flight.
        self.may_have_arrived |= outcome == SendState::Lost || self.requests > 0;
        self.changed = true;
        if let Some(Candidate { status, .. }) = self.rare.as_mut().and_then(|rare| rare.candidate.take()) {
            self.named_by_event(&status);
        } else if self.may_have_arrived {
            self.sending = SendState::Lost;
            self.rare().lost_at = now;
        } else {
            self.sending = outcome;
        }
        self.sending
    }

    /// The response is lost, and an event names the job.
    fn named_by_event(&mut self, status: &JobStatus) {
        self.job_id = Some(status.job_id.clone());
        self.may_have_arrived = true;
        (self.sending, self.named_by_event) = (SendState::Accepted, true);
        self.hint(status.state.is_terminal());
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
