//! A daemon in a network namespace.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use foreman_daemon::{Backend, BoxError, Chat, ChatResponse, Daemon};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;
use tower::service_fn;

/// Short, so that the test is, and longer than a loaded machine holds a renewal up.
const LEASE: Duration = Duration::from_secs(3);

/// How many jobs a daemon runs at a time.
pub(crate) const WORKERS: usize = 2;

/// Prints that an attempt was stopped before its end.
struct Attempt {
    line: String,
    has_ended: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_ended {
            report(&format!("stopped {}", self.line));
        }
    }
}

/// Prints a line for the test, which may be gone.
fn report(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Serves until its standard input ends. A line of it is the id of a job whose attempts may end. Prints the address, and when an attempt
/// has begun, has ended, or was stopped. The result of a job is the name of the daemon and the number of the attempt.
pub(crate) async fn serve(url: &str, name: &str, listen: &str) {
    let (sender, may_end) = watch::channel(HashSet::new());
    let own_name = name.to_owned();
    let backend = service_fn(move |chat: Chat| {
        let (mut may_end, name) = (may_end.clone(), own_name.clone());
        async move {
            let (job_id, attempt) = (chat.job_id().to_string(), chat.attempt());
            let mut running = Attempt { line: format!("{job_id} {attempt}"), has_ended: false };
            report(&format!("began {}", running.line));
            may_end.wait_for(|jobs| jobs.contains(&job_id)).await?;
            running.has_ended = true;
            report(&format!("ended {}", running.line));
            Ok::<_, BoxError>(ChatResponse::from_value(&format!("{name} {attempt}"))?)
        }
    });
    let daemon = Daemon::builder()
        .postgres(url)
        .name(name)
        .lease(LEASE)
        .listen(([0, 0, 0, 0], 0))
        .allow_anonymous(true)
        .backend(Backend::new(backend))
        .workers(WORKERS)
        .webhook_retries([Duration::from_millis(100); 600])
        .start()
        .await
        .unwrap();
    report(&format!("{listen}:{}", daemon.local_addr().port()));
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(job_id)) = commands.next_line().await {
        sender.send_if_modified(|jobs| jobs.insert(job_id));
    }
}
