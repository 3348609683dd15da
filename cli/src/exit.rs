use std::io;
use std::time::Duration;

use foreman_client::{Error, HumanDuration, InvalidValue};

use crate::resume_command::shell_quote;
use crate::{escape, option_names, output};

/// An error of the command, which determines its exit status.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument, an option or the content of a file is invalid.
    Usage(String),
    /// The client failed.
    Client(Error),
    /// The daemon has accepted nothing within this time.
    Rejected(Error, Duration),
    /// The daemon may have accepted the submission with this key, as a word of the shell.
    MaybeSubmitted { error: Error, key: String, daemon: Option<String> },
    /// The daemon does not know the job.
    UnknownJob(Error),
    /// Of several daemons, so many failed. What each failed with has been reported.
    Unavailable { failed: usize, of: usize },
    /// The daemon has not responded within this time.
    Deadline(Duration),
    /// The daemon did not start.
    Daemon(foreman_daemon::Error),
    /// The daemon's response cannot be used.
    Response(String),
    /// A local input or output error.
    Io(io::Error),
    /// Ctrl-C. The state of the job has been reported.
    Interrupted,
}

impl Failure {
    /// The failure of a request for one job, whose error does not name the job.
    pub(crate) fn of_job(error: Error) -> Self {
        if error.is_not_found() { Self::UnknownJob(error) } else { Self::Client(error) }
    }

    /// The failure of a submission. `deadline`: it was tried until then. `several`: only one of several daemons may have it.
    pub(crate) fn of_submission(self, deadline: Option<Duration>, several: bool) -> Self {
        match (self, deadline) {
            (Self::Client(error), _) if error.may_be_running() && error.job_id().is_none() => {
                let daemon = error.daemon().filter(|_| several).map(str::to_owned);
                match error.idempotency_key().map(|key| shell_quote(&key.to_string())) {
                    Some(key) => Self::MaybeSubmitted { error, key, daemon },
                    None => Self::Client(error),
                }
            }
            (Self::Client(error), Some(deadline)) if error.is_safe_to_resubmit() && error.is_retryable() => {
                Self::Rejected(error, deadline)
            }
            (failure, _) => failure,
        }
    }

    /// Prints the message to stderr, if there is one.
    pub(crate) fn report(&self) {
        if let Some(message) = self.message() {
            output::note(&format!("foreman: {message}"));
        }
    }

    /// Prints the message to stderr as that of one of several daemons.
    pub(crate) fn report_of(&self, daemon: &str) {
        if let Some(message) = self.message() {
            output::note(&format!("foreman: {daemon}: {message}"));
        }
    }

    /// The exit status.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Client(error) | Self::Rejected(error, _) | Self::MaybeSubmitted { error, .. } => code(error),
            Self::Unavailable { .. } => 3,
            Self::Deadline(_) => 4,
            Self::UnknownJob(_) => 5,
            Self::Daemon(error) if error.is_invalid_config() => 2,
            // For example, the port is in use or the store is locked.
            Self::Daemon(_) => 74,
            Self::Response(_) => 3,
            Self::Io(_) => 74,
            Self::Interrupted => 130,
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Response(message) => Some(escape::single_line(message)),
            Self::Client(error) | Self::UnknownJob(error) => Some(chain(error)),
            Self::MaybeSubmitted { error, key, daemon } => {
                let url =
                    daemon.as_ref().map_or_else(String::new, |daemon| format!("--url {} and ", shell_quote(daemon)));
                let line = chain(error);
                Some(format!(
                    "{line}; repeat the command with {url}--idempotency-key {key}, which returns a job that it has submitted"
                ))
            }
            Self::Rejected(error, deadline) => {
                let asks = error.retry_after().map_or_else(String::new, |pause| {
                    format!("; the daemon asks to retry after {}", HumanDuration(pause))
                });
                let line = chain(error);
                Some(format!("{line}; not accepted within the deadline of {}{asks}", HumanDuration(*deadline)))
            }
            Self::Unavailable { failed, of } => Some(format!("{failed} of {of} daemons failed")),
            Self::Deadline(deadline) => {
                Some(format!("no response within the deadline of {}", HumanDuration(*deadline)))
            }
            Self::Daemon(error) => Some(chain(error)),
            // The reader of the output has closed the pipe, which needs no message.
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Io(error) => Some(escape::single_line(&error.to_string())),
            Self::Interrupted => None,
        }
    }
}

fn code(error: &Error) -> u8 {
    if error.is_job_failed() {
        1
    } else if error.is_invalid() {
        2
    } else if error.is_deadline() {
        4
    } else {
        3
    }
}

/// Returns the first failure, and reports the others. Evaluates every result.
pub(crate) fn first_failure(results: impl IntoIterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    let mut failures = results.into_iter().filter_map(Result::err);
    let first = failures.next();
    for failure in failures {
        failure.report();
    }
    first.map_or(Ok(()), Err)
}

/// The error and its causes, in one line. An option is named as its flag.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = option_names::replace(error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    escape::single_line(&line)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // A 404 without a job is that of another server.
        if error.job_id().is_some() { Self::of_job(error) } else { Self::Client(error) }
    }
}

impl From<foreman_daemon::Error> for Failure {
    fn from(error: foreman_daemon::Error) -> Self {
        Self::Daemon(error)
    }
}

impl From<InvalidValue> for Failure {
    fn from(error: InvalidValue) -> Self {
        Error::from(error).into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use foreman_client::{JobId, JobResult, JobState, JobStatus};

    use super::*;

    #[test]
    fn failures_map_to_exit_statuses() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Failed);
        status.error = Some("no\u{1b}[2J memory".to_owned());
        let failed = Failure::from(JobResult::new(status).unwrap().into_success().unwrap_err());
        assert_eq!(failed.code(), 1);
        assert_eq!(failed.message().unwrap(), r"job failed: no\u{1b}[2J memory (job 7, last state failed)");
        assert_eq!(Failure::from(JobId::new("").unwrap_err()).code(), 2);
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        assert_eq!(Failure::Interrupted.code(), 130);
        assert_eq!(Failure::Unavailable { failed: 1, of: 2 }.code(), 3);
    }

    #[test]
    fn broken_pipe_has_no_message() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.message()), (74, None));
    }
}
