use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::daemon_id::DaemonId;
use super::draft::LostSubmission;
use super::drop_policy::DropPolicy;
use super::handle::Submission;
use super::key::IdempotencyKey;
use super::registration::Registration;
use super::shared::{Locked, SharedSubmission};
use super::state::{SendState, SubmissionState};
use super::token::TokenId;
use crate::error::Kind;
use crate::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use crate::{Error, JobId};
use foreman_protocol::BaseUrl;
use tokio::time::Instant;

/// Keeps a submission alive. Every clone of a request and every wait has one. The drop of the last one frees the callback token
/// and leaves the job to the drop policy.
///
/// It is a reference count beside the one of the `Arc`, because handles ([`Submission`]) and the notifier hold the `Arc` without
/// keeping the submission alive.
#[derive(Debug)]
pub(crate) struct KeepAlive(Arc<SharedSubmission>);

/// The wait service that sends a submission: receives its events, and applies the drop policy.
pub(crate) trait WaitOwner: fmt::Debug + Send + Sync {
    /// Registers the submission for its events. `None` without webhooks.
    ///
    /// # Errors
    ///
    /// When the registry is full.
    fn register(&self, submission: &Arc<SharedSubmission>) -> Result<Option<TokenId>, Error>;

    /// The identity of the daemon, if it is known. Two owners with the same one are of the same daemon.
    fn daemon(&self) -> Option<&DaemonId>;

    /// Whether it sends submissions without waiting for them. Then a wait service of the same daemon takes its place.
    fn only_sends(&self) -> bool {
        false
    }

    /// The URL for the events of that token.
    fn callback_url(&self, _: TokenId) -> String {
        String::new()
    }

    /// A submission is about to be sent. Returns whether it is to name the event stream, which is open or being opened then.
    fn open_event_stream(self: Arc<Self>) -> bool {
        false
    }

    /// The name of the event stream.
    fn event_stream(&self) -> Option<&str> {
        None
    }

    /// Whether the daemon is known to support idempotency keys.
    fn supports_idempotency(&self) -> bool {
        false
    }

    /// An event of a submission came.
    fn webhook_arrived(&self) {}

    /// The daemon refused a submission.
    fn refused(&self, _: &Error) {}

    /// Until when the daemon has asked to send no submissions.
    fn paused_until(&self) -> Option<Instant> {
        None
    }

    /// The last holder of a submission was dropped while its job was not known for sure. The owner becomes the last holder. When
    /// it drops the submission, that is released and not lost again. Called from a drop: must not block or panic.
    fn lost(self: Arc<Self>, _: LostSubmission) {}

    /// The submission is abandoned, or its registration was not needed. Called from a drop: must not block or panic.
    fn released(self: Arc<Self>, _: Released) {}
}

impl dyn WaitOwner {
    fn base_url(&self) -> Option<&BaseUrl> {
        self.daemon().map(DaemonId::base_url)
    }
}

/// What remains of a submission that is abandoned.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) token: Option<TokenId>,
    /// The job, if its id is known and it has not ended.
    pub(crate) unfinished: Option<JobId>,
    /// The submission may have become a job whose id is not known.
    pub(crate) lost: bool,
    /// The policy of the request, which goes before the one of the client.
    pub(crate) drop_policy: Option<DropPolicy>,
}

impl KeepAlive {
    /// For a new submission. `key`: one that the caller has set.
    pub(crate) fn new_submission(key: Option<IdempotencyKey>, drop_policy: Option<DropPolicy>) -> Self {
        let known = key.is_some();
        Self(SharedSubmission::new(Some(key.unwrap_or_else(IdempotencyKey::unique)), known, None, drop_policy))
    }

    /// For a job that exists already.
    pub(crate) fn existing_job(job_id: JobId) -> Self {
        Self(SharedSubmission::new(None, false, Some(job_id), None))
    }

