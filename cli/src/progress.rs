use std::io::IsTerminal as _;
use std::time::Duration;

use foreman_client::JobStatus;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{output, plain};

/// A spinner with state, place in the queue and elapsed time on a terminal, and nothing in a pipe. Gone when it is dropped.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let spinner = ProgressBar::new_spinner().with_message("asking the daemon");
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(Some(spinner))
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn show(&self, status: &JobStatus) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(words(status));
        }
    }

    /// Nothing is known, for now.
    pub(crate) fn show_silence(&self) {
        if let Some(spinner) = &self.0 {
            spinner.set_message("the daemon does not answer");
        }
    }

    /// Gone for good.
    pub(crate) fn clear(&self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }

    /// A line on stderr that stays.
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

fn words(status: &JobStatus) -> String {
    let state = plain::line(status.state.as_str());
    match status.position {
        Some(position) => format!("{state}, number {position} in the queue"),
        None if status.attempt > 1 => format!("{state}, attempt {}", status.attempt),
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use foreman_client::{JobId, JobState};

    use super::*;

    #[test]
    fn the_words_say_state_and_place_and_attempt() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Queued);
        status.position = Some(3);
        assert_eq!(words(&status), "queued, number 3 in the queue");
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Running);
        status.attempt = 1;
        assert_eq!(words(&status), "running");
        status.attempt = 2;
        assert_eq!(words(&status), "running, attempt 2");
        assert_eq!(words(&JobStatus::new(JobId::new("7").unwrap(), JobState::from("odd\u{1b}c"))), r"odd\u{1b}c");
    }
}
