use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tower::util::Oneshot;

use super::member::{CallEnd, Ticket};
use super::members::Routed;
use super::shared::{Shared, moves_on};
use crate::api::HttpService;
use crate::client::Jobs;
use crate::error::Kind;
use crate::retry::Reattaching;
use crate::{Error, JobResult, SubmitRequest};

/// How often a call follows its submission to a daemon that another call has sent it to.
const FOLLOWS: u8 = 3;

/// A wait for one job: the future of [`Pool`](super::Pool), which resolves to the finished job.
///
/// It chooses a daemon when it is first polled, and goes on to another one for as long as the submission surely did not arrive.
///
/// # Cancel safety
///
/// As for [`JobWait`](crate::JobWait): dropping it loses nothing. Another call of the pool with a clone of the request attaches to the job.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct PoolWait<T>
where
    T: HttpService + Clone,
{
    shared: Arc<Shared<T>>,
    /// `None` after the end.
    request: Option<SubmitRequest>,
    #[pin]
    wait: Option<Oneshot<Jobs<T>, SubmitRequest>>,
    /// The call that is counted, while there is a wait.
    ticket: Option<Ticket>,
    /// The daemons at which the submission did not arrive.
    tried: Vec<u64>,
    /// The error of the last of them.
    last_error: Option<Error>,
    follows: u8,
    /// Handles of the submission stay open between two daemons.
    moving: Option<Reattaching>,
}

impl<T> PoolWait<T>
where
    T: HttpService + Clone,
{
    pub(super) fn new(shared: Arc<Shared<T>>, request: SubmitRequest) -> Self {
        Self {
            shared,
            request: Some(request),
            wait: None,
            ticket: None,
            tried: Vec::new(),
            last_error: None,
            follows: 0,
            moving: None,
        }
    }

    /// Starts the wait at a daemon.
    fn start(self: Pin<&mut Self>) -> Result<(), Error> {
        let mut this = self.project();
        let Some(request) = this.request else { return Err(Error::new(Kind::Abandoned)) };
        // All daemons may have been tried: then the last refusal says more.
        let Routed { client, ticket, has_others } =
            this.shared.route(request, this.tried, Instant::now()).map_err(|error| match this.last_error.take() {
                Some(last) if error.is_safe_to_resubmit() => last,
                _ => error,
            })?;
        *this.ticket = Some(ticket);
        this.wait.set(Some(client.submit(request.clone().moving_on(has_others))));
        Ok(())
    }

    /// A wait failed. Returns the error, unless the call goes on at another daemon.
    fn failed(self: Pin<&mut Self>, error: Error) -> Option<Error> {
        let mut this = self.project();
        let Some(request) = this.request else { return Some(error) };
        let Some(ticket) = this.ticket.take() else { return Some(error) };
        let number = ticket.number;
        this.shared.end(ticket, CallEnd::Failed(&error), Instant::now());
        let moves = moves_on(request, &error);
        let follows = error.is_other_daemon() && *this.follows < FOLLOWS;
        if !moves && !follows {
            return Some(unreachable(error));
        }
        // Before the wait is dropped, which would end the handles.
        if this.moving.is_none() {
            *this.moving = Some(Reattaching::new(request.keep_alive().shared()));
        }
        this.wait.set(None);
        if follows {
            *this.follows += 1;
        } else {
            tracing::debug!(daemon = error.daemon(), error = &error as &dyn std::error::Error, "submission moves on");
            this.tried.push(number);
            this.shared.lock_members(|members| members.moved_on(number));
            *this.last_error = Some(error);
        }
        None
    }
}

impl<T> Future for PoolWait<T>
where
    T: HttpService + Clone,
{
    type Output = Result<JobResult, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.request.is_none() {
            return Poll::Pending;
        }
        loop {
            if self.wait.is_none()
                && let Err(error) = self.as_mut().start()
            {
                self.end();
                return Poll::Ready(Err(error));
            }
            let this = self.as_mut().project();
            let Some(wait) = this.wait.as_pin_mut() else { return Poll::Pending };
            let polled = wait.poll(cx);
            if let (Some(ticket), Some(request), true) =
                (this.ticket.as_mut(), this.request.as_ref(), polled.is_pending())
                && ticket.trial.is_some()
                && request.keep_alive().shared().read(|state| state.job_id().is_some())
            {
                ticket.trial = None;
                this.shared.accepted(ticket.number);
            }
            match ready!(polled) {
                Ok(result) => {
                    if let Some(ticket) = this.ticket.take() {
                        let end = if result.is_success() { CallEnd::Done } else { CallEnd::JobFailed };
                        this.shared.end(ticket, end, Instant::now());
                    }
                    self.end();
                    return Poll::Ready(Ok(result));
                }
                Err(error) => {
                    if let Some(error) = self.as_mut().failed(error) {
                        self.end();
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }
}

impl<T> PoolWait<T>
where
    T: HttpService + Clone,
{
    /// Its caller may hold the completed future for long.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.wait.set(None);
        *this.moving = None;
        *this.request = None;
    }
}

/// The daemon that may have the job cannot be reached, so that the caller may want to run it at another one.
fn unreachable(error: Error) -> Error {
    let unreachable = matches!(error.kind(), Kind::Connect | Kind::Transport | Kind::RequestTimeout(_) | Kind::Lost);
    if unreachable && error.may_be_running() { error.with_daemon_gone() } else { error }
}

#[pinned_drop]
impl<T> PinnedDrop for PoolWait<T>
where
    T: HttpService + Clone,
{
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(ticket) = this.ticket.take() {
            this.shared.end(ticket, CallEnd::Dropped, Instant::now());
        }
    }
}

impl<T> fmt::Debug for PoolWait<T>
where
    T: HttpService + Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolWait").field("request", &self.request).field("tried", &self.tried).finish_non_exhaustive()
    }
}