    /// A further holder of a submission that has one, or whose result is known. `None` for one that was abandoned before its end.
    pub(crate) fn upgrade(submission: &Arc<SharedSubmission>) -> Option<Self> {
        let has_result = submission.read(SubmissionState::has_result);
        let one_more = |holders: u32| if holders == 0 && !has_result { None } else { holders.checked_add(1) };
        submission.holders.fetch_update(AcqRel, Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(submission)))
    }

    pub(crate) fn drop_policy(&self) -> Option<DropPolicy> {
        self.0.drop_policy
    }

    pub(crate) fn shared(&self) -> &Arc<SharedSubmission> {
        &self.0
    }

    pub(crate) fn submission(&self) -> Submission {
        Submission::new(Arc::clone(&self.0))
    }

    /// Claims the right to send for the daemon of `owner`, and registers the submission for its events there. Returns the state it
    /// found; `Fresh` means that the caller is the one to send.
    ///
    /// A submission belongs to the daemon that may have it. A fresh one moves to the daemon of `owner`; any other stays, and
    /// fails at the service of another daemon, where its job id means another job or none. Both happen under one lock: between a
    /// registration and a claim that were apart, the submission could move to a third daemon.
    ///
    /// # Errors
    ///
    /// When it belongs to another daemon, and when the registry is full.
    pub(crate) fn claim(&self, owner: &Arc<dyn WaitOwner>) -> Result<SendState, Error> {
        // Without the lock: if the runtime is shutting down, the stream ends at once and wakes its waits.
        let streamed = self.0.key().is_some() && Arc::clone(owner).open_event_stream();
        let mut moved = None;
        let claimed = self.0.update_locked(|locked| {
            let registered = match &mut locked.registration {
                // A job that was attached to by its id is not sent, and has no callback.
                None => self.0.key().is_none(),
                Some(registration) if registration.is_of_same_daemon(owner) && !locked.state.is_fresh() => {
                    if registration.owner.only_sends() {
                        // It was sent without a callback URL.
                        registration.owner = Arc::clone(owner);
                    }
                    true
                }
                Some(registration) if registration.is_of_same_daemon(owner) => !registration.owner.only_sends(),
                Some(_) if locked.state.is_fresh() => false,
                Some(registration) => {
                    return Err(Error::new(Kind::OtherDaemon).with_daemon(registration.owner.base_url().cloned()));
                }
            };
            if !registered {
                let token = owner.register(&self.0)?;
                moved = locked.registration.replace(Registration { owner: Arc::clone(owner), token, streamed });
            }
            Ok(locked.state.claim())
        });
        if let Some(Registration { owner, token, .. }) = moved {
            owner.released(Released { token, ..Released::default() });
        }
        claimed
    }

    /// The submission is sent to this daemon by a service without a wait around it, or `by_wait`: for the wait that has claimed it, by
    /// the number of its claim. Returns what stores the outcome, unless the wait does.
    ///
    /// # Errors
    ///
    /// When it belongs to another daemon.
    pub(crate) fn send_request(
        &self,
        owner: &Arc<dyn WaitOwner>,
        by_wait: Option<NonZeroU16>,
    ) -> Result<Option<InFlightRequest>, Error> {
        // In one step, so that a wait that gives up meanwhile does not find that nothing was sent.
        let send = |locked: &mut Locked| {
            let Locked { state, registration, .. } = locked;
            if by_wait.is_some_and(|claim| !state.is_claimed_by(claim)) {
                // A layer below the wait has kept the call, and the wait has ended.
                return Err(Error::new(Kind::Abandoned).surely_unsent());
            }
            let daemon = registration.as_ref().and_then(|registration| registration.owner.daemon());
            if let Err(daemon) = state.send_to(owner.daemon(), daemon, by_wait.is_some()) {
                return Err(Error::new(Kind::OtherDaemon).with_daemon(Some(daemon.base_url().clone())));
            }
            state.request_sent();
            // A response names the job of an attempt that was lost before.
            Ok(state.lost_at().is_some())
        };
        let claimed = if by_wait.is_none() && self.0.read(SubmissionState::is_fresh) {
            self.0.begin(Instant::now());
            let claimed = self.claim(owner)? == SendState::Fresh;
            self.0.update(SubmissionState::request_sent);
            claimed
        } else {
            self.0.update_locked(send)?
        };
        Ok(Some(InFlightRequest { submission: self.clone(), claimed, ended: false }))
    }

    /// The token of its callback URL, if it is registered for webhooks with this owner.
    pub(crate) fn token_with(&self, owner: &Arc<dyn WaitOwner>) -> Option<TokenId> {
        let locked = self.0.lock();
        let registration =
            locked.registration.as_ref().filter(|registration| Arc::ptr_eq(&registration.owner, owner))?;
        registration.token
    }

    /// The token of its callback URL, if it is registered for webhooks.
    pub(crate) fn token(&self) -> Option<TokenId> {
        self.0.lock().registration.as_ref()?.token
    }

    /// Whether its events come by the event stream of this owner.
    pub(crate) fn is_streamed_to(&self, owner: &Arc<dyn WaitOwner>) -> bool {
        let locked = self.0.lock();
        let registration = locked.registration.as_ref();
        registration.is_some_and(|registration| registration.streamed && Arc::ptr_eq(&registration.owner, owner))
    }

    /// The name of the event stream that its events come by.
    pub(crate) fn event_stream(&self) -> Option<String> {
        let locked = self.0.lock();
        let registration = locked.registration.as_ref().filter(|registration| registration.streamed)?;
        registration.owner.event_stream().map(str::to_owned)
    }

    pub(crate) fn has_callback(&self) -> bool {
        self.token().is_some()
    }

    /// Whether it is registered for webhooks, and more about it at the same moment.
    pub(crate) fn read_with_callback<R>(&self, read: impl FnOnce(&SubmissionState) -> R) -> (bool, R) {
        let locked = self.0.lock();
        let token = locked.registration.as_ref().and_then(|registration| registration.token);
        (token.is_some(), read(&locked.state))
    }

    /// The daemon refused an attempt. If it asks this submission to wait, it means all.
    pub(crate) fn refused(&self, error: &Error) {
        let owner = self.0.lock().registration.as_ref().map(|registration| Arc::clone(&registration.owner));
        if let Some(owner) = owner {
            owner.refused(error);
        }
    }

    /// Until when its daemon has asked to send no submissions.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.0.lock().registration.as_ref()?.owner.paused_until()
    }

    /// Whether the daemon that it is sent to is known to support idempotency keys.
    pub(crate) fn supports_idempotency(&self) -> bool {
        self.0.lock().registration.as_ref().is_some_and(|registration| registration.owner.supports_idempotency())
    }

    pub(crate) fn callback_url(&self) -> Option<String> {
        self.0.callback_url()
    }
}

