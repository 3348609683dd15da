use std::io::{self, IsTerminal as _, Write as _};

use foreman_client::JobId;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::attend::Attendant;
use crate::exit::Failure;
use crate::signal::Interrupts;

/// After Ctrl-C: leaves the job or cancels it, and says which.
pub(crate) async fn leave_or_cancel(
    attendant: &Attendant<'_>,
    job_id: Option<&JobId>,
    interrupts: &mut Interrupts,
) -> Failure {
    if attendant.embedded {
        eprintln!("foreman: the daemon in this process ends, and the job with it");
        return Failure::Interrupted;
    }
    let Some(job_id) = job_id else {
        eprintln!("foreman: interrupted before the daemon had answered; a job may have been submitted");
        return Failure::Interrupted;
    };
    if !(io::stdin().is_terminal() && io::stderr().is_terminal() && wants_to_cancel(interrupts).await) {
        eprintln!("foreman: the job goes on; to wait for it again: foreman wait {job_id}");
        return Failure::Interrupted;
    }
    tokio::select! {
        cancelled = attendant.client.cancel(job_id) => match cancelled {
            Ok(_) => {
                eprintln!("foreman: the job is cancelled");
                Failure::Interrupted
            }
            Err(error) => error.into(),
        },
        () = interrupts.next() => {
            eprintln!("foreman: interrupted before the daemon had said that the job is cancelled");
            Failure::Interrupted
        }
    }
}

/// Asks once; a second Ctrl-C, the end of the input and any other answer leave the job alone.
async fn wants_to_cancel(interrupts: &mut Interrupts) -> bool {
    eprint!("\nLeave the job running, or cancel it? [L/c] ");
    _ = io::stderr().flush();
    let mut answer = String::new();
    let mut input = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = input.read_line(&mut answer) => read.is_ok() && means_cancel(&answer),
        () = interrupts.next() => {
            eprintln!();
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
