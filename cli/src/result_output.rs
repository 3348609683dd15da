use std::path::PathBuf;

use clap::Args;
use foreman_client::JobResult;

use crate::exit::{Failure, first_failure};
use crate::{artifacts, output};

/// How a finished job is printed and saved; shared by `submit` and `wait`.
#[derive(Args)]
pub(crate) struct ResultOutput {
    /// Print the finished job as one line of JSON
    #[arg(long)]
    json: bool,
    /// Save the job's artifacts in this directory, which is created if missing; existing files are not overwritten, and
    /// symbolic links in it are not followed
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
}

impl ResultOutput {
    /// Creates the directory for artifacts. Called before the wait, so that a failure does not discard a result.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        self.artifacts.as_deref().map_or(Ok(()), artifacts::create_directory)
    }

    /// Prints the result and saves the artifacts. Neither depends on the success of the other.
    ///
    /// Returns the first failure, a failed job before others, and reports the rest.
    pub(crate) fn write(&self, result: JobResult) -> Result<(), Failure> {
        let printed = self.print(&result);
        let directory = self.artifacts.as_deref();
        let saved = directory.map_or(Ok(()), |directory| artifacts::save(&result, directory));
        let succeeded = result.into_success().map(drop).map_err(Failure::from);
        first_failure([succeeded, printed, saved])
    }

    fn print(&self, result: &JobResult) -> Result<(), Failure> {
        if self.json {
            output::json(result.status())
        } else if result.is_success() {
            match result.content() {
                Some(content) if !content.is_empty() => output::content(&content),
                // A response without text, such as a tool call.
                _ => output::json(&result.json()),
            }
        } else {
            Ok(())
        }
    }
}
