use deadpool_postgres::Client;
use futures_util::future::join3;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::tokens::BEGIN;
use crate::JobId;
use crate::store::postgres::connection::execute;
use crate::store::postgres::store::State;
use crate::store::{Destination, NewJob, StoreError};

/// How many repetitions change their jobs at once. Each takes a connection.
const MAX_AT_ONCE: usize = 2;

/// A job that does not change is not locked.
const MOVE: &str = "WITH moved AS (
        UPDATE jobs SET webhook = coalesce($2, webhook), destination = coalesce($3, destination),
            event_stream = coalesce($4, event_stream)
        WHERE id = $1 AND (webhook, destination, event_stream)
            IS DISTINCT FROM (coalesce($2, webhook), coalesce($3, destination), coalesce($4, event_stream))
        RETURNING number)
    UPDATE outbox SET destination = $3 FROM moved WHERE outbox.number = moved.number AND $3 IS NOT NULL";

/// Submissions whose keys already have jobs: a client that was restarted gets its events elsewhere.
///
/// Each is a transaction of its own, without the lock of the token, so that a job that is locked delays no other.
#[derive(Debug)]
pub(super) struct Repetitions(Semaphore);

impl Repetitions {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(MAX_AT_ONCE))
    }

    /// Whether a repetition may change its job.
    pub(super) fn moves(new: &NewJob) -> bool {
        new.webhook.is_some() || new.submission.event_stream.is_some()
    }

    /// Sends the events of a job to where this submission says. It waits for the lock of the job until this time.
    pub(super) async fn apply(
        &self,
        shared: &State,
        new: &NewJob,
        job_id: &JobId,
        until: Instant,
    ) -> Result<(), StoreError> {
        let apply = async {
            loop {
                // The permits are given in turn, so that a locked job delays the others by one wait only.
                let _permit = self.0.acquire().await;
                if try_to_apply(shared, new, job_id).await? {
                    return Ok(());
                }
            }
        };
        timeout_at(until, apply).await.unwrap_or_else(|_| Err(StoreError::job_locked()))
    }
}

/// Returns false if the job is locked.
async fn try_to_apply(shared: &State, new: &NewJob, job_id: &JobId) -> Result<bool, StoreError> {
    let (job_id, event_stream) = (job_id.clone(), new.submission.event_stream.clone());
    let webhook = new.webhook.as_ref().map(ToString::to_string);
    let destination = new.webhook.as_ref().map(|url| Destination::of(url).to_string());
    let moved = shared.database.run(move |client: &mut Client| {
        Box::pin(async move {
            client.prepare_cached(MOVE).await?;
            let (begun, moved, committed) = join3(
                client.batch_execute(BEGIN),
                execute(client, MOVE, &[&job_id.as_str(), &webhook, &destination, &event_stream]),
                client.batch_execute("COMMIT"),
            )
            .await;
            begun?;
            match moved {
                // The commit has rolled it back.
                Err(error) if error.is_locked() => Ok(false),
                moved => {
                    moved?;
                    committed?;
                    Ok(true)
                }
            }
        })
    });
    moved.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::tests::support::{Schema, submit};

    /// Another session has locked the job.
    #[tokio::test]
    async fn repetition_that_has_waited_for_its_job_for_too_long_is_refused() {
        let Some(schema) = Schema::new() else { return };
        let daemon = schema.open().await;
        let job_id = submit(&daemon, "go").await;
        let session = schema.session().await;
        session.batch_execute("BEGIN; SELECT FROM jobs FOR UPDATE").await.unwrap();
        let new = NewJob { webhook: Some("http://h/".parse().unwrap()), ..NewJob::of_test("{}") };
        let applied = Repetitions::new().apply(&daemon.shared, &new, &job_id, Instant::now()).await;
        assert_eq!(applied.unwrap_err().to_string(), "job locked in the database");
    }
}
