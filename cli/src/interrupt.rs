use std::io::{self, IsTerminal as _, Write as _};

use foreman_client::JobId;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::attend::Attendant;
use crate::exit::Failure;
use crate::output;
use crate::signal::Interrupts;

/// Whether the job is to be cancelled: asked of whoever sits at a terminal, if there is a job that could go on.
pub(crate) async fn is_to_cancel(
    attendant: &Attendant<'_>,
    job_id: Option<&JobId>,
    interrupts: &mut Interrupts,
) -> bool {
    let may_go_on = job_id.is_some() && !attendant.embedded;
    may_go_on && io::stdin().is_terminal() && io::stderr().is_terminal() && wants_to_cancel(interrupts).await
}

/// Leaves the job or cancels it, and says which.
pub(crate) async fn leave(
    attendant: &Attendant<'_>,
    job_id: Option<&JobId>,
    cancel: bool,
    interrupts: &mut Interrupts,
) -> Failure {
    if attendant.embedded {
        output::note("foreman: the daemon in this process ends, and the job with it");
        return Failure::Interrupted;
    }
    let Some(job_id) = job_id else {
        output::note("foreman: interrupted before the daemon had answered; a job may have been submitted");
        return Failure::Interrupted;
    };
    if !cancel {
        output::note(&format!("foreman: the job goes on; to wait for it again: {}", attendant.again(job_id)));
        return Failure::Interrupted;
    }
    tokio::select! {
        cancelled = attendant.client.cancel(job_id) => match cancelled {
            Ok(_) => {
                output::note("foreman: the job is cancelled");
                Failure::Interrupted
            }
            Err(error) => error.into(),
        },
        () = interrupts.next() => {
            output::note("foreman: interrupted before the daemon had said that the job is cancelled");
            Failure::Interrupted
        }
    }
}

/// Asks once; a second Ctrl-C, the end of the input and any other answer leave the job alone.
async fn wants_to_cancel(interrupts: &mut Interrupts) -> bool {
    _ = write!(io::stderr(), "\nLeave the job running, or cancel it? [L/c] ");
    let mut answer = String::new();
    let mut input = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = input.read_line(&mut answer) => read.is_ok() && means_cancel(&answer),
        () = interrupts.next() => {
            output::note("");
            false
        }
    }
}

fn means_cancel(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "c" | "cancel")
}

#[cfg(test)]
mod tests {
    use super::means_cancel;

    #[test]
    fn only_a_clear_answer_cancels() {
        assert!(means_cancel("c\n") && means_cancel("Cancel"));
        for other in ["", "\n", "l\n", "no", "y"] {
            assert!(!means_cancel(other), "{other:?}");
        }
    }
}
