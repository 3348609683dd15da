use std::future::ready;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use foreman_client::{JobId, JobResult, JobState};

use crate::attend::Attendant;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::{artifacts, output, time};

/// Wait for a job that was submitted before and print what the assistant said
///
/// A daemon that does not answer is asked again for some minutes, or until --deadline, for it may be starting anew.
#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    connection: Connection,
    /// How long to wait, such as 90s or 10m; the job goes on after it
    #[arg(long, value_parser = time::parse, value_name = "TIME")]
    deadline: Option<Duration>,
    #[command(flatten)]
    telling: Telling,
    /// The job
    id: JobId,
}

/// What is done with a job that has ended.
#[derive(Args)]
pub(crate) struct Telling {
    /// Print the finished job as one line of JSON
    #[arg(long)]
    json: bool,
    /// Save the job's artifacts below this directory; no file that is there is overwritten, and no link followed
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
}

impl Wait {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.telling.prepare()?;
        let url = self.connection.flagged();
        let client = self
            .connection
            .named(|builder| match self.deadline {
                Some(deadline) => builder.polling().deadline(deadline),
                None => builder.polling(),
            })
            .await?;
        let attendant = Attendant { client: &client, url, embedded: false };
        let result = attendant.attend(ready(Some(self.id.clone())), client.wait(self.id)).await?;
        self.telling.tell(result)
    }
}

impl Telling {
    /// Before there is a result that would be lost.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        self.artifacts.as_deref().map_or(Ok(()), artifacts::prepare)
    }

    /// Writes the result and its artifacts, each whether or not the other can be written. That the job failed comes first.
    pub(crate) fn tell(&self, result: JobResult) -> Result<(), Failure> {
        let printed = self.print(&result);
        let directory = self.artifacts.as_deref();
        let saved = directory.map_or(Ok(()), |directory| artifacts::save(&result.artifacts, directory));
        let succeeded = result.into_success().map(drop).map_err(Failure::from);
        // The first is what it exits with; the others are said.
        let mut failures = [succeeded, printed, saved].into_iter().filter_map(Result::err);
        let first = failures.next();
        for failure in failures {
            failure.report();
        }
        first.map_or(Ok(()), Err)
    }

    /// The assistant's text, or everything.
    fn print(&self, result: &JobResult) -> Result<(), Failure> {
        if self.json {
            output::json(&**result)
        } else if result.state == JobState::Done {
            match result.content() {
                Some(content) if !content.is_empty() => output::said(&content),
                // Such as a call of a tool.
                _ => output::json(&result.result),
            }
        } else {
            Ok(())
        }
    }
}
