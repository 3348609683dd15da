use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use super::machine::{Action, Event, Failure, Fault, Machine};
use super::shared::Shared;
use super::step::{Outcome, Sender, Step};
use crate::api::{Accepted, GetJob, Polled};
use crate::error::Kind;
use crate::source::Pace;
use crate::submission::{Claim, Hold, Home, Seat, Via};
use crate::{BoxError, Error, JobResult, JobStatus, SubmitRequest};

/// A job that is waited for: the future of [`Wait`](super::Wait), which resolves to the finished job.
///
/// It ends with the result that comes first, from an event or from a poll; with an error if the submission fails, if polls fail
/// for too long, or at the deadline; never with nothing. It needs a tokio runtime with time enabled.
///
/// # Cancel safety
///
/// Dropping it loses nothing. Another wait called with a clone of the same request attaches to it; so does a wait called
/// with its id ([`Submission::job_id`](crate::Submission::job_id)). When the last clone of the request and the last wait are
/// gone, the slot for its events is freed and the [`DropPolicy`](crate::DropPolicy) decides over the job: it is left alone unless
/// set otherwise.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    hold: Hold,
    shared: Arc<Shared>,
    machine: Machine,
    begin: Instant,
    seat: Seat,
    /// How many events were seen, signed and unsigned.
    heard: u32,
    hints: u32,
    polls: u32,
    /// An event made it ask, so that what the poll tells is the event's merit.
    prompted: bool,
    /// The last failure, of the submission or of a poll.
    failure: Option<Error>,
    #[pin]
    step: Step<S, P>,
    /// For the time that the machine wants to be woken at; in a box, since most waits have none.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The result that comes with an event, and what told it.
