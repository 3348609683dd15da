use clap::Args;
use foreman_client::api::ListJobs;
use foreman_client::{ClientBuilder, JobState, JobStatus};

use crate::connection::Connection;
use crate::exit::Failure;
use crate::{output, plain};

/// The most jobs that are asked for at once.
const PAGE: usize = 100;

/// List jobs, newest first
#[derive(Args)]
pub(crate) struct Jobs {
    #[command(flatten)]
    connection: Connection,
    /// Only those in this state: queued, running, done or failed
    #[arg(long, value_parser = |state: &str| Ok::<_, std::convert::Infallible>(JobState::from(state)))]
    state: Option<JobState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print each job as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Jobs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.named(ClientBuilder::polling).await?;
        let mut jobs = Vec::new();
        let mut cursor = None;
        let more = loop {
            let left = self.limit.saturating_sub(jobs.len());
            if left == 0 {
                break cursor.is_some();
            }
            let mut list = ListJobs::new().limit(u32::try_from(left.min(PAGE)).unwrap_or(u32::MAX));
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
                return Err(Failure::Answer("the daemon's list of jobs does not go on".to_owned()));
            }
            cursor = page.next_cursor;
        };
        if self.json {
            jobs.iter().try_for_each(output::json)?;
        } else {
            let rows: Vec<_> = jobs.iter().map(row).collect();
            output::table(["ID", "STATE", "PLACE", "MODEL", "CREATED", "ERROR"], &rows)?;
        }
        if more {
            output::note(&format!("foreman: there are more than {}; see --limit", self.limit));
        }
        Ok(())
    }
}

fn row(job: &JobStatus) -> [String; 6] {
    let created = job.created_at.and_then(|at| at.round(jiff::Unit::Second).ok());
    [
        job.job_id.to_string(),
        plain::line(job.state.as_str()),
        job.position.map(|position| position.to_string()).unwrap_or_default(),
        plain::line(&job.model),
        created.map(|at| at.to_string()).unwrap_or_default(),
        job.error.as_deref().map(short).unwrap_or_default(),
    ]
}

/// As much of an error as leaves the table a table.
fn short(error: &str) -> String {
    const MOST: usize = 60;
    let error = plain::line(error);
    match error.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_letters() {
        assert_eq!(short("no\nmemory"), r"no\nmemory");
        assert_eq!(short(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
    }
}
