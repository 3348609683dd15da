//! A wait in the foreground, for `submit` and `wait`: it prints the job's id, shows progress, and handles Ctrl-C.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use foreman_client::{Error, HumanDuration, JobResult, Submission};
use tokio::time::sleep;

use crate::daemons::{Daemons, Job};
use crate::exit::{Failure, chain};
use crate::progress::Progress;
use crate::resume_command::ResumeCommand;
use crate::signal::SignalListener;
use crate::{escape, interrupt, output};

/// The pause between two polls for the spinner.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Why a submission is retried. The line with the job's name, or the failure, says when that ends.
pub(crate) fn retry_line(error: &Error) -> String {
    let pause = error.retry_after().map(|pause| format!(" (the daemon asks for a pause of {})", HumanDuration(pause)));
    format!("foreman: {}; trying again{}", chain(error), pause.unwrap_or_default())
}

/// Waits for one job in the foreground.
pub(crate) struct Monitor<'a> {
    pub(crate) daemons: &'a Daemons,
    /// The command that resumes the wait; `None` if the daemon, and so the job, ends with this process.
    pub(crate) resume: Option<ResumeCommand>,
    /// `None` for a wait on a job that was submitted before.
    pub(crate) submission: Option<Submission>,
}

impl Monitor<'_> {
    /// Waits for the result. Prints the name of the job as soon as it is known.
    pub(crate) async fn run(
        &self,
        accepted: impl Future<Output = Option<Job>>,
        result: impl Future<Output = Result<JobResult, Error>>,
    ) -> Result<JobResult, Failure> {
        let mut interrupts = SignalListener::interrupt()?;
        let progress = Progress::start();
        let (mut accepted, mut result) = (pin!(accepted), pin!(result));
        let (mut job, mut accepted_done, mut last_error, mut retry_reported) = (None, false, None, false);
        let ended = loop {
            tokio::select! {
                biased;
                // First, so that the job's name is printed before its outcome.
                accepted_job = &mut accepted, if !accepted_done => {
                    accepted_done = true;
                    if let Some(accepted_job) = &accepted_job {
                        progress.note(&self.job_line(accepted_job));
                    }
                    job = accepted_job;
                }
                ended = &mut result => break ended,
                () = interrupts.recv() => {
                    progress.clear();
                    let cancel = tokio::select! {
                        biased;
                        // The job has ended, so the prompt needs no reply.
                        ended = &mut result => {
                            output::note("");
                            break ended;
                        }
                        cancel = interrupt::confirm_cancel(self, job.as_ref(), &mut interrupts) => cancel,
                    };
                    return Err(interrupt::detach_or_cancel(self, job.as_ref(), cancel, &mut interrupts).await);
                }
                error = self.refused(), if !retry_reported => {
                    retry_reported = true;
                    progress.note(&retry_line(&error));
                }
                () = self.update(job.as_ref(), &progress, &mut last_error) => {}
            }
        };
        drop(progress);
        interrupts.exit_on_next();
        // The wait may end before `accepted` has been polled again.
        let ended_job = match &ended {
            Ok(result) => self.daemons.job(Some(result.job_id()), result.job_handle()),
            Err(error) => self.daemons.job(error.job_id(), error.job_handle()),
        };
        if let (None, Some(ended_job)) = (&job, ended_job) {
            output::note(&self.job_line(&ended_job));
        }
        Ok(ended?)
    }

    /// Resolves once the submission is retried.
    async fn refused(&self) -> Error {
        match &self.submission {
            Some(submission) => submission.refused().await,
            None => pending().await,
        }
    }

    /// Polls the job and updates the spinner, if it is visible. Reports why an attempt failed. Does not return.
    async fn update(&self, job: Option<&Job>, progress: &Progress, last_error: &mut Option<String>) {
        let Some(job) = job.filter(|_| progress.is_visible()) else { return pending().await };
        loop {
            // An error is not final here: the wait has its own retries.
            match job.client.status(&job.id).await {
                Ok(status) => {
                    progress.show_status(&status);
                    if let Some(error) =
                        status.last_error.as_deref().filter(|error| last_error.as_deref() != Some(*error))
                    {
                        progress.note(&format!("foreman: an attempt failed: {}", escape::single_line(error)));
                        *last_error = status.last_error;
                    }
                }
                Err(_) => progress.show_no_response(),
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn job_line(&self, job: &Job) -> String {
        match &self.resume {
            None => format!("foreman: job {job}"),
            Some(resume) => format!("foreman: job {job}; resume with: {}", resume.of(&job.to_string(), job.daemon())),
        }
    }
}
