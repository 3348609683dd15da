//! How a wait ends.

use std::pin::Pin;

use tower::Service;

use super::super::machine::Failure;
use super::super::step::Step;
use super::JobWait;
use crate::api::GetJob;
use crate::error::Kind;
use crate::submission::{SubmissionState, Via};
use crate::{Error, JobResult, SubmitRequest};

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    pub(super) fn finish(self: Pin<&mut Self>, result: JobResult, via: Via) -> JobResult {
        let this = self.project();
        let shared = this.submission.shared();
        // A poll that an event has caused counts as that event.
        let source = |via: Via| match via {
            Via::Poll if !this.machine.was_prompted() => Via::Poll,
            Via::Poll if shared.read(SubmissionState::is_hinted_by_stream) => Via::EventStream,
            Via::Poll => Via::Webhook,
            event => event,
        };
        // Not for a clone that finds the result stored: its event may have come. Not for a submission whose events may go elsewhere.
        let first = source(via) != Via::Webhook && shared.expects_events() && !shared.read(SubmissionState::has_result);
        let token = if first { this.submission.token_with(&this.shared.owner()) } else { None };
        if let Some(token) = token {
            // Before the result is stored, since its event may come right after that.
            this.shared.await_event(token);
        }
        // Of several waits on one submission, the first to know the result provides it to all.
        let (result, via) = this.submission.shared().update(|state| state.finish(result, via));
        // The daemon that has the job, which is another one if a clone finds the result stored.
        let daemon = this.submission.shared().daemon_id().or_else(|| this.shared.daemon_id().cloned());
        let result = result.with_daemon(daemon);
        this.shared.wait_ended(this.submission.shared());
        let counters = &this.shared.counters;
        match source(via) {
            Via::Poll => counters.finished_by_poll.add(),
            Via::EventStream => counters.finished_by_event_stream.add(),
            Via::Webhook => {
                counters.finished_by_webhook.add();
                if let Some(token) = token {
                    this.shared.await_no_event(token);
                }
            }
        }
        result
    }

    /// `refusal`: a retry policy pauses after this refusal, and nothing is being sent.
    pub(super) fn fail(self: Pin<&mut Self>, failure: Failure, refusal: Option<Error>) -> Error {
        let this = self.project();
        let kind = match failure {
            Failure::Submission | Failure::Lost => Kind::Lost,
            Failure::Poll => Kind::Service,
            Failure::Deadline => Kind::Deadline(this.machine.deadline().unwrap_or_default()),
            Failure::ShuttingDown => Kind::ShuttingDown,
        };
        let submission = this.submission.shared();
        let (fresh, job_id, last_state) =
            submission.read(|state| (state.is_fresh(), state.job_id().cloned(), state.last_state().cloned()));
        let last_error = refusal.or(this.last_error.take()).or_else(|| match failure {
            Failure::Lost => submission.read(|state| state.loss().cloned()),
            Failure::Deadline if matches!(&*this.step, Step::Polling { stream } if stream.is_in_flight()) => {
                let timeout = this.machine.final_poll_timeout(&this.shared.limits);
                Some(Error::new(Kind::RequestTimeout(Some(timeout))))
            }
            Failure::Deadline if !fresh && job_id.is_none() => Some(Error::new(Kind::Lost)),
            _ => None,
        });
        let error = match last_error {
            Some(error) if matches!(failure, Failure::Submission | Failure::Poll) => error,
            // A deadline does not hide why nothing was accepted.
            Some(error) if failure == Failure::Deadline && fresh => error,
            Some(cause) => Error::new(kind).with_source(cause),
            None => Error::new(kind),
        };
        this.shared.counters.failed.add();
        // Again: a waker that the failure woke may have had another wait send.
        let unsent = submission.read(SubmissionState::is_fresh);
        let error = if unsent { error.surely_unsent() } else { error.may_have_arrived() };
        let error = error.with_job(job_id, submission.key().cloned(), last_state).with_daemon(submission.daemon());
        let waited = *this.polls > 0 || failure == Failure::Deadline;
        let error = if waited { error.with_waited(submission.elapsed(), *this.polls) } else { error };
        let deadline = this.machine.deadline();
        let error = error.with_expiry(deadline.and_then(|deadline| submission.first_call().checked_add(deadline)));
        let error =
            if this.machine.is_by_id() { error } else { error.with_drop_policy(this.shared.drop_policy(submission)) };
        submission.update(|state| state.wait_failed(error.clone()));
        // What the shutdown itself ends, it knows. What it has refused is not its own.
        if failure != Failure::ShuttingDown {
            this.shared.wait_ended(submission);
        }
        error
    }

    /// Gets no events of the event stream any more.
    pub(super) fn unsubscribe(self: Pin<&mut Self>) {
        let this = self.project();
        if std::mem::take(this.subscribed)
            && let Step::Polling { stream } = &*this.step
        {
            this.shared.unsubscribe(this.submission, stream.job_id());
        }
    }

    /// Gives up the right to send, and leaves to the last holder of the submission what it needs to find a lost job. Returns the refusal
    /// after which a retry policy pauses.
    pub(super) fn release_send(mut self: Pin<&mut Self>) -> Option<Error> {
        let refusal = self.as_mut().give_up_send();
        let this = self.project();
        if let Some(request) = this.step.request() {
            this.shared.leave_draft(request);
        }
        refusal
    }

    /// Gives up the right to send, if this wait has it, and stores whether the submission may have arrived.
    fn give_up_send(self: Pin<&mut Self>) -> Option<Error> {
        let this = self.project();
        let submission = this.submission.shared();
        let refusal = match &*this.step {
            Step::Sending(_) => submission.update(SubmissionState::take_refusal),
            Step::Idle(sender) if sender.is_calling() => None,
            Step::Idle(sender) if sender.is_about_to_send() => {
                let now = submission.elapsed();
                submission.update(|state| state.unsent(now));
                return None;
            }
            _ => return None,
        };
        let now = submission.elapsed();
        submission.update(|state| if refusal.is_some() { state.unsent(now) } else { state.lost(now) });
        refusal
    }
}
