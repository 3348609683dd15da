//! A wait in the foreground, for `submit` and `wait`: it prints the job's id, shows progress, and handles Ctrl-C.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use foreman_client::{Client, Error, JobId, JobResult};
use tokio::time::sleep;

use crate::exit::Failure;
use crate::progress::Progress;
use crate::resume_command::ResumeCommand;
use crate::signal::SignalListener;
use crate::{escape, interrupt, output};

/// The pause between two polls for the spinner.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Waits for one job in the foreground.
pub(crate) struct Monitor<'a> {
    pub(crate) client: &'a Client,
    /// The command that resumes the wait; `None` if the daemon, and so the job, ends with this process.
    pub(crate) resume: Option<ResumeCommand>,
}

impl Monitor<'_> {
    /// Waits for the result. Prints the job's id as soon as it is known.
    pub(crate) async fn run(
        &self,
        accepted: impl Future<Output = Option<JobId>>,
        result: impl Future<Output = Result<JobResult, Error>>,
    ) -> Result<JobResult, Failure> {
        let mut interrupts = SignalListener::interrupt()?;
        let progress = Progress::start();
        let (mut accepted, mut result) = (pin!(accepted), pin!(result));
        let (mut job_id, mut accepted_done, mut last_error) = (None, false, None);
        let ended = loop {
            tokio::select! {
                biased;
                // First, so that the job's id is printed before its outcome.
                accepted_id = &mut accepted, if !accepted_done => {
                    accepted_done = true;
                    if let Some(accepted_id) = &accepted_id {
                        progress.note(&self.job_line(accepted_id));
                    }
                    job_id = accepted_id;
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
                        cancel = interrupt::confirm_cancel(self, job_id.as_ref(), &mut interrupts) => cancel,
                    };
                    return Err(interrupt::detach_or_cancel(self, job_id.as_ref(), cancel, &mut interrupts).await);
                }
                () = self.update(job_id.as_ref(), &progress, &mut last_error) => {}
            }
        };
        drop(progress);
        interrupts.exit_on_next();
        // The wait may end before `accepted` has been polled again.
        let ended_id = match &ended {
            Ok(result) => Some(result.job_id()),
            Err(error) => error.job_id(),
        };
        if let (None, Some(ended_id)) = (&job_id, ended_id) {
            output::note(&self.job_line(ended_id));
        }
        Ok(ended?)
    }

    /// Polls the job and updates the spinner, if it is visible. Reports why an attempt failed. Does not return.
    async fn update(&self, job_id: Option<&JobId>, progress: &Progress, last_error: &mut Option<String>) {
        let Some(job_id) = job_id.filter(|_| progress.is_visible()) else { return pending().await };
        loop {
            // An error is not final here: the wait has its own retries.
            match self.client.status(job_id).await {
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

    fn job_line(&self, job_id: &JobId) -> String {
        match &self.resume {
            None => format!("foreman: job {job_id}"),
            Some(resume) => format!("foreman: job {job_id}; resume with: {}", resume.of(job_id)),
        }
    }
}
