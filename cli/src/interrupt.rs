//! Ctrl-C during a wait: prompt, detach or cancel.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::daemons::Job;
use crate::exit::Failure;
use crate::monitor::Monitor;
use crate::output;
use crate::resume_command::shell_quote;
use crate::signal::SignalListener;

/// Whether to cancel the job. Prompts only on a terminal, and only for a job that can continue without this process.
pub(crate) async fn confirm_cancel(monitor: &Monitor<'_>, job: Option<&Job>, interrupts: &mut SignalListener) -> bool {
    let can_continue = job.is_some() && monitor.resume.is_some();
    can_continue && io::stdin().is_terminal() && io::stderr().is_terminal() && prompt(interrupts).await
}

/// Leaves the job running or cancels it, and reports which.
pub(crate) async fn detach_or_cancel(
    monitor: &Monitor<'_>,
    job: Option<&Job>,
    cancel: bool,
    interrupts: &mut SignalListener,
) -> Failure {
    let Some(resume) = &monitor.resume else {
        output::note("foreman: interrupted; the job ends with the embedded daemon");
        return Failure::Interrupted;
    };
    let Some(job) = job else {
        let key = monitor.submission.as_ref().map_or_else(String::new, |submission| {
            format!("; its key: --idempotency-key {}", shell_quote(&submission.idempotency_key().to_string()))
        });
        output::note(&format!("foreman: interrupted before the daemon responded; a job may have been submitted{key}"));
        return Failure::Interrupted;
    };
    if !cancel {
        output::note(&format!(
            "foreman: the job was not cancelled; resume with: {}",
            resume.of(&job.to_string(), job.daemon())
        ));
        return Failure::Interrupted;
    }
    tokio::select! {
        cancelled = job.client.cancel(&job.id) => match cancelled {
            Ok(_) => {
                output::note("foreman: job cancelled");
                Failure::Interrupted
            }
            Err(error) => Failure::of_job(error),
        },
        () = interrupts.recv() => {
            output::note("foreman: interrupted before the daemon confirmed the cancellation");
            Failure::Interrupted
        }
    }
}

/// Prompts once. A second Ctrl-C, the end of the input and any other reply leave the job running.
async fn prompt(interrupts: &mut SignalListener) -> bool {
    _ = write!(io::stderr(), "\nLeave the job running or cancel it? [L/c] ");
    let mut reply = String::new();
    let mut input = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = input.read_line(&mut reply) => read.is_ok() && is_cancel(&reply),
        () = interrupts.recv() => {
            output::note("");
            false
        }
    }
}

fn is_cancel(reply: &str) -> bool {
    matches!(reply.trim().to_ascii_lowercase().as_str(), "c" | "cancel")
}

#[cfg(test)]
mod tests {
    use super::is_cancel;

    #[test]
    fn only_c_and_cancel_cancel() {
        assert!(is_cancel("c\n") && is_cancel("Cancel"));
        for other in ["", "\n", "l\n", "no", "y"] {
            assert!(!is_cancel(other), "{other:?}");
        }
    }
}
