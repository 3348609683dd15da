use std::io::IsTerminal as _;
use std::time::Duration;

use foreman_client::JobStatus;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{escape, output};

/// A spinner on stderr with the job's state, its position in the queue and the elapsed time.
///
/// It is shown on a terminal only, and removed on drop.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let spinner = ProgressBar::new_spinner().with_message("contacting the daemon");
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(Some(spinner))
    }

    pub(crate) fn is_visible(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn show_status(&self, status: &JobStatus) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(describe(status));
        }
    }

    pub(crate) fn show_no_response(&self) {
        if let Some(spinner) = &self.0 {
            spinner.set_message("the daemon does not respond");
        }
    }

    /// Removes the spinner.
    pub(crate) fn clear(&self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }

    /// Prints a line to stderr above the spinner.
    pub(crate) fn note(&self, line: &str) {
        match &self.0 {
            Some(spinner) => spinner.suspend(|| output::note(line)),
            None => output::note(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn describe(status: &JobStatus) -> String {
    let state = escape::single_line(status.state.as_str());
    match status.position {
        Some(position) => format!("{state}, position {position}"),
        None if status.attempt > 1 => format!("{state}, attempt {}", status.attempt),
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use foreman_client::{JobId, JobState};

    use super::*;

    #[test]
    fn description_has_state_position_and_attempt() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Queued);
        status.position = Some(3);
        assert_eq!(describe(&status), "queued, position 3");
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Running);
        status.attempt = 1;
        assert_eq!(describe(&status), "running");
        status.attempt = 2;
        assert_eq!(describe(&status), "running, attempt 2");
        assert_eq!(describe(&JobStatus::new(JobId::new("7").unwrap(), JobState::from("odd\u{1b}c"))), r"odd\u{1b}c");
    }
}
