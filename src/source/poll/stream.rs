use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use http::{HeaderValue, StatusCode};
use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower::Service;

use super::PollPolicy;
use super::attempt::{PollAttempt, PollOutcome, PollParams, Polling};
use super::pacer::{Moment, Permission, Turn};
use super::schedule::{Pace, PollSchedule};
use crate::api::{GetJob, Polled};
use crate::{BoxError, Error, JobId, JobStatus};

/// How many long polls that return a new state within 250 ms may follow each other without a pause.
const MAX_QUICK: u8 = 8;

/// So many slow pauses there are between two polls at [`Pace::Rare`]. After each the pace is decided anew.
const RARE: u8 = 10;

/// A stream of the states of a job, one for each poll.
///
/// The first poll goes out at once. If the daemon supports long polls, it holds the next one until the state changes. Otherwise
/// the pauses follow the [`PollPolicy`], by the time since the stream was made. The stream ends after a terminal state. An error
/// does not end it: the next poll goes out after a pause, and the reader decides when to give up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
/// # use foreman_client::api::{Api, Transport};
/// # use foreman_client::SubmitRequest;
/// use foreman_client::source::{PollPolicy, PollStream};
/// use futures_util::StreamExt;
/// use tower::ServiceExt;
/// # let daemon = foreman_daemon::Daemon::start().await?;
/// # let base = daemon.url().parse()?;
/// # let api = Api::new(base, Transport::new(&daemon.url().parse()?)?);
///
/// let request = SubmitRequest::builder("echo").user("hi").build()?;
/// let job = api.clone().oneshot(request).await?.job_id;
/// let states = PollStream::new(api, job, PollPolicy::default());
/// let mut states = std::pin::pin!(states);
/// while let Some(status) = states.next().await {
///     println!("{}", status?.state);
/// }
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropping a pending `next` loses nothing. Dropping the stream drops the poll in flight.
#[pin_project(PinnedDrop)]
#[must_use = "streams do nothing unless polled"]
pub struct PollStream<P: Service<GetJob>> {
    service: P,
    job_id: JobId,
    polling: Arc<Polling>,
    schedule: PollSchedule,
    /// The age of the job is counted from then, in nanoseconds from the epoch of the pacer.
    since: i64,
    pace: Pace,
    /// A state was returned, so that the daemon can be asked to hold the response until there is another.
    has_state: bool,
    /// How many consecutive long polls returned a new state within 250 ms.
    quick: u8,
    /// How many pauses at [`Pace::Rare`] have ended without a poll.
    skipped: u8,
    /// `poll_now` was called while a poll was in flight, whose response may be older than the reason for the call.
    poll_again: bool,
    etag: Option<Box<HeaderValue>>,
    #[pin]
    state: State<P::Future>,
}

#[pin_project(project = StateProj)]
enum State<F> {
    /// The next poll goes out without a pause.
    Due(Turn),
    /// It goes out at the moment that it has reserved, which is not before that time. A pause may move it.
    /// Leaving it in any other way gives the moment back ([`PollStream::give_back`]).
    Reserved {
        moment: Moment,
        #[pin]
        time: Sleep,
    },
    InFlight(Pin<Box<PollAttempt<F>>>),
    /// A response was yielded. The pause is decided when the next one is asked for, by the pace of that moment.
    Yielded(Yielded),
    Pausing(#[pin] Sleep),
    Over,
}

/// What the last response means for the pause after it.
#[derive(Debug, Clone, Copy)]
enum Yielded {
    /// The daemon held it for that long.
    Held(Duration),
    /// The daemon held it until the state changed, which was soon.
    Changed,
    /// It is the first state; the next poll may be a long poll.
    First,
    /// It came at once.
    AtOnce,
    /// It came at once, and the slow pause after it has ended.
    Quickened,
    /// The poll failed.
    Failed { retry_after: Option<Duration> },
}

impl<P> PollStream<P>
where
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    /// Polls `job_id` by `service`, such as an [`Api`](crate::Api).
    pub fn new(service: P, job_id: JobId, policy: PollPolicy) -> Self {
        Self::shared(service, job_id, Polling::new(policy), Instant::now())
    }

