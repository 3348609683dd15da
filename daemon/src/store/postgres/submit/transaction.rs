use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Client;
use futures_util::future::{join, join4};
use tokio_postgres::Row;

use super::Outcome;
use super::group::{Group, OwnedKey, owned_key};
use super::insert::{INSERT, insert};
use super::tokens::{Lock, add_tokens};
use crate::JobId;
use crate::store::postgres::connection::query;
use crate::store::postgres::store::State;
use crate::store::{NewJob, QueueLimits, StoreError};

/// Also the number of this transaction.
const QUEUED: &str = "SELECT coalesce(sum(queued), 0)::bigint, pg_current_xact_id()::text FROM owners";
const USED_KEYS: &str = "SELECT key, id, digest FROM jobs WHERE key = ANY($1)";

/// A transaction whose commit was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) transaction: String,
    /// The jobs that it adds.
    pub(super) added: Vec<JobId>,
    /// If it is committed.
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was added.
    Store(StoreError),
    /// The commit was sent, and has failed or had no answer.
    InDoubt { error: StoreError, sent: Sent },
}

/// Set before the commit is sent.
type Committing = Mutex<Option<Sent>>;

fn sent(committing: &Committing) -> MutexGuard<'_, Option<Sent>> {
    committing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds jobs, in their order.
pub(super) async fn add(shared: &State, jobs: Vec<Arc<NewJob>>, lock: Lock) -> Result<Vec<Outcome>, Failure> {
    let (limits, committing) = (shared.options.max_queue, Arc::<Committing>::default());
    let own = Arc::clone(&committing);
    let added = shared.database.run(move |client| {
        Box::pin(async move {
            let jobs: Vec<&NewJob> = jobs.iter().map(|new| &**new).collect();
            transaction(client, &jobs, limits, lock, &own).await
        })
    });
    added.await.map_err(|error| match sent(&committing).take() {
        Some(sent) => Failure::InDoubt { error, sent },
        None => Failure::Store(error),
    })
}

async fn transaction(
    client: &mut Client,
    jobs: &[&NewJob],
    limits: QueueLimits,
    lock: Lock,
    committing: &Committing,
) -> Result<Vec<Outcome>, StoreError> {
    // In order, so that two daemons that add the same tokens do not wait for each other.
    let owners: BTreeSet<&[u8]> = jobs.iter().map(|new| &new.owner.as_bytes()[..]).collect();
    let owners: Vec<&[u8]> = owners.into_iter().collect();
    let keys: Vec<OwnedKey> = jobs.iter().filter_map(|new| owned_key(new)).collect();
    client.prepare_cached(INSERT).await?;
    let (mut lock, mut all_are_there) = (lock, false);
    let Begun { locked, queued, used } = loop {
        match begin(client, lock, &owners, &keys).await? {
            Some(begun) if begun.locked.len() == owners.len() || all_are_there => break begun,
            Some(_) => {
                // Some are locked by others, or are not there yet.
                client.batch_execute("ROLLBACK").await?;
                add_tokens(client, &owners).await?;
                all_are_there = true;
            }
            // The table is locked.
            None if lock == Lock::Skip => return Ok(jobs.iter().map(|_| None).collect()),
            None => lock = Lock::Skip,
        }
    };
    let queued = queued.first().ok_or_else(StoreError::database_silent)?;
    let count = |row: &Row, column| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let mut group = Group {
        queued: locked.iter().map(|row| (row.get(0), count(row, 1))).collect(),
        all: count(queued, 0),
        used: HashMap::new(),
        limits,
        added: Vec::new(),
    };
    for row in used {
        let job_id = JobId::new(row.get::<_, String>(1)).map_err(|error| StoreError::damaged_row(error.into()))?;
        group.used.insert(row.get(0), (job_id, row.get(2)));
    }
    let outcomes: Vec<Outcome> = jobs.iter().enumerate().map(|(index, new)| group.add(index, new)).collect();
    if group.added.is_empty() {
        client.batch_execute("ROLLBACK").await?;
        return Ok(outcomes);
    }
    let added = group.added.iter().map(|(_, job_id)| job_id.clone()).collect();
    *sent(committing) = Some(Sent { transaction: queued.get(1), added, outcomes });
    // If the jobs cannot be added, the transaction is rolled back by this commit.
    let (inserted, committed) = join(insert(client, jobs, &group.added), client.batch_execute("COMMIT")).await;
    if inserted.as_ref().is_err_and(|error| error.is_locked() || error.is_refused_value()) {
        sent(committing).take();
    }
    inserted?;
    committed?;
    sent(committing).take().map(|sent| sent.outcomes).ok_or_else(StoreError::closed)
}

/// What a transaction that has locked its tokens has read.
struct Begun {
    locked: Vec<Row>,
    queued: Vec<Row>,
    used: Vec<Row>,
}

/// Locks the tokens. `None`: it has waited for one in vain, and is rolled back.
async fn begin(client: &Client, lock: Lock, owners: &[&[u8]], keys: &[OwnedKey]) -> Result<Option<Begun>, StoreError> {
    // A statement that is prepared is sent when its future is first polled, so that all of them arrive in this order.
    for sql in [lock.sql(), QUEUED, USED_KEYS] {
        client.prepare_cached(sql).await?;
    }
    let used = async { if keys.is_empty() { Ok(Vec::new()) } else { query(client, USED_KEYS, &[&keys]).await } };
    let (begun, locked, queued, used) = join4(
        client.batch_execute(lock.begin()),
        query(client, lock.sql(), &[&owners]),
        query(client, QUEUED, &[]),
        used,
    )
    .await;
    begun?;
    match locked {
        Err(error) if error.is_locked() => {
            client.batch_execute("ROLLBACK").await?;
            Ok(None)
        }
        // The first failure is the cause of those after it.
        locked => Ok(Some(Begun { locked: locked?, queued: queued?, used: used? })),
    }
}
