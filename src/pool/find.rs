use std::future::Future;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::service::Pool;
use crate::api::HttpService;
use crate::error::Kind;
use crate::{Client, Error, JobHandle, JobId, JobResult, JobStatus};

/// # Attaching by id
impl<T> Pool<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
{
    /// Waits for the result of a job that was submitted before, by polling: a future of `Result<JobResult, Error>`, which borrows nothing.
    ///
    /// A job is visible to the token that submitted it, and a handle has none. So if the pool has several clients of the daemon, with
    /// different tokens, it asks one after the other until one of them knows the job.
    ///
    /// # Errors
    ///
    /// As [`Client::wait`](crate::Client::wait), and [`Error::is_daemon_gone`] if the daemon of the job is not in the pool.
    /// [`Error::is_not_found`] if no token knows the job, and [`Error::is_auth`] if the others do not, and the daemon does not accept one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not affect the job.
    pub fn wait(&self, job: &JobHandle) -> impl Future<Output = Result<JobResult, Error>> + Send + use<T> {
        let (clients, job) = (self.clients_of(job), job.clone());
        async move {
            let mut failure = None::<Error>;
            for client in clients {
                match client.wait(job.job_id()).await {
                    // Another token may have submitted it.
                    Err(error) if error.is_not_found() || error.is_auth() => {
                        failure = Some(failure.filter(Error::is_auth).unwrap_or(error));
                    }
                    ended => return ended,
                }
            }
            Err(failure.unwrap_or_else(|| gone(&job)))
        }
    }

    /// Looks for a job at all daemons at the same time, also at those that were removed and those that fail, and returns where it is.
    ///
    /// Daemons that share a queue all have the job, and any of them is right. The first one in the order in which they were added is
    /// returned, one that is available if there is such.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] if no daemon knows the job. If none of those that responded knows it and others did not respond, the error
    /// of one of them: it may have the job. [`Error::is_bad_response`], naming the daemons, if several have a job with that id, and their
    /// `created_at` or `model` differ or are missing: these are different jobs. Ids of foreman's daemon are unique.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn find(&self, job_id: &JobId) -> Result<JobHandle, Error> {
        let mut requests = JoinSet::new();
        for (order, client) in self.clients_by_availability().into_iter().enumerate() {
            let job_id = job_id.clone();
            requests.spawn(async move {
                let base = client.api().base_url().clone();
                (order, base, client.status(&job_id).await)
            });
        }
        let (mut found, mut failure) = (Vec::new(), None::<Error>);
        while let Some(response) = requests.join_next().await {
            let Ok((order, base, status)) = response else { continue };
            match status {
                Ok(status) => found.push((order, JobHandle::new(base, job_id.clone()), status)),
                Err(error) => {
                    let error = error.with_job(Some(job_id.clone()), None, None).with_daemon(Some(base));
                    // The daemon that did not respond may have the job.
                    if failure.as_ref().is_none_or(Error::is_not_found) {
                        failure = Some(error);
                    }
                }
            }
        }
        found.sort_by_key(|(order, ..)| *order);
        let mut found = found.into_iter().map(|(_, handle, status)| (handle, status));
        let Some((job, status)) = found.next() else {
            return Err(failure.unwrap_or_else(|| Error::new(Kind::EmptyPool)));
        };
        let others: Vec<_> = found.collect();
        if others.iter().all(|(_, other)| is_same_job(&status, other)) {
            return Ok(job);
        }
        let others = others.iter().map(|(handle, _)| handle.daemon());
        let daemons: Vec<_> = std::iter::once(job.daemon()).chain(others).collect();
        Err(Error::response(format!("several daemons have a job {job_id}: {}", daemons.join(", "))))
    }

    /// The clients of the daemon that has a job, in the order in which they were added: one for each token.
    fn clients_of(&self, job: &JobHandle) -> Vec<Client<T>> {
        self.shared.read(|members| {
            let of_daemon = members.all().iter().filter(|member| member.client().is_at(job));
            of_daemon.map(|member| member.client().clone()).collect()
        })
    }

    /// The clients of all daemons, those of the available ones first.
    fn clients_by_availability(&self) -> Vec<Client<T>> {
        let now = Instant::now();
        self.shared.read(|members| {
            let mut all: Vec<_> = members.all().iter().collect();
            all.sort_by_key(|member| !member.is_available(now));
            all.into_iter().map(|member| member.client().clone()).collect()
        })
    }
}

/// Whether two statuses with one id are of one job, in a queue that their daemons share. Other daemons than foreman's may count their ids.
fn is_same_job(one: &JobStatus, other: &JobStatus) -> bool {
    one.created_at.is_some() && (one.created_at, &one.model) == (other.created_at, &other.model)
}

fn gone(job: &JobHandle) -> Error {
    let error = Error::new(Kind::DaemonGone).with_job(Some(job.job_id().clone()), None, None);
    error.with_daemon(Some(job.base_url().clone()))
}
