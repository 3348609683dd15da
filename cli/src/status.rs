use clap::Args;
use foreman_client::{ClientBuilder, JobId, JobStatus};

use crate::connection::ConnectionArgs;
use crate::exit::Failure;
use crate::{escape, output};

/// Print the status of a job
///
/// The exit status is 0 also for a job that failed.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Print the job as one line of JSON
    #[arg(long)]
    json: bool,
    /// The job's id
    id: JobId,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(ClientBuilder::polling).await?;
        print(&client.status(&self.id).await.map_err(Failure::of_job)?, self.json)
    }
}

/// Prints a status, as text or as JSON.
pub(crate) fn print(status: &JobStatus, json: bool) -> Result<(), Failure> {
    if json { output::json(status) } else { output::text(&lines(status)) }
}

fn lines(status: &JobStatus) -> String {
    let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
    let fields = [
        ("job", Some(status.job_id.to_string())),
        ("state", Some(status.state.to_string())),
        ("model", (!status.model.is_empty()).then(|| status.model.clone())),
        ("position", status.position.map(|position| position.to_string())),
        ("created", time(status.created_at)),
        ("started", time(status.started_at)),
        ("completed", time(status.completed_at)),
        ("attempt", (status.attempt > 0).then(|| status.attempt.to_string())),
        ("error", status.error.clone()),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    present.map(|(name, value)| format!("{name:<10} {}\n", escape::single_line(&value))).collect()
}

#[cfg(test)]
mod tests {
    use foreman_client::JobState;

    use super::*;

    #[test]
    fn each_present_field_is_one_line() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::from("odd\u{1b}c"));
        status.error = Some("no\nstate      done".to_owned());
        assert_eq!(lines(&status), "job        7\nstate      odd\\u{1b}c\nerror      no\\nstate      done\n");
    }
}
