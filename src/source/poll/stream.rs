use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fastrand::Rng;
use futures_core::Stream;
use http::{HeaderValue, StatusCode};
use pin_project::pin_project;
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tower::Service;

use super::PollPolicy;
use super::flight::{Ask, Flight};
use super::polling::Polling;
use super::schedule::{Pace, Schedule};
use crate::api::{GetJob, Polled};
use crate::{BoxError, Error, JobId, JobStatus};

/// How many held answers with news may follow each other without a pause.
const QUICK: u8 = 8;

/// The states of a job as polls tell them: yields, then sleeps.
///
/// It asks at once, then, if the daemon holds its answers, for the next state, and else by its [`PollPolicy`]. The stream ends behind a terminal state. An error does not end it: what
/// may pass is asked again after a pause, and whoever reads the stream decides when it has had enough.
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
/// let job = api.clone().oneshot(SubmitRequest::builder("echo").user("hi").build()?).await?.job_id;
/// let mut states = std::pin::pin!(PollStream::new(api, job, PollPolicy::default()));
/// while let Some(status) = states.next().await {
///     println!("{}", status?.state);
/// }
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropping a pending `next` loses nothing; dropping the stream drops the poll that is in flight.
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct PollStream<P: Service<GetJob>> {
    service: P,
    job_id: JobId,
    polling: Arc<Polling>,
    schedule: Schedule,
    pace: Pace,
    /// A state was told, so that the daemon can be asked to hold its answer until there is another.
    known: bool,
    /// How many held answers came before an interval was over, one after the other, each with news.
    quick: u8,
    /// Asked to hurry while a poll was in flight, whose answer may be older than the reason to hurry.
    again: bool,
    etag: Option<Box<HeaderValue>>,
    #[pin]
    state: State<P::Future>,
}

#[pin_project(project = StateProj)]
enum State<F> {
    /// A poll is to go out without a pause.
    Due,
    Asking(Pin<Box<Flight<F>>>),
    /// An answer was yielded; how long to pause is decided when the next is asked for.
    Told(Told),
    Pausing(#[pin] Sleep),
    Over,
}

/// What an answer means for the pause behind it.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// The daemon held it for that long.
    Held(Duration),
    /// The daemon held it until there was something new, which was soon.
    News,
    /// The first state is known; the next poll may be one that is held until there is another.
    First,
    AtOnce {
        retry_after: Option<Duration>,
    },
}

impl<P> PollStream<P>
where
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    /// Polls `job_id` by `service`, such as an [`Api`](crate::Api).
    pub fn new(service: P, job_id: JobId, policy: PollPolicy) -> Self {
        Self::shared(service, job_id, Polling::new(policy))
    }

    pub(crate) fn shared(service: P, job_id: JobId, polling: Arc<Polling>) -> Self {
        let schedule = Schedule::new(Rng::new());
        Self {
            service,
            job_id,
            polling,
            schedule,
            pace: Pace::Steady,
            known: false,
            quick: 0,
            again: false,
            etag: None,
            state: State::Due,
        }
    }

    /// The job that is polled.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// How long the pauses are from now on.
    pub(crate) fn set_pace(self: Pin<&mut Self>, pace: Pace) {
        *self.project().pace = pace;
    }

    /// Asks without a pause: now, or right behind the poll that is in flight.
    pub fn hurry(self: Pin<&mut Self>) {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProj::Asking(_) => *this.again = true,
            StateProj::Told(_) | StateProj::Pausing(_) => this.state.set(State::Due),
            StateProj::Due | StateProj::Over => {}
        }
    }

    /// Whether the next poll goes out without a pause.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self.state, State::Due)
    }

    /// Gives up on a poll that is in flight and asks now, without asking the daemon to hold its answer.
    pub(crate) fn ask_afresh(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.pace = Pace::Slow;
        *this.again = false;
        this.state.set(State::Due);
    }
}

impl<P> Stream for PollStream<P>
where
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    type Item = Result<JobStatus, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                // Due -> Asking
                StateProj::Due => this.state.set(State::Asking(Flight::new(this.polling))),
                // Asking -> Told: an answer, or none.
                // Asking -> Due: what came may be older than the reason to hurry.
                // Asking -> Over: the job is terminal.
                StateProj::Asking(flight) => {
                    let etag = this.etag.as_deref();
                    let ask = Ask { job_id: this.job_id, pace: *this.pace, known: *this.known, etag };
                    let mut landed = ready!(flight.as_mut().poll(this.service, ask, this.polling, cx));
                    let told = match &mut landed.answer {
                        Ok(polled) => {
                            let etag = polled.etag.take().map(Box::new);
                            let news = etag.is_some() && this.etag.is_some() && etag != *this.etag;
                            *this.etag = etag;
                            match (landed.held, std::mem::replace(this.known, true)) {
                                (Some(held), _) if held >= this.polling.policy.interval => {
                                    *this.quick = 0;
                                    Told::Held(held)
                                }
                                // A job that is quick has its states told as quickly; a daemon whose every answer is news is
                                // not followed for long.
                                (Some(_), _) if news && *this.quick < QUICK => {
                                    *this.quick += 1;
                                    Told::News
                                }
                                (Some(held), _) => Told::Held(held),
                                (None, false) => Told::First,
                                (None, true) => Told::AtOnce { retry_after: None },
                            }
                        }
                        Err(error) => {
                            if error.status() == Some(StatusCode::NOT_MODIFIED) {
                                // The protocol has no such answer; a daemon that gives it is asked without the ETag.
                                *this.etag = None;
                            }
                            Told::AtOnce { retry_after: error.retry_after() }
                        }
                    };
                    let next = match &landed.answer {
                        Ok(polled) if polled.status.state.is_terminal() => State::Over,
                        _ if std::mem::take(this.again) => State::Due,
                        _ => State::Told(told),
                    };
                    this.state.set(next);
                    return Poll::Ready(Some(landed.answer.map(|polled| polled.status)));
                }
                // Told -> Pausing | Due
                StateProj::Told(told) => {
                    let policy = &this.polling.policy;
                    let pause = match *told {
                        Told::Held(held) => Schedule::after_hold(policy, held),
                        Told::News => Duration::ZERO,
                        Told::First if *this.pace == Pace::Steady && this.polling.holds() => Duration::ZERO,
                        Told::First => this.schedule.pause(policy, *this.pace, None),
                        Told::AtOnce { retry_after } => this.schedule.pause(policy, *this.pace, retry_after),
                    };
                    let next = if pause.is_zero() { State::Due } else { State::Pausing(sleep(pause)) };
                    this.state.set(next);
                }
                // Pausing -> Due
                StateProj::Pausing(pause) => {
                    ready!(pause.poll(cx));
                    this.state.set(State::Due);
                }
                StateProj::Over => return Poll::Ready(None),
            }
        }
    }
}

impl<P: Service<GetJob>> fmt::Debug for PollStream<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollStream").field("job_id", &self.job_id).field("pace", &self.pace).finish_non_exhaustive()
    }
}
