use std::time::Duration;

use clap::Args;
use foreman_client::{ClientBuilder, JobStatus};
use tokio::time::timeout;

use crate::connection::ConnectionArgs;
use crate::exit::Failure;
use crate::job_argument::JobArgument;
use crate::output::OfDaemon;
use crate::{duration, escape, output};

/// The default of `--deadline`.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Print the status of a job
///
/// The exit status is 0 also for a job that failed.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Fail if the daemon has not responded after this time, such as 5s [default: 30s]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    deadline: Option<Duration>,
    /// Print the job as one line of JSON
    #[arg(long)]
    json: bool,
    /// The job's id, which is looked for at each daemon, or its URL, such as http://gpu-1:11435/jobs/7
    id: JobArgument,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let deadline = self.deadline.unwrap_or(DEFAULT_DEADLINE);
        let status = async {
            let job = self.connection.connect(ClientBuilder::polling).await?.find(&self.id).await?;
            let status = job.client.status(&job.id).await.map_err(Failure::of_job)?;
            Ok::<_, Failure>((job, status))
        };
        let (job, status) = timeout(deadline, status).await.map_err(|_| Failure::Deadline(deadline))??;
        print(&status, job.daemon(), self.json)
    }
}

/// Prints a status, as text or as JSON. `daemon`: the URL, if there are several.
pub(crate) fn print(status: &JobStatus, daemon: Option<&str>, json: bool) -> Result<(), Failure> {
    if json { output::json(&OfDaemon { daemon, value: status }) } else { output::text(&lines(status, daemon)) }
}

fn lines(status: &JobStatus, daemon: Option<&str>) -> String {
    let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
    let fields = [
        ("job", Some(status.job_id.to_string())),
        ("daemon", daemon.map(str::to_owned)),
        ("state", Some(status.state.to_string())),
        ("model", (!status.model.is_empty()).then(|| status.model.clone())),
        ("position", status.position.map(|position| position.to_string())),
        ("box", status.box_name.clone()),
        ("created", time(status.created_at)),
        ("started", time(status.started_at)),
        ("completed", time(status.completed_at)),
        ("attempt", (status.attempt > 0).then(|| status.attempt.to_string())),
        ("error", status.error.clone()),
        ("last error", status.last_error.clone()),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    present.map(|(name, value)| format!("{name:<10} {}\n", escape::single_line(&value))).collect()
}

#[cfg(test)]
mod tests {
    use foreman_client::{JobId, JobState};

    use super::*;

    #[test]
    fn each_present_field_is_one_line() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::from("odd\u{1b}c"));
        status.error = Some("no\nstate      done".to_owned());
        assert_eq!(lines(&status, None), "job        7\nstate      odd\\u{1b}c\nerror      no\\nstate      done\n");
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Running);
        status.last_error = Some("connection refused".to_owned());
        assert_eq!(
            lines(&status, Some("http://a")),
            "job        7\ndaemon     http://a\nstate      running\nlast error connection refused\n"
        );
    }
}