    /// `since`: the start of the age of the job.
    pub(crate) fn shared(service: P, job_id: JobId, polling: Arc<Polling>, since: Instant) -> Self {
        let since = polling.pacer.nanos(since);
        Self {
            service,
            job_id,
            polling,
            schedule: PollSchedule::new(),
            since,
            pace: Pace::Steady,
            has_state: false,
            quick: 0,
            skipped: 0,
            poll_again: false,
            etag: None,
            state: State::Due(Turn::Routine),
        }
    }

    /// Sets how long the pauses are from now on. A slow pause ends when they become shorter.
    pub(crate) fn set_pace(self: Pin<&mut Self>, pace: Pace) {
        let mut this = self.project();
        let slow = std::mem::replace(this.pace, pace).is_slow();
        if slow && !pace.is_slow() && matches!(*this.state, State::Pausing(_)) {
            this.state.set(State::Yielded(Yielded::Quickened));
        }
    }

    /// Polls without a pause: now, or as soon as the poll in flight has returned.
    pub fn poll_now(mut self: Pin<&mut Self>) {
        let mut this = self.as_mut().project();
        match this.state.as_mut().project() {
            StateProj::InFlight(_) => *this.poll_again = true,
            StateProj::Due(Turn::Prompt) | StateProj::Over => {}
            StateProj::Reserved { moment, .. } if moment.is_prompt() => {}
            _ => self.poll_in(Turn::Prompt),
        }
    }

    /// The job was just submitted.
    pub(crate) fn of_new_job(self: Pin<&mut Self>) {
        self.project().schedule.of_new_job();
    }

    /// Begins with a pause in place of a poll.
    pub(crate) fn begin_with_pause(self: Pin<&mut Self>) {
        let mut this = self.project();
        if matches!(*this.state, State::Due(Turn::Routine)) {
            this.state.set(State::Yielded(Yielded::AtOnce));
        }
    }

    /// Whether the next poll goes out without a pause.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self.state, State::Due(_))
    }

    /// Polls another job from now on.
    pub(crate) fn poll_job(mut self: Pin<&mut Self>, job_id: JobId) {
        let this = self.as_mut().project();
        (*this.job_id, *this.etag, *this.has_state) = (job_id, None, false);
        self.poll_in(Turn::Prompt);
    }

    /// Drops the poll in flight and polls now, without asking the daemon to hold the response.
    pub(crate) fn poll_afresh(mut self: Pin<&mut Self>) {
        let this = self.as_mut().project();
        *this.pace = Pace::Slow;
        *this.poll_again = false;
        self.poll_in(Turn::Prompt);
    }
}

impl<P> Stream for PollStream<P>
where
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    type Item = Result<JobStatus, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                // Due -> Reserved | InFlight
                StateProj::Due(turn) => {
                    *this.skipped = 0;
                    let pacer = &this.polling.pacer;
                    let now = Instant::now();
                    let moment = pacer.reserve(now, *turn);
                    let next = match pacer.check(moment, now) {
                        Permission::At(at) => State::Reserved { moment, time: sleep_until(at) },
                        Permission::Again(turn) => State::Due(turn),
                        Permission::Granted => State::InFlight(PollAttempt::new()),
                    };
                    this.state.set(next);
                }
                // Reserved -> InFlight
                // Reserved -> Due: the caller polled so late that the moment is lost.
                StateProj::Reserved { moment, mut time } => {
                    ready!(time.as_mut().poll(cx));
                    let next = match this.polling.pacer.check(*moment, Instant::now()) {
                        Permission::At(at) => {
                            time.reset(at);
                            continue;
                        }
                        Permission::Again(turn) => State::Due(turn),
                        Permission::Granted => State::InFlight(PollAttempt::new()),
                    };
                    this.state.set(next);
                }
                // InFlight -> Yielded: a response or an error.
                // InFlight -> Due: `poll_now` was called meanwhile.
                // InFlight -> Over: the state is terminal.
                StateProj::InFlight(attempt) => {
                    let (job_id, pace, has_state) = (&*this.job_id, *this.pace, *this.has_state);
                    let params = PollParams { job_id, pace, has_state, etag: this.etag.as_deref() };
                    let outcome = ready!(attempt.as_mut().poll(this.service, params, this.polling, cx));
                    let (response, yielded) = self.as_mut().learn(outcome);
                    let mut this = self.project();
                    let next = match &response {
                        Ok(status) if status.state.is_terminal() => State::Over,
                        _ if std::mem::take(this.poll_again) => State::Due(Turn::Prompt),
                        _ => State::Yielded(yielded),
                    };
                    this.state.set(next);
                    return Poll::Ready(Some(response));
                }
                // Yielded -> Pausing | Due
                StateProj::Yielded(yielded) => {
                    let (policy, age) = (&this.polling.policy, this.polling.pacer.age(*this.since, Instant::now()));
                    let pause = match *yielded {
                        Yielded::Held(held) => PollSchedule::after_long_poll(policy, held),
                        Yielded::Changed => Duration::ZERO,
                        Yielded::First if *this.pace == Pace::Steady && this.polling.allows_long_polls() => {
                            Duration::ZERO
                        }
                        Yielded::First | Yielded::AtOnce => this.schedule.after_state(policy, *this.pace, age),
                        Yielded::Quickened => this.schedule.after_slow_pause(policy, age),
                        Yielded::Failed { retry_after } => {
                            // The next pause is followed by a poll.
                            *this.skipped = RARE;
                            this.schedule.after_error(policy, age, retry_after)
                        }
                    };
                    let next = if pause.is_zero() { State::Due(Turn::Routine) } else { State::Pausing(sleep(pause)) };
                    this.state.set(next);
                }
                // Pausing -> Yielded: the event stream is open.
                // Pausing -> Due
                StateProj::Pausing(pause) => {
                    ready!(pause.poll(cx));
                    *this.skipped = this.skipped.saturating_add(1);
                    let skips = *this.pace == Pace::Rare && *this.skipped < RARE;
                    this.state.set(if skips { State::Yielded(Yielded::AtOnce) } else { State::Due(Turn::Routine) });
                }
                StateProj::Over => return Poll::Ready(None),
            }
        }
    }
}

