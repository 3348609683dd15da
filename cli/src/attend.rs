//! Waiting for a job in front of somebody: its id, its progress, Ctrl-C.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use foreman_client::{Client, Error, JobId, JobResult};
use tokio::time::sleep;

use crate::exit::Failure;
use crate::progress::Progress;
use crate::signal::Interrupts;
use crate::{again, interrupt, output};

/// How often a terminal is told of the job's state and its place in the queue.
const GLANCE: Duration = Duration::from_secs(1);

/// Who waits, and where.
pub(crate) struct Attendant<'a> {
    pub(crate) client: &'a Client,
    /// The daemon's URL, if it has to be given again.
    pub(crate) url: Option<String>,
    /// The daemon ends with this command, and the job with it.
    pub(crate) embedded: bool,
}

impl Attendant<'_> {
    /// Waits for the result, and tells the job's id as soon as it is known.
    pub(crate) async fn attend(
        &self,
        accepted: impl Future<Output = Option<JobId>>,
        result: impl Future<Output = Result<JobResult, Error>>,
    ) -> Result<JobResult, Failure> {
        let mut interrupts = Interrupts::new()?;
        let progress = Progress::start();
        let (mut accepted, mut result) = (pin!(accepted), pin!(result));
        let (mut job_id, mut over) = (None, false);
        let ended = loop {
            tokio::select! {
                biased;
                // First, so that a job is introduced before it is said what became of it.
                known = &mut accepted, if !over => {
                    over = true;
                    if let Some(known) = &known {
                        progress.note(&self.introduction(known));
                    }
                    job_id = known;
                }
                ended = &mut result => break ended,
                () = interrupts.next() => {
                    progress.clear();
                    let cancel = tokio::select! {
                        biased;
                        // It need not be decided any more.
                        ended = &mut result => {
                            output::note("");
                            break ended;
                        }
                        cancel = interrupt::is_to_cancel(self, job_id.as_ref(), &mut interrupts) => cancel,
                    };
                    return Err(interrupt::leave(self, job_id.as_ref(), cancel, &mut interrupts).await);
                }
                () = self.glance(job_id.as_ref(), &progress) => {}
            }
        };
        drop(progress);
        interrupts.kill();
        // The id and the end may have come at once.
        let known = match &ended {
            Ok(result) => Some(&result.job_id),
            Err(error) => error.job_id(),
        };
        if let (None, Some(known)) = (&job_id, known) {
            output::note(&self.introduction(known));
        }
        Ok(ended?)
    }

    /// Shows how the job is, for as long as it is polled.
    async fn glance(&self, job_id: Option<&JobId>, progress: &Progress) {
        let Some(job_id) = job_id.filter(|_| progress.is_shown()) else { return pending().await };
        loop {
            // The wait itself knows what to make of failures.
            match self.client.status(job_id).await {
                Ok(status) => progress.show(&status),
                Err(_) => progress.show_silence(),
            }
            sleep(GLANCE).await;
        }
    }

    fn introduction(&self, job_id: &JobId) -> String {
        if self.embedded {
            format!("foreman: job {job_id}")
        } else {
            format!("foreman: job {job_id}; to wait for it again: {}", self.again(job_id))
        }
    }

    /// The command that waits for the job again.
    pub(crate) fn again(&self, job_id: &JobId) -> String {
        again::command(self.url.as_deref(), job_id)
    }
}
