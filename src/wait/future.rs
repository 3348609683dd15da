mod end;
mod outcome;

use std::fmt;
use std::future::Future;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Sleep, sleep_until};
use tower::Service;

use super::live::Place;
use super::machine::{Action, Event, Machine};
use super::shared::Shared;
use super::step::{Sender, Step, StepOutcome};
use crate::api::{Accepted, GetJob, Polled};
use crate::error::Kind;
use crate::source::{Pace, Sample};
use crate::submission::{KeepAlive, SendState, SubmissionState, Via, WakerSlot};
use crate::{BoxError, Error, JobResult, SubmitRequest};

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
    /// `None` if the service was shutting down.
    place: Option<Place>,
    waker: WakerSlot,
    /// The event counts of the submission that the machine has heard of.
    signed_events: u16,
    hints: u16,
    /// The event stream as it was before the request in flight was sent.
    sent_in: Option<Sample>,
    /// The period of the event stream in which this wait needs no polls.
    depends_on: Option<NonZeroU16>,
    /// It gets the events of the event stream.
    subscribed: bool,
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
        let deadline = submission.shared().start_wait(deadline);
        let step = Step::Idle(Sender::new(submit, request.for_wait(deadline), polls));
        Self::new(submission, step, Machine::new(deadline), shared)
    }

    pub(super) fn attach(submission: KeepAlive, polls: P, deadline: Option<Duration>, shared: Arc<Shared>) -> Self {
        let deadline = submission.shared().start_wait(deadline);
        Self::new(submission, Step::Attached { polls }, Machine::attached(deadline), shared)
    }

    fn new(submission: KeepAlive, step: Step<S, P>, machine: Machine, shared: Arc<Shared>) -> Self {
        shared.counters.started.add();
        let place = shared.live.enter(submission.shared());
        Self {
            submission,
            shared,
            machine,
            place,
            waker: WakerSlot::default(),
            signed_events: 0,
            hints: 0,
            sent_in: None,
            depends_on: None,
            subscribed: false,
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
        // All of one poll happens at one time, unless the timer shows that it is later.
        let mut now = self.submission.shared().elapsed();
        loop {
            let (event, found) = ready!(self.as_mut().poll_event(now, cx));
            let this = self.as_mut().project();
            if event == Event::Elapsed {
                now = this.submission.shared().elapsed();
            }
            let facts = this.shared.facts(this.submission);
            let action = this.machine.on(event, now, facts, &this.shared.limits);
            if let Some(end) = self.as_mut().perform(action, found) {
                self.as_mut().unsubscribe();
                let mut this = self.as_mut().project();
                this.step.set(Step::Over);
                // Its caller may hold the completed future for long.
                if let Some(place) = this.place.take() {
                    this.shared.live.leave(place);
                }
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
    fn poll_event(mut self: Pin<&mut Self>, now: Duration, cx: &mut Context<'_>) -> Poll<(Event, Found)> {
        let this = self.as_mut().project();
        let shared = this.submission.shared();
        let snapshot = shared.watch(this.waker, cx.waker(), SubmissionState::snapshot);
        if let Some(found) = snapshot.result {
            return Poll::Ready((Event::ResultKnown, Some(found)));
        }
        if this.place.is_none() || this.shared.live.is_closed() {
            return Poll::Ready((Event::ShuttingDown, None));
        }
        if *this.signed_events != snapshot.signed_events {
            *this.signed_events = snapshot.signed_events;
            return Poll::Ready((Event::SignedState, None));
        }
        if *this.hints != snapshot.hints {
            *this.hints = snapshot.hints;
            return Poll::Ready((Event::Hint, None));
        }
        if snapshot.unconfirmed_result && this.machine.reacts_to_unconfirmed_result() {
            return Poll::Ready((Event::UnconfirmedResult, None));
        }
        if this.machine.reacts_to(snapshot.sending)
            && let Some(event) = self.as_mut().claim(snapshot.sending, now)
        {
            return Poll::Ready((event, None));
        }
        let mut this = self.as_mut().project();
        // The service was not ready before the pause began.
        if this.step.is_about_to_submit() && this.shared.slow_down.end().is_some() {
            self.give_back_send();
            return Poll::Ready((Event::Paused, None));
        }
        // The caller may have been busy elsewhere, or the service not ready. Nothing is sent after the deadline but the final poll.
        if this.machine.deadline().is_some() && !this.machine.is_final() {
            let may_send = match &*this.step {
                Step::Sending(_) => this.submission.shared().read(SubmissionState::is_pausing),
                step => step.is_about_to_send(),
            };
            if may_send && this.machine.is_past_deadline(now) {
                return Poll::Ready((Event::Elapsed, None));
            }
        }
        if let Some(stream) = this.step.as_mut().stream() {
            // After a terminal hint the next poll may still return an older state, so the polls after it must not be slow.
            let usual = match snapshot.terminal_hint {
                true => Pace::Steady,
                false => this.shared.pace(this.submission, *this.depends_on),
            };
            stream.set_pace(this.machine.pace(usual));
        }
        if !this.step.is_in_flight() {
            *this.sent_in = this.shared.sample_stream();
        }
        match this.step.as_mut().poll_outcome(cx) {
            Poll::Ready(StepOutcome::Sent(response)) => return Poll::Ready((self.sent(response), None)),
            Poll::Ready(StepOutcome::Polled(response)) => return Poll::Ready(self.polled(response)),
            Poll::Pending => {}
        }
        // A time beyond the clock's range never comes.
        let wake_at = this.machine.wake_at().and_then(|after| this.submission.shared().first_call().checked_add(after));
        if this.timer.as_ref().map(|timer| timer.deadline()) != wake_at {
            *this.timer = wake_at.map(|at| Box::pin(sleep_until(at)));
        }
        match this.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| (Event::Elapsed, None)),
            None => Poll::Pending,
        }
    }

    /// Claims the submission. `None` while the daemon has asked to send nothing.
    fn claim(self: Pin<&mut Self>, found: SendState, now: Duration) -> Option<Event> {
        let this = self.project();
        // Nothing was sent, so there is nothing that a last look could find.
        if found == SendState::Fresh && this.machine.is_past_deadline(now) {
            return Some(Event::Elapsed);
        }
        let sends = match found {
            SendState::Fresh => true,
            SendState::Lost => this.shared.facts(this.submission).idempotency,
            SendState::Accepted | SendState::InFlight => false,
        };
        if sends {
            let paused_until = this.shared.slow_down.until(this.submission.shared().first_call());
            if this.machine.has_to_pause(paused_until, now) {
                let until = paused_until.unwrap_or_default();
                // A job that may exist may still end before the deadline.
                if found != SendState::Fresh || !this.machine.is_past_deadline(until) {
                    return None;
                }
                *this.last_error = Some(Error::new(Kind::SlowDown(until.saturating_sub(now))));
                return Some(Event::ClaimFailed);
            }
        }
        // Registers the submission for its events, before anything is sent.
        Some(match this.submission.claim(&this.shared.owner()) {
            Ok(found) => Event::Claimed(found),
            Err(error) => {
                *this.last_error = Some(error);
                Event::ClaimFailed
            }
        })
    }

    /// Gives the right to send back before anything is sent.
    fn give_back_send(self: Pin<&mut Self>) {
        let this = self.project();
        let submission = this.submission.shared();
        let now = submission.elapsed();
        this.step.release();
        submission.update(|state| state.unsent(now));
    }

    /// `None` if the job id is not known. It is, in every phase from which polling starts.
    fn start_polling(self: Pin<&mut Self>) -> Option<()> {
        let this = self.project();
        let submission = this.submission.shared();
        let job_id = submission.read(|state| state.job_id().cloned())?;
        if !this.machine.has_sent() {
            this.shared.counters.attached.add();
        }
        if !*this.subscribed {
            *this.subscribed = this.shared.subscribe(this.submission, &job_id);
        }
        if !*this.subscribed {
            *this.depends_on = None;
        }
        this.step.start_polling(job_id, Arc::clone(&this.shared.polling), submission.began());
        Some(())
    }

    /// Performs an action. Returns the output if the action ends the wait.
    fn perform(mut self: Pin<&mut Self>, action: Action, found: Found) -> Option<Result<JobResult, Error>> {
        let mut this = self.as_mut().project();
        let submission = this.submission.shared();
        match action {
            Action::Wait => {}
            Action::Resend if !submission.update(SubmissionState::reclaim) => {
                let facts = this.shared.facts(this.submission);
                this.machine.on(Event::Overtaken, this.submission.shared().elapsed(), facts, &this.shared.limits);
            }
            // The sender may never be polled again, or its response may never come.
            Action::PresumeLost => {
                let now = this.submission.shared().elapsed();
                if this.step.is_about_to_submit() {
                    let facts = this.shared.facts(this.submission);
                    this.machine.on(Event::NotReady, now, facts, &this.shared.limits);
                    self.give_back_send();
                    return None;
                }
                let sending = submission.update(|state| state.lost(now));
                if this.step.as_mut().abandon_send() {
                    let facts = this.shared.facts(this.submission);
                    let action = this.machine.on(Event::SendFailed(sending), now, facts, &this.shared.limits);
                    return self.perform(action, None);
                }
            }
            Action::Send | Action::Resend => {
                this.shared.counters.submitted.add();
                let claim = submission.read(SubmissionState::claim_number);
                this.step.send(claim);
            }
            Action::Poll | Action::PollLater => {
                self.as_mut().start_polling()?;
                let this = self.project();
                if action == Action::PollLater
                    && let Some(mut stream) = this.step.stream()
                {
                    stream.as_mut().of_new_job();
                    // A job that was just accepted has not ended, and its event will come.
                    if this.shared.pace(this.submission, *this.depends_on).is_slow() {
                        stream.begin_with_pause();
                    }
                }
            }
            Action::PollNow => {
                if let Some(stream) = this.step.as_mut().stream() {
                    stream.poll_now();
                }
            }
            Action::PollFinally => {
                if this.step.as_mut().stream().is_none() {
                    self.as_mut().start_polling()?;
                }
                if let Some(stream) = self.project().step.stream() {
                    stream.poll_afresh();
                }
            }
            Action::Finish => {
                let (result, via) = found?;
                self.as_mut().release_send();
                return Some(Ok(self.finish(result, via)));
            }
            Action::Fail(failure) => {
                let refusal = self.as_mut().release_send();
                return Some(Err(self.fail(failure, refusal)));
            }
        }
        None
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
        self.as_mut().unsubscribe();
        let this = self.project();
        if !this.machine.is_over() {
            this.shared.counters.dropped.add();
            // A call that a shutdown has refused has no place.
            if this.place.is_some() {
                this.shared.wait_ended(this.submission.shared());
            }
        }
        let submission = this.submission.shared();
        submission.unwatch(this.waker);
        submission.update(SubmissionState::wait_ended);
        if let Some(place) = this.place.take() {
            this.shared.live.leave(place);
        }
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
