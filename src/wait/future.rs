use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use super::machine::{Action, Event, Failure, Fault, Machine};
use super::shared::Shared;
use super::step::{Sender, Step, StepOutcome};
use crate::api::{Accepted, GetJob, Polled};
use crate::error::Kind;
use crate::source::Pace;
use crate::submission::{KeepAlive, SendState, SubmissionState, Via, WakerSlot};
use crate::{BoxError, Error, JobResult, JobStatus, SubmitRequest};

/// A wait for one job: the future of [`Wait`](super::Wait), which resolves to the finished job.
///
/// It ends with the first result, from an event or from a poll. It ends with an error if the submission fails, if polls fail for
/// too long, or at the deadline. It always ends if it is polled. It needs a tokio runtime with time enabled.
///
/// # Cancel safety
///
/// Dropping it loses nothing. Another wait on a clone of the same request attaches to the job, and so does a wait on its id
/// ([`Submission::job_id`](crate::Submission::job_id)). When the last clone of the request and the last wait are gone, the callback
/// token is freed and the [`DropPolicy`](crate::DropPolicy) applies: the job goes on unless set otherwise.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    submission: KeepAlive,
    shared: Arc<Shared>,
    machine: Machine,
    started: Instant,
    waker: WakerSlot,
    /// The event counts of the submission that the machine has heard of.
    signed_events: u16,
    hints: u16,
    polls: u32,
    /// The last error, of the submission or of a poll.
    last_error: Option<Error>,
    #[pin]
    step: Step<S, P>,
    /// For [`Machine::wake_at`]. It is in a box because most waits have none.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The result that comes with [`Event::ResultKnown`] and a terminal [`Event::Polled`].
type Found = Option<(JobResult, Via)>;

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    /// `submit` is ready.
    pub(super) fn submit(
        submit: S,
        request: SubmitRequest,
        polls: P,
        deadline: Option<Duration>,
        shared: Arc<Shared>,
    ) -> Self {
        let submission = request.keep_alive().clone();
        Self::new(submission, Step::Idle(Sender::new(submit, request, polls)), Machine::new(deadline), shared)
    }

    pub(super) fn attach(submission: KeepAlive, polls: P, deadline: Option<Duration>, shared: Arc<Shared>) -> Self {
        Self::new(submission, Step::Attached { polls }, Machine::attached(deadline), shared)
    }

    fn new(submission: KeepAlive, step: Step<S, P>, machine: Machine, shared: Arc<Shared>) -> Self {
        shared.counters.started.add();
        Self {
            submission,
            shared,
            machine,
            started: Instant::now(),
            waker: WakerSlot::default(),
            signed_events: 0,
            hints: 0,
            polls: 0,
            last_error: None,
            step,
            timer: None,
        }
    }
}

