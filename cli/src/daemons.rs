use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use foreman_client::{Client, Error, JobHandle, JobId, JobResult, Pool, SubmitRequest};
use tokio::time::{Instant, timeout};
use tower::{Service as _, ServiceExt as _};

use crate::exit::{Failure, chain};
use crate::job_argument::JobArgument;
use crate::output;
use crate::resume_command::shell_quote;

/// How long a submission waits for the lists of models of several daemons, and for an available one of them.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// A submission and the wait for its job.
pub(crate) type Wait = Pin<Box<dyn Future<Output = Result<JobResult, Error>> + Send>>;

/// The daemons that a command uses.
pub(crate) enum Daemons {
    One(Client),
    Several(Pool),
}

/// A job, and the client of its daemon.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) client: Client,
    pub(crate) id: JobId,
    /// With several daemons, where an id alone does not say at which one it is.
    handle: Option<JobHandle>,
}

impl Daemons {
    pub(crate) fn several(clients: Vec<Client>) -> Result<Self, Failure> {
        Ok(Self::Several(Pool::from_clients(clients)?))
    }

    pub(crate) fn is_several(&self) -> bool {
        matches!(self, Self::Several(_))
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        match self {
            Self::One(client) => vec![client.clone()],
            Self::Several(pool) => pool.clients(),
        }
    }

    /// Finds the job that an argument names. With several daemons, an id is looked for at all of them.
    pub(crate) async fn find(&self, job: &JobArgument) -> Result<Job, Failure> {
        match (self, job) {
            (_, JobArgument::Url(handle)) => self.at(handle).ok_or_else(|| foreign(handle)),
            (Self::One(client), JobArgument::Id(id)) => {
                Ok(Job { client: client.clone(), id: id.clone(), handle: None })
            }
            (Self::Several(pool), JobArgument::Id(id)) => {
                let handle = pool.find(id).await?;
                self.report_shared_queues();
                self.at(&handle).ok_or_else(|| foreign(&handle))
            }
        }
    }

    /// A job that a result or an error names.
    pub(crate) fn job(&self, id: Option<&JobId>, handle: Option<JobHandle>) -> Option<Job> {
        match self {
            Self::One(client) => Some(Job { client: client.clone(), id: id?.clone(), handle: None }),
            Self::Several(_) => self.at(&handle?),
        }
    }

    /// The job of a handle. `None` if the daemon is not one of these: a token is sent only to the URLs that it was given with.
    fn at(&self, handle: &JobHandle) -> Option<Job> {
        let id = handle.job_id().clone();
        // The job may be named by any address of its queue.
        let has = |client: &Client| client.addresses().iter().any(|address| address.as_str() == handle.daemon());
        let client = self.clients().into_iter().find(has)?;
        Some(Job { client, id, handle: self.is_several().then(|| handle.clone()) })
    }

    /// Reports daemons that share a queue, as far as their responses have named it: they are one daemon with several addresses.
    fn report_shared_queues(&self) {
        let mut queues = BTreeMap::<_, Vec<_>>::new();
        for client in self.clients() {
            let api = client.api();
            if let Some(queue) = api.queue_id() {
                queues.entry(queue.to_owned()).or_default().push(api.base_url().to_string());
            }
        }
        for urls in queues.into_values().filter(|urls| urls.len() > 1) {
            let value = shell_quote(&urls.join("|"));
            output::note(&format!("foreman: {} share a queue; name them by one --url {value}", urls.join(" and ")));
        }
    }

    /// Prepares the submission. Nothing is sent before the wait is polled.
    ///
    /// Several daemons are first asked for their models, which counts against the deadline. Those that do not respond are reported and
    /// get no job.
    pub(crate) async fn submit(&self, request: SubmitRequest, deadline: Option<Duration>) -> Result<Wait, Failure> {
        let pool = match self {
            Self::One(client) => return Ok(Box::pin(client.submit(request))),
            Self::Several(pool) => pool,
        };
        let began = Instant::now();
        let ready = ready(pool);
        let mut pool = match deadline {
            Some(deadline) => timeout(deadline, ready).await.map_err(|_| Failure::Deadline(deadline))??,
            None => ready.await?,
        };
        self.report_shared_queues();
        let left = deadline.map(|deadline| deadline.saturating_sub(began.elapsed()));
        Ok(Box::pin(pool.call(request.with_deadline(left))))
    }

    /// Sends a request to each daemon at the same time. With several of them, reports those that fail.
    ///
    /// # Errors
    ///
    /// If all fail.
    pub(crate) async fn ask<R, F>(&self, request: impl Fn(Client) -> F) -> Result<Responses<R>, Failure>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        let pool = match self {
            Self::One(client) => {
                let received = vec![(None, request(client.clone()).await?)];
                return Ok(Responses { received, failed: 0 });
            }
            Self::Several(pool) => pool,
        };
        let ask = |client: Client| (client.api().base_url().to_string(), tokio::spawn(request(client)));
        let requests: Vec<_> = pool.clients().into_iter().map(ask).collect();
        let mut responses = Responses { received: Vec::new(), failed: 0 };
        for (url, request) in requests {
            match request.await.map_err(|error| Failure::Io(error.into())).flatten() {
                Ok(response) => responses.received.push((Some(url), response)),
                Err(failure) => {
                    failure.report_of(&url);
                    responses.failed += 1;
                }
            }
        }
        self.report_shared_queues();
        if responses.received.is_empty() { responses.complete().map(|()| responses) } else { Ok(responses) }
    }
}

/// The responses of the daemons that were asked, in the order in which they were given.
pub(crate) struct Responses<R> {
    /// With the URL of the daemon, if there are several.
    pub(crate) received: Vec<(Option<String>, R)>,
    failed: usize,
}

impl<R> Responses<R> {
    /// Fails if a daemon did not respond, so that a script can tell an incomplete list.
    pub(crate) fn complete(&self) -> Result<(), Failure> {
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::Unavailable { failed, of: failed + self.received.len() }),
        }
    }
}

impl Job {
    /// The URL of its daemon, if there are several.
    pub(crate) fn daemon(&self) -> Option<&str> {
        self.handle.as_ref().map(JobHandle::daemon)
    }
}

/// The name by which `foreman wait` finds the job: its id, and with several daemons its URL.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.handle {
            Some(handle) => handle.fmt(f),
            None => self.id.fmt(f),
        }
    }
}

/// A pool that knows the models of its daemons and is ready for a call.
async fn ready(pool: &Pool) -> Result<Pool, Failure> {
    // A daemon that takes longer may have the model, or a submission to it moves on.
    let _ = timeout(PROBE_LIMIT, pool.probed()).await;
    let daemons = pool.stats().daemons;
    let failed: Vec<_> = daemons.iter().filter(|daemon| !daemon.is_available).collect();
    for daemon in &failed {
        let reason = daemon.last_failure.as_ref().map_or_else(|| "not available".to_owned(), |error| chain(error));
        output::note(&format!("foreman: {}: {reason}", daemon.url));
    }
    let none = Failure::Unavailable { failed: daemons.len(), of: daemons.len() };
    if failed.len() == daemons.len() {
        return Err(none);
    }
    let mut pool = pool.clone();
    timeout(PROBE_LIMIT, pool.ready()).await.map_err(|_| none)??;
    Ok(pool)
}

fn foreign(handle: &JobHandle) -> Failure {
    let (daemon, id) = (handle.daemon(), handle.job_id());
    Failure::Usage(format!(
        "{daemon} is not one of --url; add it, or use the id {id} alone if --url has the queue of that daemon"
    ))
}