type Told = Option<(JobResult, Via)>;

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    /// Registers the submission for its events before anything is sent. `submit` is ready.
    pub(super) fn submit(
        submit: S,
        request: SubmitRequest,
        polls: P,
        deadline: Option<Duration>,
        shared: Arc<Shared>,
    ) -> Self {
        let home: Arc<dyn Home> = Arc::clone(&shared) as _;
        let hold = request.hold().clone();
        let step = match hold.lodge(&home) {
            Ok(()) => Step::Idle(Sender::new(submit, request, polls)),
            Err(error) => Step::Refused(Some(error)),
        };
        Self::new(hold, step, Machine::new(deadline), shared)
    }

    pub(super) fn attach(hold: Hold, polls: P, deadline: Option<Duration>, shared: Arc<Shared>) -> Self {
        Self::new(hold, Step::Attached { polls }, Machine::attached(deadline), shared)
    }

    fn new(hold: Hold, step: Step<S, P>, machine: Machine, shared: Arc<Shared>) -> Self {
        shared.counters.started.add();
        Self {
            hold,
            shared,
            machine,
            begin: Instant::now(),
            seat: Seat::default(),
            heard: 0,
            hints: 0,
            polls: 0,
            prompted: false,
            failure: None,
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
        loop {
            let Poll::Ready((event, told)) = self.as_mut().poll_event(cx) else {
                return Poll::Pending;
            };
            let this = self.as_mut().project();
            let (now, known) = (this.begin.elapsed(), this.shared.known(this.hold));
            let action = this.machine.on(event, now, known, &this.shared.limits);
            if let Some(end) = self.as_mut().perform(action, told) {
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
    /// What happened next: first what others told the cell, then what this wait has asked for itself, then the time.
    fn poll_event(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Event, Told)> {
        let mut this = self.as_mut().project();
        if this.machine.is_over() {
            return Poll::Pending;
        }
        let cell = this.hold.cell();
        let news = cell.look(this.seat, cx.waker());
        if let Some(told) = news.finished {
            return Poll::Ready((Event::Finished, Some(told)));
        }
        if *this.heard != news.heard {
            *this.heard = news.heard;
            return Poll::Ready((Event::Heard, None));
        }
        if *this.hints != news.hints {
            *this.hints = news.hints;
            *this.prompted = true;
            return Poll::Ready((Event::Hinted, None));
        }
        if !matches!(*this.step, Step::Refused(_)) && this.machine.minds(news.claim) {
            return Poll::Ready((Event::Claimed(cell.claim()), None));
        }
        // The last look is for what is known now.
        let pace = if this.machine.is_looking_last() { Pace::Slow } else { this.shared.pace(this.hold) };
        match this.step.as_mut().poll_outcome(pace, cx) {
            Poll::Ready(Outcome::Submitted(answer)) => return Poll::Ready((self.submitted(answer), None)),
            Poll::Ready(Outcome::Polled(answer)) => return Poll::Ready(self.polled(answer)),
            Poll::Pending => {}
        }
        // A time that no clock can hold never comes.
        let wake_at = this.machine.wake_at(&this.shared.limits).and_then(|after| this.begin.checked_add(after));
        let armed = this.timer.as_ref().map(|timer| timer.deadline());
        if armed != wake_at {
            *this.timer = wake_at.map(|at| Box::pin(sleep_until(at)));
        }
        match this.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| (Event::Elapsed, None)),
            None => Poll::Pending,
        }
    }

    /// What the answer to the submission means, for this wait and for the others.
    fn submitted(self: Pin<&mut Self>, answer: Result<Accepted, Error>) -> Event {
        let this = self.project();
        let cell = this.hold.cell();
        match answer {
            Ok(Accepted { job_id, keeps_keys }) => {
                tracing::debug!(%job_id, keeps_keys, "the daemon took a job");
                this.shared.learn_keys(keeps_keys);
                cell.accepted(job_id);
                Event::Accepted
            }
            Err(error) => {
                let claim = if error.is_unsent() { cell.unsent() } else { cell.lost() };
                // Nothing arrived, of this attempt or of one before; or there was no room for its events, and nothing was sent.
                let unsent = claim == Claim::Mine || !this.machine.is_submitting();
                tracing::debug!(error = &error as &dyn std::error::Error, unsent, "a submission failed");
                if unsent {
                    *this.failure = Some(error);
                    return Event::Unsent;
                }
                *this.failure = Some(error.perhaps_arrived());
                this.shared.counters.lost_answers.add();
                Event::MaybeSent(claim)
            }
        }
    }

    /// What the answer to a poll means.
    fn polled(mut self: Pin<&mut Self>, answer: Result<JobStatus, Error>) -> (Event, Told) {
        let mut this = self.as_mut().project();
        *this.polls = this.polls.saturating_add(1);
        match answer.map(JobResult::new) {
            Ok(answer) => {
                this.shared.counters.polls.add();
                *this.failure = None;
                match answer {
                    Ok(result) => (Event::Told { terminal: true }, Some((result, Via::Poll))),
                    Err(status) => {
                        this.hold.cell().observe(&status);
                        *this.prompted = this.step.as_mut().stream().is_some_and(|stream| stream.is_due());
                        (Event::Told { terminal: false }, None)
                    }
                }
            }
            Err(error) => {
                this.shared.counters.poll_failures.add();
                tracing::debug!(error = &error as &dyn std::error::Error, "a poll failed");
                let fault = fault(&error);
                *this.failure = Some(error);
                (Event::PollFailed(fault), None)
            }
        }
    }

    /// Does what the machine says; gives the end, if this is it.
    fn perform(mut self: Pin<&mut Self>, action: Action, told: Told) -> Option<Result<JobResult, Error>> {
        let mut this = self.as_mut().project();
        match action {
            // Behind another wait, or after a lost answer.
            Action::Nothing => this.step.rest(),
            Action::Resend if this.hold.cell().reclaim() != Claim::Mine => this.machine.stand_behind(),
            Action::Submit | Action::Resend => {
                this.shared.counters.submitted.add();
                this.step.send();
            }
            Action::Follow => {
                // The job is known in every phase from which the machine follows.
                let job_id = this.hold.cell().job_id()?;
                if !this.step.follow(job_id, Arc::clone(&this.shared.polling)) {
                    this.shared.counters.attached.add();
                }
            }
            Action::Hurry => {
                if let Some(stream) = this.step.as_mut().stream() {
                    stream.hurry();
                }
            }
            Action::LastLook => {
                if let Some(stream) = this.step.as_mut().stream() {
                    stream.ask_afresh();
                }
            }
            Action::Finish => {
                let (result, via) = told?;
                self.as_mut().stop_sending();
                return Some(Ok(self.finish(result, via)));
            }
            Action::Fail(failure) => {
                self.as_mut().stop_sending();
                return Some(Err(self.fail(failure)));
            }
        }
        None
    }

    fn finish(self: Pin<&mut Self>, result: JobResult, via: Via) -> JobResult {
        let this = self.project();
        // Of two waits on one submission, the first that knows the end tells both.
        let (result, via) = this.hold.cell().finish(result, via);
        let counters = &this.shared.counters;
        if via == Via::Webhook || *this.prompted {
            counters.finished_by_push.add();
        } else {
            counters.finished_by_poll.add();
            if this.shared.missed(this.hold) {
                counters.rescued.add();
                tracing::debug!(job_id = %result.job_id, "a poll found what no webhook had told; polling faster until one comes");
            }
        }
        result
    }

    fn fail(self: Pin<&mut Self>, failure: Failure) -> Error {
        let this = self.project();
        let cell = this.hold.cell();
        let kind = match failure {
            Failure::Submission | Failure::Lost => Kind::Lost,
            Failure::Poll => Kind::Service,
            Failure::Deadline => Kind::Deadline(this.machine.deadline().unwrap_or_default()),
        };
        let error = match this.failure.take() {
            Some(error) if matches!(failure, Failure::Submission | Failure::Poll) => error,
            Some(cause) => Error::new(kind).with_source(cause),
            None => Error::new(kind),
        };
        let error = if cell.is_fresh() { error.surely_unsent() } else { error };
        this.shared.counters.failed.add();
        let error = error.with_job(cell.job_id(), cell.key(), cell.last_state());
        if *this.polls > 0 { error.with_waited(this.begin.elapsed(), *this.polls) } else { error }
    }
}

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    /// Gives back the right to send, if this wait has it: whoever comes next must know whether it may have arrived.
    fn stop_sending(self: Pin<&mut Self>) {
        let this = self.project();
        let cell = this.hold.cell();
        match &*this.step {
            Step::Submitting(_) => _ = cell.lost(),
            Step::Idle(sender) if sender.is_due() => _ = cell.unsent(),
            _ => {}
        }
    }
}

/// Whether a failed poll may succeed later.
fn fault(error: &Error) -> Fault {
    if error.is_not_found() {
        return Fault::NotFound;
    }
    let permanent = error.is_auth() || error.is_rejected() || error.is_invalid();
    if permanent || matches!(error.kind(), Kind::TooLarge(_)) { Fault::Permanent } else { Fault::Transient }
}

#[pinned_drop]
impl<S, P> PinnedDrop for JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    fn drop(mut self: Pin<&mut Self>) {
        self.as_mut().stop_sending();
        let this = self.project();
        if !this.machine.is_over() {
            this.shared.counters.dropped.add();
        }
        this.hold.cell().leave(this.seat);
    }
}

impl<S, P> fmt::Debug for JobWait<S, P>
where
    S: Service<SubmitRequest>,
    P: Service<GetJob>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobWait").field("submission", &self.hold.submission()).field("phase", &self.machine).finish()
    }
}