impl<S, P> Future for JobWait<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    type Output = Result<JobResult, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.machine.is_over() {
            return Poll::Pending;
        }
        loop {
            let (event, found) = ready!(self.as_mut().poll_event(cx));
            let this = self.as_mut().project();
            let (now, facts) = (this.started.elapsed(), this.shared.facts(this.submission));
            let action = this.machine.on(event, now, facts, &this.shared.limits);
            if let Some(end) = self.as_mut().perform(action, found) {
                self.as_mut().project().step.set(Step::Over);
                return Poll::Ready(end);
            }
        }
    }
}

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    /// The next event. The submission comes first, because other waits and the notifier report to it; then the send or poll of this
    /// wait; then the time.
    fn poll_event(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Event, Found)> {
        let mut this = self.as_mut().project();
        let shared = this.submission.shared();
        let snapshot = shared.watch(this.waker, cx.waker(), SubmissionState::snapshot);
        if let Some(found) = snapshot.result {
            return Poll::Ready((Event::ResultKnown, Some(found)));
        }
        if *this.signed_events != snapshot.signed_events {
            *this.signed_events = snapshot.signed_events;
            return Poll::Ready((Event::SignedState, None));
        }
        if *this.hints != snapshot.hints {
            *this.hints = snapshot.hints;
            return Poll::Ready((Event::Hint, None));
        }
        if this.machine.reacts_to(snapshot.sending) {
            // Registers the submission for its events, before anything is sent.
            let event = match this.submission.claim(&this.shared.owner()) {
                Ok(found) => Event::Claimed(found),
                Err(error) => {
                    *this.last_error = Some(error);
                    Event::ClaimFailed
                }
            };
            return Poll::Ready((event, None));
        }
        // After a terminal hint the next poll may still return an older state, so the polls after it must not be slow.
        let usual = if snapshot.terminal_hint { Pace::Steady } else { this.shared.pace(this.submission) };
        let pace = this.machine.pace(usual);
        match this.step.as_mut().poll_outcome(pace, cx) {
            Poll::Ready(StepOutcome::Sent(response)) => return Poll::Ready((self.sent(response), None)),
            Poll::Ready(StepOutcome::Polled(response)) => return Poll::Ready(self.polled(response)),
            Poll::Pending => {}
        }
        // A time beyond the clock's range never comes.
        let wake_at = this.machine.wake_at(&this.shared.limits).and_then(|after| this.started.checked_add(after));
        if this.timer.as_ref().map(|timer| timer.deadline()) != wake_at {
            *this.timer = wake_at.map(|at| Box::pin(sleep_until(at)));
        }
        match this.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| (Event::Elapsed, None)),
            None => Poll::Pending,
        }
    }

    /// Stores the outcome of sending where the other waits see it.
    fn sent(self: Pin<&mut Self>, response: Result<Accepted, Error>) -> Event {
        let this = self.project();
        let submission = this.submission.shared();
        match response {
            Ok(Accepted { job_id, supports_idempotency }) => {
                tracing::debug!(%job_id, supports_idempotency, "job accepted");
                this.shared.learn_idempotency(supports_idempotency);
                submission.update(|state| state.accept(job_id));
                Event::Accepted
            }
            Err(error) => {
                let unsent = error.is_safe_to_resubmit();
                let sending = submission.update(|state| if unsent { state.unsent() } else { state.lost() });
                tracing::debug!(error = &error as &dyn std::error::Error, ?sending, "submission failed");
                if sending != SendState::Fresh {
                    this.shared.counters.lost_responses.add();
                }
                *this.last_error = Some(if sending == SendState::Fresh { error } else { error.may_have_arrived() });
                Event::SendFailed(sending)
            }
        }
    }

    /// Stores the outcome of a poll.
    fn polled(mut self: Pin<&mut Self>, response: Result<JobStatus, Error>) -> (Event, Found) {
        let mut this = self.as_mut().project();
        *this.polls = this.polls.saturating_add(1);
        match response.map(JobResult::new) {
            Ok(Ok(result)) => {
                this.shared.counters.polls.add();
                (Event::Polled { terminal: true, prompted: false }, Some((result, Via::Poll)))
            }
            Ok(Err(status)) => {
                this.shared.counters.polls.add();
                *this.last_error = None;
                this.submission.shared().update(|state| state.polled(&status));
                let prompted = this.step.as_mut().stream().is_some_and(|stream| stream.is_due());
                (Event::Polled { terminal: false, prompted }, None)
            }
            Err(error) => {
                this.shared.counters.poll_failures.add();
                tracing::debug!(error = &error as &dyn std::error::Error, "poll failed");
                let fault = Fault::of(&error);
                *this.last_error = Some(error);
                (Event::PollFailed(fault), None)
            }
        }
    }

    /// Performs an action. Returns the output if the action ends the wait.
    fn perform(mut self: Pin<&mut Self>, action: Action, found: Found) -> Option<Result<JobResult, Error>> {
        let mut this = self.as_mut().project();
        let submission = this.submission.shared();
        match action {
            Action::Wait => {}
            Action::Resend if !submission.update(SubmissionState::reclaim) => {
                let facts = this.shared.facts(this.submission);
                this.machine.on(Event::Overtaken, this.started.elapsed(), facts, &this.shared.limits);
            }
            // The sender may never be polled again.
            Action::PresumeLost => _ = submission.update(SubmissionState::lost),
            Action::Send | Action::Resend => {
                this.shared.counters.submitted.add();
                this.step.send();
            }
            Action::Poll => {
                // The job id is known in every phase from which polling starts.
                let job_id = submission.read(|state| state.job_id().cloned())?;
                if !this.machine.has_sent() {
                    this.shared.counters.attached.add();
                }
                this.step.start_polling(job_id, Arc::clone(&this.shared.polling));
            }
            Action::PollNow => {
                if let Some(stream) = this.step.as_mut().stream() {
                    stream.poll_now();
                }
            }
            Action::PollFinally => {
                if let Some(stream) = this.step.as_mut().stream() {
                    stream.poll_afresh();
                }
            }
            Action::Finish => {
                let (result, via) = found?;
                self.as_mut().release_send();
                return Some(Ok(self.finish(result, via)));
            }
            Action::Fail(failure) => {
                self.as_mut().release_send();
                return Some(Err(self.fail(failure)));
            }
        }
        None
    }

    fn finish(self: Pin<&mut Self>, result: JobResult, via: Via) -> JobResult {
        let this = self.project();
        let by_poll = |via: Via| via != Via::Webhook && !this.machine.was_prompted();
        // Not for a clone that finds the result stored: its event may have come.
        let first = by_poll(via) && !this.submission.shared().read(SubmissionState::has_result);
        let token = if first { this.submission.token_with(&this.shared.owner()) } else { None };
        if let Some(token) = token {
            // Before the result is stored, since its event may come right after that.
            this.shared.await_event(token);
        }
        // Of several waits on one submission, the first to know the result provides it to all.
        let (result, via) = this.submission.shared().update(|state| state.finish(result, via));
        let counters = &this.shared.counters;
        if by_poll(via) {
            counters.finished_by_poll.add();
        } else {
            counters.finished_by_webhook.add();
            if let Some(token) = token {
                this.shared.await_no_event(token);
            }
        }
        result
    }

    fn fail(self: Pin<&mut Self>, failure: Failure) -> Error {
        let this = self.project();
        let kind = match failure {
            Failure::Submission | Failure::Lost => Kind::Lost,
            Failure::Poll => Kind::Service,
            Failure::Deadline => Kind::Deadline(this.machine.deadline().unwrap_or_default()),
        };
        let error = match this.last_error.take() {
            Some(error) if matches!(failure, Failure::Submission | Failure::Poll) => error,
            Some(cause) => Error::new(kind).with_source(cause),
            None => Error::new(kind),
        };
        this.shared.counters.failed.add();
        let submission = this.submission.shared();
        let (fresh, job_id, last_state) =
            submission.read(|state| (state.is_fresh(), state.job_id().cloned(), state.last_state().cloned()));
        let error = if fresh { error.surely_unsent() } else { error };
        let error = error.with_job(job_id, submission.key(), last_state).with_daemon(submission.daemon());
        if *this.polls > 0 { error.with_waited(this.started.elapsed(), *this.polls) } else { error }
    }
}

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    /// Gives up the right to send, if this wait has it, and stores whether the submission may have arrived.
    fn release_send(self: Pin<&mut Self>) {
        let this = self.project();
        let submission = this.submission.shared();
        match &*this.step {
            Step::Sending(_) => _ = submission.update(SubmissionState::lost),
            Step::Idle(sender) if sender.is_about_to_send() => _ = submission.update(SubmissionState::unsent),
            _ => {}
        }
    }
}

#[pinned_drop]
impl<S, P> PinnedDrop for JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    fn drop(mut self: Pin<&mut Self>) {
        self.as_mut().release_send();
        let this = self.project();
        if !this.machine.is_over() {
            this.shared.counters.dropped.add();
        }
        this.submission.shared().unwatch(this.waker);
    }
}

impl<S, P> fmt::Debug for JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobWait")
            .field("submission", &self.submission.submission())
            .field("machine", &self.machine)
            .finish()
    }
}