impl<P: Service<GetJob>> PollStream<P> {
    /// The job that is polled.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// Any state -> Due.
    fn poll_in(mut self: Pin<&mut Self>, turn: Turn) {
        self.as_mut().give_back();
        self.project().state.set(State::Due(turn));
    }

    /// Gives the reserved moment back, if there is one that is not used.
    fn give_back(self: Pin<&mut Self>) {
        let this = self.project();
        if let StateProj::Reserved { moment, .. } = this.state.project() {
            this.polling.pacer.give_back(*moment);
        }
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        matches!(self.state, State::InFlight(_))
    }

    /// Stores what the response shows of the state and of long polls, and decides what it means for the pause after it.
    ///
    /// A long poll that returns a new state sooner than 250 ms is followed at once, so that the states of a quick job come as
    /// quickly; but only some times in a row, since a daemon may return a new state each time. One that returns the same state
    /// sooner than that is paced, so that a daemon that only claims to hold responses causes no flood of polls.
    fn learn(self: Pin<&mut Self>, outcome: PollOutcome) -> (Result<JobStatus, Error>, Yielded) {
        let this = self.project();
        match outcome.response {
            Ok(Polled { status, etag, .. }) => {
                let etag = etag.map(Box::new);
                let changed = etag.is_some() && this.etag.is_some() && etag != *this.etag;
                *this.etag = etag;
                let first = !std::mem::replace(this.has_state, true);
                let yielded = match outcome.held {
                    Some(held) if held >= PollSchedule::floor(&this.polling.policy) => {
                        *this.quick = 0;
                        Yielded::Held(held)
                    }
                    Some(_) if changed && *this.quick < MAX_QUICK => {
                        *this.quick += 1;
                        Yielded::Changed
                    }
                    Some(held) => Yielded::Held(held),
                    None if first => Yielded::First,
                    None => Yielded::AtOnce,
                };
                (Ok(status), yielded)
            }
            Err(error) => {
                if error.status() == Some(StatusCode::NOT_MODIFIED) {
                    // The protocol has no such response. A daemon that sends it is asked without the `ETag`.
                    *this.etag = None;
                }
                let retry_after = error.retry_after();
                (Err(error), Yielded::Failed { retry_after })
            }
        }
    }
}

#[pinned_drop]
impl<P: Service<GetJob>> PinnedDrop for PollStream<P> {
    fn drop(self: Pin<&mut Self>) {
        self.give_back();
    }
}

impl<P: Service<GetJob>> fmt::Debug for PollStream<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollStream").field("job_id", &self.job_id).field("pace", &self.pace).finish_non_exhaustive()
    }
}
