use std::future::Future;

use tokio::task::JoinSet;

use super::service::Pool;
use crate::api::HttpService;
use crate::error::Kind;
use crate::{Error, JobHandle, JobId, JobResult};

/// # Attaching by id
impl<T> Pool<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
{
    /// Waits for the result of a job that was submitted before, by polling: a future of `Result<JobResult, Error>`, which borrows nothing.
    ///
    /// # Errors
    ///
    /// As [`Client::wait`](crate::Client::wait), and [`Error::is_daemon_gone`] if the daemon of the job is not in the pool.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not affect the job.
    pub fn wait(&self, job: &JobHandle) -> impl Future<Output = Result<JobResult, Error>> + Send + use<T> {
        let (client, job) = (self.client(job), job.clone());
        async move {
            let Some(client) = client else { return Err(gone(&job)) };
            client.wait(job.job_id()).await
        }
    }

    /// Looks for a job at all daemons at the same time, also at those that were removed and those that fail, and returns where it is.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] if no daemon knows the job. If none of those that responded knows it and others did not respond, the error
    /// of one of them: it may have the job. [`Error::is_bad_response`], naming the daemons, if several have a job with that id.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn find(&self, job_id: &JobId) -> Result<JobHandle, Error> {
        let mut requests = JoinSet::new();
        for client in self.clients() {
            let job_id = job_id.clone();
            requests.spawn(async move {
                let base = client.api().base_url().clone();
                (base, client.status(&job_id).await)
            });
        }
        let (mut found, mut failure) = (Vec::new(), None::<Error>);
        while let Some(response) = requests.join_next().await {
            let Ok((base, status)) = response else { continue };
            match status {
                Ok(_) => found.push(JobHandle::new(base, job_id.clone())),
                Err(error) => {
                    let error = error.with_job(Some(job_id.clone()), None, None).with_daemon(Some(base));
                    // The daemon that did not respond may have the job.
                    if failure.as_ref().is_none_or(Error::is_not_found) {
                        failure = Some(error);
                    }
                }
            }
        }
        match (found.pop(), failure) {
            (Some(job), _) if found.is_empty() => Ok(job),
            (Some(job), _) => {
                let daemons: Vec<_> = found.iter().chain([&job]).map(JobHandle::daemon).collect();
                Err(Error::response(format!("several daemons have a job {job_id}: {}", daemons.join(", "))))
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(Kind::EmptyPool)),
        }
    }
}

fn gone(job: &JobHandle) -> Error {
    let error = Error::new(Kind::DaemonGone).with_job(Some(job.job_id().clone()), None, None);
    error.with_daemon(Some(job.base_url().clone()))
}
