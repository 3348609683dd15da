//! What came of sending, and of a poll.

use std::pin::Pin;

use tower::Service;

use super::super::machine::{Event, Fault};
use super::{Found, JobWait};
use crate::api::{Accepted, GetJob, Polled};
use crate::submission::{SendState, Via};
use crate::{BoxError, Error, JobResult, JobStatus, SubmitRequest};

impl<S, P> JobWait<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    /// Stores the outcome of sending where the other waits see it.
    pub(super) fn sent(self: Pin<&mut Self>, response: Result<Accepted, Error>) -> Event {
        let this = self.project();
        let submission = this.submission.shared();
        match response {
            Ok(Accepted { job_id, supports_idempotency }) => {
                let idempotency_key = submission.key().map(tracing::field::display);
                tracing::debug!(%job_id, idempotency_key, supports_idempotency, "job accepted");
                this.shared.responded();
                this.shared.learn_idempotency(supports_idempotency);
                *this.depends_on = this.shared.depend_on_stream(this.submission, *this.sent_in);
                submission.update(|state| state.accept(job_id));
                Event::Accepted
            }
            Err(error) => {
                let (unsent, now) = (error.is_safe_to_resubmit(), this.submission.shared().elapsed());
                // Before the clones wake up, since they may send.
                this.shared.slow_down.refused(&error);
                this.shared.failed(&error);
                let sending = submission.update(|state| if unsent { state.unsent(now) } else { state.lost(now) });
                let idempotency_key = submission.key().map(tracing::field::display);
                tracing::debug!(
                    idempotency_key,
                    error = &error as &dyn std::error::Error,
                    ?sending,
                    "submission failed"
                );
                if sending != SendState::Fresh {
                    this.shared.counters.lost_responses.add();
                    submission.update(|state| state.explain_loss(&error));
                }
                *this.last_error = Some(if sending == SendState::Fresh { error } else { error.may_have_arrived() });
                Event::SendFailed(sending)
            }
        }
    }

    /// Stores the outcome of a poll.
    pub(super) fn polled(mut self: Pin<&mut Self>, response: Result<JobStatus, Error>) -> (Event, Found) {
        let mut this = self.as_mut().project();
        *this.polls = this.polls.saturating_add(1);
        // It has polled the job that an event named, and a response has named another since.
        if let (Some(stream), Some(job_id)) =
            (this.step.as_mut().stream(), this.submission.shared().read(|state| state.job_id().cloned()))
            && *stream.job_id() != job_id
        {
            if *this.subscribed {
                this.shared.unsubscribe(this.submission, stream.job_id());
                *this.subscribed = this.shared.subscribe(this.submission, &job_id);
            }
            stream.poll_job(job_id);
            return (Event::Polled { terminal: false, prompted: true }, None);
        }
        if response.is_ok() {
            this.shared.responded();
        }
        match response.map(JobResult::new) {
            Ok(Ok(result)) => {
                this.shared.counters.polls.add();
                (Event::Polled { terminal: true, prompted: false }, Some((result, Via::Poll)))
            }
            Ok(Err(status)) => {
                this.shared.counters.polls.add();
                *this.last_error = None;
                // By a poll after the subscription, the wait knows all that came before.
                let period = this.sent_in.map(|sent| sent.period);
                *this.depends_on = period.filter(|_| *this.subscribed && this.shared.is_streamed(this.submission));
                if !*this.subscribed {
                    *this.subscribed = this.shared.subscribe(this.submission, &status.job_id);
                }
                this.submission.shared().update(|state| state.polled(&status));
                let prompted = this.step.as_mut().stream().is_some_and(|stream| stream.is_due());
                (Event::Polled { terminal: false, prompted }, None)
            }
            Err(error) => {
                this.shared.counters.poll_failures.add();
                this.shared.polling.refused(&error);
                this.shared.failed(&error);
                let job_id = this.submission.shared().read(|state| state.job_id().cloned());
                let job_id = job_id.map(tracing::field::display);
                tracing::debug!(job_id, error = &error as &dyn std::error::Error, "poll failed");
                let fault = Fault::of(&error);
                *this.last_error = Some(error);
                (Event::PollFailed(fault), None)
            }
        }
    }
}
