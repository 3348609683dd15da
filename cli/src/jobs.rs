use clap::Args;
use foreman_client::api::ListJobs;
use foreman_client::{ClientBuilder, JobState, JobStatus};
use jiff::{RoundMode, TimestampRound, Unit};

use crate::connection::ConnectionArgs;
use crate::exit::Failure;
use crate::{escape, output};

/// The maximum number of jobs in one request.
const PAGE_SIZE: usize = 100;

/// List the jobs that were submitted with your token, newest first
#[derive(Args)]
pub(crate) struct Jobs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// List only jobs in this state: queued, running, done or failed
    #[arg(long, value_parser = |state: &str| Ok::<_, std::convert::Infallible>(JobState::from(state)))]
    state: Option<JobState>,
    /// The maximum number of jobs to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print each job as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Jobs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(ClientBuilder::polling).await?;
        let mut jobs = Vec::new();
        let mut cursor = None;
        let more = loop {
            let left = self.limit.saturating_sub(jobs.len());
            if left == 0 {
                break cursor.is_some();
            }
            let mut list = ListJobs::new().limit(u32::try_from(left.min(PAGE_SIZE)).unwrap_or(u32::MAX));
            if let Some(state) = &self.state {
                list = list.state(state.clone());
            }
            if let Some(cursor) = &cursor {
                list = list.cursor(cursor);
            }
            let page = client.list(list).await?;
            jobs.extend(page.jobs.into_iter().take(left));
            if page.next_cursor.is_none() {
                break false;
            }
            if page.next_cursor == cursor {
                return Err(Failure::Response("invalid job list: the cursor does not advance".to_owned()));
            }
            cursor = page.next_cursor;
        };
        if self.json {
            jobs.iter().try_for_each(output::json)?;
        } else {
            let rows: Vec<_> = jobs.iter().map(row).collect();
            output::table(["ID", "STATE", "POSITION", "MODEL", "CREATED", "ERROR"], &rows)?;
        }
        if more {
            output::note(&format!("foreman: more jobs exist (limit {}); see --limit", self.limit));
        }
        Ok(())
    }
}

fn row(job: &JobStatus) -> [String; 6] {
    // Not rounded up: no time in the table is in the future.
    let seconds = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
    let created = job.created_at.and_then(|at| at.round(seconds).ok());
    [
        job.job_id.to_string(),
        escape::single_line(job.state.as_str()),
        job.position.map(|position| position.to_string()).unwrap_or_default(),
        escape::single_line(&job.model),
        created.map(|at| at.to_string()).unwrap_or_default(),
        job.error.as_ref().or(job.last_error.as_ref()).map(|error| truncate(error)).unwrap_or_default(),
    ]
}

/// The beginning of an error, so that a row of the table stays short.
fn truncate(error: &str) -> String {
    const MAX_CHARS: usize = 60;
    let error = escape::single_line(error);
    match error.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_error_is_truncated_at_a_character() {
        assert_eq!(truncate("no\nmemory"), r"no\nmemory");
        assert_eq!(truncate(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
    }
}
