use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::transaction::{Failure, Outcome, Sent};
use crate::failure::failure;
use crate::store::StoreError;
use crate::store::postgres::connection::query_opt;
use crate::store::postgres::store::State;

/// What PostgreSQL knows of a transaction: `committed`, `aborted`, or `in progress`.
const STATUS: &str = "SELECT pg_xact_status($1::text::xid8)";

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
    let (error, Sent { transaction, outcomes }) = match failed {
        Failure::Store(error) => return Err(error),
        Failure::InDoubt { error, sent } => (error, sent),
    };
    let until = Instant::now() + LIMIT;
    loop {
        let number = transaction.clone();
        let asked = shared.database.run(|client| {
            Box::pin(async move {
                let row = query_opt(client, STATUS, &[&number]).await?;
                Ok(row.and_then(|row| row.get::<_, Option<String>>(0)))
            })
        });
        match asked.await.as_ref().map(Option::as_deref) {
            Ok(Some("committed")) => return Ok(outcomes),
            Ok(Some("aborted")) => return Err(error),
            Ok(_) => {}
            Err(error) => tracing::debug!(transaction, error = %failure(error), "cannot find out about a commit"),
        }
        if Instant::now() >= until {
            return Err(StoreError::in_doubt());
        }
        sleep(PAUSE).await;
    }
}
