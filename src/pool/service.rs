use std::collections::HashSet;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::builder::PoolBuilder;
use super::future::PoolWait;
use super::shared::{Readiness, Shared};
use super::stats::PoolStats;
use crate::api::{HttpService, Transport};
use crate::submission::WakerSlot;
use crate::wait::Progress;
use crate::{Client, Error, JobHandle, JobResult, SubmitRequest};

/// One service over the clients of many daemons: a `Service<SubmitRequest>` that resolves to the finished job. See the
/// [module](super) for how it chooses.
///
/// Cloning is cheap, and clones are the same pool. It is ready while a daemon is available. `poll_ready` fails only if the pool was shut down,
/// or has no daemons and will get none.
pub struct Pool<T = Transport> {
    pub(super) shared: Arc<Shared<T>>,
    /// The place of the task that waits until this clone is ready.
    slot: WakerSlot,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pool {
    /// Starts a pool with options of your own.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl<T> Pool<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
{
    /// A pool of these clients, with default options.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::from_clients`].
    pub fn from_clients(clients: impl IntoIterator<Item = Client<T>>) -> Result<Self, Error> {
        PoolBuilder::new().from_clients(clients)
    }

    /// Stops the pool, its clones and its clients. See [`Client::shutdown`](crate::Client::shutdown), which is called for all daemons at the
    /// same time, also for those that were removed.
    ///
    /// Returns the jobs that go on as far as is known, each once.
    ///
    /// # Cancel safety
    ///
    /// After the first poll the pool takes no calls, also if the future is dropped. Calling `shutdown` again continues.
    pub async fn shutdown(&self, grace: Duration) -> Vec<JobHandle> {
        self.shared.begin_shutdown();
        let clients: Vec<(u64, Client<T>)> = self.shared.read(|members| {
            let all = members.all().iter();
            all.flat_map(|member| member.clients().map(|client| (member.number, client.clone()))).collect()
        });
        let mut ends = tokio::task::JoinSet::new();
        for (daemon, client) in clients {
            ends.spawn(async move { (daemon, client.api().base_url().clone(), client.shutdown(grace).await) });
        }
        // Two clients of a daemon may have waited for one job.
        let (mut seen, mut running) = (HashSet::new(), Vec::new());
        while let Some(ended) = ends.join_next().await {
            let Ok((daemon, base, jobs)) = ended else { continue };
            let new = jobs.into_iter().filter(|job_id| seen.insert((daemon, job_id.clone())));
            running.extend(new.map(|job_id| JobHandle::new(base.clone(), job_id)));
        }
        running
    }
}

impl<T> Pool<T>
where
    T: HttpService + Clone,
{
    /// Submits a job to one of the daemons and waits for its result: a future of `Result<JobResult, Error>`, which borrows nothing.
    ///
    /// Nothing is sent before it is polled. It waits while no daemon is available; a deadline counts from then on.
    ///
    /// # Errors
    ///
    /// As [`Client::submit`](crate::Client::submit). [`Error::is_overloaded`] if no daemon with the model is available while others are.
    /// [`Error::is_daemon_gone`] if the daemon that may have the job cannot be reached, or is not in the pool.
    ///
    /// # Cancel safety
    ///
    /// As [`PoolWait`].
    #[must_use = "futures do nothing unless polled"]
    pub fn submit(&self, request: SubmitRequest) -> Oneshot<Self, SubmitRequest> {
        self.clone().oneshot(request)
    }

    /// Submits a job, and returns a stream of its states and then its result.
    ///
    /// Nothing is sent before the stream is polled, or its [`accepted`](Progress::accepted).
    pub fn progress(&self, request: SubmitRequest) -> Progress<Oneshot<Self, SubmitRequest>> {
        let submission = request.submission();
        Progress::new(&submission, self.submit(request))
    }
}

impl<T> Pool<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, slot: WakerSlot::default(), timer: None }
    }

    /// Waits until each daemon has listed its models once, or has failed to.
    ///
    /// A pool takes jobs before that, and a daemon whose list is not known may have any model. A program that submits right after its start
    /// waits for this first, so that its job goes to a daemon that has the model. A list takes as long as the request timeout of the client
    /// at most. [`stats`](Self::stats) shows which daemons failed, and why.
    ///
    /// The pool of a discovery is waited for until it has a daemon.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn probed(&self) {
        let mut pool = self.clone();
        poll_fn(|cx| pool.shared.poll_probed(&mut pool.slot, cx)).await;
    }

    /// The client of the daemon that has a job, for its other methods. `None` if the daemon is not in the pool. Of several clients of one
    /// daemon, with different tokens, the first.
    #[must_use]
    pub fn client(&self, job: &JobHandle) -> Option<Client<T>> {
        self.shared.read(|members| {
            let of_daemon = |member: &&super::member::Member<T>| member.client().is_at(job);
            members.all().iter().find(of_daemon).map(|member| member.client().clone())
        })
    }

    /// The clients of all daemons, one of each, also of those that were removed while a call waits there.
    #[must_use]
    pub fn clients(&self) -> Vec<Client<T>> {
        self.shared.read(|members| members.all().iter().map(|member| member.client().clone()).collect())
    }

    /// What the pool knows of its daemons.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.shared.read(|members| PoolStats::of(members, Instant::now()))
    }
}

impl<T> Service<SubmitRequest> for Pool<T>
where
    T: HttpService + Clone,
{
    type Response = JobResult;
    type Error = Error;
    type Future = PoolWait<T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let readiness = self.shared.poll_ready(&mut self.slot, cx, Instant::now());
            let Readiness::Pending(until) = readiness else {
                self.timer = None;
                return readiness.into_poll();
            };
            let Some(until) = until else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
    }

    fn call(&mut self, request: SubmitRequest) -> PoolWait<T> {
        PoolWait::new(Arc::clone(&self.shared), request)
    }
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        self.shared.unwatch(&mut self.slot);
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}
