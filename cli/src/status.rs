use clap::Args;
use foreman_client::{ClientBuilder, JobId, JobStatus};

use crate::connection::Connection;
use crate::exit::Failure;
use crate::{output, plain};

/// Print where a job is; a job that failed is no failure of this command
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    connection: Connection,
    /// Print the job as one line of JSON
    #[arg(long)]
    json: bool,
    /// The job
    id: JobId,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.named(ClientBuilder::polling).await?;
        tell(&client.status(&self.id).await?, self.json)
    }
}

/// Writes a status, for people or as JSON.
pub(crate) fn tell(status: &JobStatus, json: bool) -> Result<(), Failure> {
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
    let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.map(|(name, value)| format!("{name:<10} {}\n", plain::line(&value))).collect()
}

#[cfg(test)]
mod tests {
    use foreman_client::JobState;

    use super::*;

    #[test]
    fn what_is_known_has_a_line_and_what_the_daemon_says_cannot_add_one() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::from("odd\u{1b}c"));
        status.error = Some("no\nstate      done".to_owned());
        assert_eq!(lines(&status), "job        7\nstate      odd\\u{1b}c\nerror      no\\nstate      done\n");
    }
}
