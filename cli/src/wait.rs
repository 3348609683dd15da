use std::future::ready;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use crate::connection::ConnectionArgs;
use crate::daemons::{Daemons, Job};
use crate::exit::Failure;
use crate::job_argument::JobArgument;
use crate::monitor::Monitor;
use crate::result_output::ResultOutput;
use crate::{duration, output};

/// How long failed requests are retried, as [`foreman_client::ClientBuilder::failure_budget`].
const RETRIES: Duration = Duration::from_secs(120);

/// The pause between two searches for a job.
const PAUSE: Duration = Duration::from_secs(1);

/// Wait for a submitted job and print the assistant's response
///
/// Polls the daemon. Failed polls are retried for 2 minutes, for example while the daemon restarts.
#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Stop waiting after this time, such as 90s or 10m; the job continues [default: no deadline]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    deadline: Option<Duration>,
    #[command(flatten)]
    output: ResultOutput,
    /// The job's id, which is looked for at each daemon, or its URL, such as http://gpu-1:11435/jobs/7
    id: JobArgument,
}

impl Wait {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.output.prepare()?;
        let resume = self.connection.resume_command();
        let began = Instant::now();
        let daemons = self
            .connection
            .connect(|builder| match self.deadline {
                Some(deadline) => builder.polling().deadline(deadline),
                None => builder.polling(),
            })
            .await?;
        let job = match self.deadline {
            Some(deadline) => {
                timeout(deadline, find(&daemons, &self.id)).await.map_err(|_| Failure::Deadline(deadline))??
            }
            None => find(&daemons, &self.id).await?,
        };
        let left = self.deadline.map(|deadline| deadline.saturating_sub(began.elapsed()));
        let result = job.client.attach().with_deadline(left).oneshot(job.id.clone());
        let monitor = Monitor { daemons: &daemons, resume: Some(resume), submission: None };
        self.output.write(monitor.run(ready(Some(job)), result).await?)
    }
}

/// Finds the job. The daemon that has it may be away: then the daemons are asked again, for as long as a wait retries failed polls.
async fn find(daemons: &Daemons, job: &JobArgument) -> Result<Job, Failure> {
    let began = Instant::now();
    let mut reported = false;
    loop {
        match daemons.find(job).await {
            Err(Failure::Client(error)) if error.is_retryable() && began.elapsed() < RETRIES => {
                if !reported {
                    Failure::Client(error).report();
                    output::note("foreman: that daemon may have the job; asking again");
                    reported = true;
                }
                sleep(PAUSE).await;
            }
            found => return found,
        }
    }
}
