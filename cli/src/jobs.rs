use std::cmp::Reverse;
use std::collections::HashSet;

use clap::Args;
use foreman_client::api::ListJobs;
use foreman_client::{Client, ClientBuilder, JobState, JobStatus};
use jiff::{RoundMode, TimestampRound, Unit};

use crate::connection::ConnectionArgs;
use crate::exit::Failure;
use crate::output::OfDaemon;
use crate::{escape, output};

/// The maximum number of jobs in one request.
const PAGE_SIZE: usize = 100;

/// List the jobs that were submitted with your token, newest first
///
/// With several --url, the lists are merged. If a daemon does not respond, its error is printed to stderr, the jobs of the others are
/// listed, and the exit status is 3.
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
        let daemons = self.connection.connect(ClientBuilder::polling).await?;
        let responses = daemons.ask(|client| list(client, self.state.clone(), self.limit)).await?;
        let mut more = false;
        let mut jobs = Vec::new();
        for (daemon, (listed, has_more)) in &responses.received {
            more |= has_more;
            jobs.extend(listed.iter().map(|job| OfDaemon { daemon: daemon.as_deref(), value: job }));
        }
        if daemons.is_several() {
            jobs.sort_by_key(|job| Reverse(job.value.created_at));
            // Daemons that share a queue list the same jobs.
            let mut listed = HashSet::new();
            jobs.retain(|job| listed.insert((job.value.job_id.clone(), job.value.created_at)));
            more |= jobs.len() > self.limit;
            jobs.truncate(self.limit);
        }
        if self.json {
            jobs.iter().try_for_each(output::json)?;
        } else {
            let rows: Vec<_> = jobs.iter().map(row).collect();
            // Only daemons that share a queue name the box that runs a job.
            output::table_with(
                &["ID", "STATE", "POSITION", "BOX", "MODEL", "CREATED", "DAEMON", "ERROR"],
                &["BOX", "DAEMON"],
                rows,
            )?;
        }
        if more {
            output::note(&format!("foreman: more jobs exist (limit {}); see --limit", self.limit));
        }
        responses.complete()
    }
}

/// The newest jobs of a daemon, and whether it has more.
async fn list(client: Client, state: Option<JobState>, limit: usize) -> Result<(Vec<JobStatus>, bool), Failure> {
    let mut jobs = Vec::new();
    let mut cursor = None;
    loop {
        let left = limit.saturating_sub(jobs.len());
        if left == 0 {
            return Ok((jobs, cursor.is_some()));
        }
        let mut list = ListJobs::new().limit(u32::try_from(left.min(PAGE_SIZE)).unwrap_or(u32::MAX));
        if let Some(state) = &state {
            list = list.state(state.clone());
        }
        if let Some(cursor) = &cursor {
            list = list.cursor(cursor);
        }
        let page = client.list(list).await?;
        jobs.extend(page.jobs.into_iter().take(left));
        if page.next_cursor.is_none() {
            return Ok((jobs, false));
        }
        if page.next_cursor == cursor {
            return Err(Failure::Response("invalid job list: the cursor does not advance".to_owned()));
        }
        cursor = page.next_cursor;
    }
}

fn row(OfDaemon { daemon, value: job }: &OfDaemon<'_, JobStatus>) -> Vec<String> {
    // Not rounded up: no time in the table is in the future.
    let seconds = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
    let created = job.created_at.and_then(|at| at.round(seconds).ok());
    vec![
        job.job_id.to_string(),
        escape::single_line(job.state.as_str()),
        job.position.map(|position| position.to_string()).unwrap_or_default(),
        job.box_name.as_deref().map(escape::single_line).unwrap_or_default(),
        escape::single_line(&job.model),
        created.map(|at| at.to_string()).unwrap_or_default(),
        daemon.unwrap_or_default().to_owned(),
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
