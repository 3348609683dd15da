use std::future::ready;
use std::time::Duration;

use clap::Args;
use foreman_client::JobId;

use crate::connection::ConnectionArgs;
use crate::duration;
use crate::exit::Failure;
use crate::monitor::Monitor;
use crate::result_output::ResultOutput;

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
    /// The job's id
    id: JobId,
}

impl Wait {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.output.prepare()?;
        let resume = self.connection.resume_command();
        let client = self
            .connection
            .connect(|builder| match self.deadline {
                Some(deadline) => builder.polling().deadline(deadline),
                None => builder.polling(),
            })
            .await?;
        let monitor = Monitor { client: &client, resume: Some(resume) };
        let result = monitor.run(ready(Some(self.id.clone())), client.wait(&self.id)).await?;
        self.output.write(result)
    }
}
