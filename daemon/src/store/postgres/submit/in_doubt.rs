use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Row;

use super::Outcome;
use super::transaction::{Failure, Sent};
use crate::failure::failure;
use crate::store::StoreError;
use crate::store::postgres::connection::query_opt;
use crate::store::postgres::row::count;
use crate::store::postgres::store::State;

/// What PostgreSQL knows of a transaction (`committed`, `aborted`, or `in progress`), and how many of its jobs there are. After a failover,
/// another transaction may have its number.
const STATUS: &str = "SELECT pg_xact_status($1::text::xid8), (SELECT count(*) FROM jobs WHERE id = ANY($2))";

/// How long a transaction is asked for. A client does not wait for its response much longer.
const LIMIT: Duration = Duration::from_secs(15);

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// Finds out whether the jobs of a transaction that failed were added.
///
/// The answer to a commit may be lost, or late. A refusal then would invite the client to submit the job again.
///
/// # Errors
///
/// The failure, if they were not added. [`StoreError::in_doubt`] if the database does not say in time.
pub(super) async fn what_became_of(shared: &State, failed: Failure) -> Result<Vec<Outcome>, StoreError> {
    let (error, Sent { transaction, added, outcomes }) = match failed {
        Failure::Store(error) => return Err(error),
        Failure::InDoubt { error, sent } => (error, sent),
    };
    let until = Instant::now() + LIMIT;
    let ids: Vec<String> = added.iter().map(ToString::to_string).collect();
    loop {
        let (number, ids, jobs) = (transaction.clone(), ids.clone(), added.len());
        let asked = shared.database.run(move |client| {
            Box::pin(async move {
                let row = query_opt(client, STATUS, &[&number, &ids]).await?;
                let all_are_there = |row: &Row| count(row, 1).is_ok_and(|count| count == jobs as u64);
                Ok(row.and_then(|row| Some((row.get::<_, Option<String>>(0)?, all_are_there(&row)))))
            })
        });
        match asked.await {
            Ok(Some((status, true))) if status == "committed" => return Ok(outcomes),
            Ok(Some((status, _))) if status == "committed" || status == "aborted" => return Err(error),
            Ok(_) => {}
            Err(error) => tracing::debug!(transaction, error = %failure(&error), "cannot find out about a commit"),
        }
        if Instant::now() >= until {
            return Err(StoreError::in_doubt());
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::tests::support::{Schema, submit};
    use crate::store::{Store as _, Submitted};
    use crate::{JobId, owner::Owner};

    /// As the number of a transaction is after a failover, which has lost that transaction.
    #[tokio::test]
    async fn number_of_another_transaction_adds_no_job() {
        let Some(schema) = Schema::new() else { return };
        let daemon = schema.open().await;
        let there = submit(&daemon, "go").await;
        let number = schema.sql("SELECT changed FROM jobs");
        let became_of = async |job_id: &JobId| {
            let outcomes = vec![Some(Ok(Submitted { job_id: job_id.clone(), replayed: false }))];
            let sent = Sent { transaction: number.clone(), added: vec![job_id.clone()], outcomes };
            let failed = Failure::InDoubt { error: StoreError::database_silent(), sent };
            what_became_of(&daemon.shared, failed).await.map(|outcomes| outcomes.len())
        };
        assert_eq!(became_of(&there).await.unwrap(), 1);
        let lost = JobId::new("lost").unwrap();
        assert_eq!(became_of(&lost).await.unwrap_err().to_string(), "database does not answer");
        assert!(daemon.status(Owner::ANONYMOUS, &there).await.unwrap().is_some());
    }
}