/// The daemon that a call is sent to.
#[derive(Debug)]
pub struct SendingTo(pub(crate) Arc<dyn WaitOwner>);

/// One request with a submission, from being sent to its response. If it is dropped before that, the response is lost.
#[derive(Debug)]
pub struct InFlightRequest {
    submission: KeepAlive,
    /// No wait around it stores the outcome.
    claimed: bool,
    ended: bool,
}

impl InFlightRequest {
    pub(crate) fn accepted(mut self, job_id: JobId) {
        self.ended = true;
        let claimed = self.claimed;
        self.submission.shared().update(|state| {
            state.request_ended(false);
            if claimed {
                state.accept(job_id);
            }
        });
    }

    pub(crate) fn failed(mut self, error: &Error) {
        self.end(!error.is_safe_to_resubmit());
    }

    fn end(&mut self, lost: bool) {
        self.ended = true;
        let (claimed, now) = (self.claimed, self.submission.shared().elapsed());
        self.submission.shared().update(|state| {
            state.request_ended(lost);
            if claimed {
                if lost {
                    state.lost(now)
                } else {
                    state.unsent(now)
                };
            }
        });
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        if !self.ended {
            self.end(true);
        }
    }
}

impl Clone for KeepAlive {
    fn clone(&self) -> Self {
        // As in `Arc`: whoever clones has one already, so there is nothing to order.
        self.0.holders.fetch_add(1, Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        if self.0.holders.fetch_sub(1, AcqRel) != 1 {
            return;
        }
        if let Some((draft, owner)) = self.0.update_locked(Locked::take_lost) {
            // Not abandoned: the owner becomes the only holder.
            self.0.holders.store(1, Release);
            owner.lost(LostSubmission { draft, keep_alive: Self(Arc::clone(&self.0)) });
            return;
        }
        let ((unfinished, lost), registration) =
            self.0.update_locked(|locked| (locked.state.abandon(), locked.registration.take()));
        if let Some(Registration { owner, token, .. }) = registration {
            owner.released(Released { token, unfinished, lost, drop_policy: self.0.drop_policy });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{EventOutcome, Trust};
    use super::*;
    use crate::JobStatus;

    #[test]
    fn last_holder_abandons() {
        let keep_alive = KeepAlive::existing_job(JobId::new("7").unwrap());
        let (submission, second) = (Arc::clone(keep_alive.shared()), keep_alive.clone());
        let event = |state: &str| JobStatus::new(JobId::new("7").unwrap(), state.into());
        drop(keep_alive);
        assert_eq!(submission.event(event("running"), Trust::Signed), EventOutcome::Hint);
        drop(second.clone());
        drop(second);
        assert_eq!(submission.event(event("done"), Trust::Signed), EventOutcome::Late);
    }
}
