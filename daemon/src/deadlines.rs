use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::failure::failure;
use super::jobs::Jobs;
use super::until_stored::STORE_RETRY;

/// The longest sleep, because the clock of the system may be set, and because another daemon may store a deadline.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Fails queued jobs that have not been started by their deadlines, also while no worker takes jobs.
pub(super) async fn fail_overdue_jobs(jobs: Arc<Jobs>) {
    loop {
        let pause = match jobs.fail_overdue().await {
            Ok(None) => LONGEST_SLEEP,
            // A job is overdue after its deadline.
            Ok(Some(next)) => until(next).saturating_add(Duration::from_millis(1)).min(LONGEST_SLEEP),
            Err(error) => {
                tracing::debug!(error = %failure(&error), "cannot fail overdue jobs");
                STORE_RETRY
            }
        };
        tokio::select! {
            () = jobs.deadline() => {}
            () = sleep(pause) => {}
        }
    }
}

fn until(time: Timestamp) -> Duration {
    time.duration_since(Timestamp::now()).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobState;
    use crate::owner::Owner;
    use crate::store::{NewJob, StoreOptions};

    /// As in an outage of the backend.
    #[tokio::test(start_paused = true)]
    async fn overdue_job_fails_while_no_worker_takes_jobs() {
        let jobs = Arc::new(Jobs::in_memory(&StoreOptions::of_test(9)));
        let task = tokio::spawn(fail_overdue_jobs(Arc::clone(&jobs)));
        let submit = async |start_by| {
            let new = NewJob { start_by, ..NewJob::of_test(r#"{"model":"m"}"#) };
            jobs.submit(new).await.unwrap().unwrap().job_id
        };
        let without = submit(None).await;
        let later = submit(Some(Timestamp::MAX)).await;
        let overdue = submit(Some(Timestamp::UNIX_EPOCH)).await;
        let mut watch = jobs.watch(&overdue);
        watch.changed().await;
        let state = async |job_id| {
            let status = jobs.status(Owner::ANONYMOUS, job_id).await.unwrap().unwrap();
            (status.state.clone(), status.error.clone())
        };
        assert_eq!(state(&overdue).await, (JobState::Failed, Some("deadline".to_owned())));
        for waits in [&without, &later] {
            assert_eq!(state(waits).await, (JobState::Queued, None));
        }
        task.abort();
    }
}
