use deadpool_postgres::Client;
use futures_util::future::join3;

use crate::owner::Owner;
use crate::store::StoreError;
use crate::store::postgres::connection::{execute, query};
use crate::store::postgres::store::State;

/// Locks are held for milliseconds, unless a session hangs.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '200ms'";

/// The commit of the first job syncs it too.
const BEGIN_WITHOUT_SYNC: &str = "BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL synchronous_commit = off";

/// Leaves out the tokens that exist: an insertion would wait for a transaction that has changed one of them.
const ADD_TOKENS: &str = "INSERT INTO owners (owner) SELECT new FROM unnest($1::bytea[]) AS new
    WHERE (SELECT owner FROM owners WHERE owner = new) IS NULL ON CONFLICT DO NOTHING";

/// What a transaction does about a token that another one has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// It waits for it, for 200 ms. The other submissions of a group hardly notice that.
    Wait,
    /// For 50 ms, while a session hangs: then others may too.
    WaitBriefly,
    /// It leaves it out.
    Skip,
}

impl Lock {
    pub(super) fn begin(self) -> &'static str {
        if self == Self::WaitBriefly { "BEGIN; SET LOCAL lock_timeout = '50ms'" } else { BEGIN }
    }

    /// Reads the tokens, in order.
    pub(super) fn sql(self) -> &'static str {
        if self == Self::Skip {
            "SELECT owner, queued FROM owners WHERE owner = ANY($1) ORDER BY owner FOR UPDATE SKIP LOCKED"
        } else {
            "SELECT owner, queued FROM owners WHERE owner = ANY($1) ORDER BY owner FOR UPDATE"
        }
    }
}

/// Adds the tokens that are not there, in a transaction of its own. A token that another transaction adds may remain absent.
pub(super) async fn add_tokens(client: &Client, owners: &[&[u8]]) -> Result<(), StoreError> {
    client.prepare_cached(ADD_TOKENS).await?;
    let (begun, added, committed) = join3(
        client.batch_execute(BEGIN_WITHOUT_SYNC),
        execute(client, ADD_TOKENS, &[&owners]),
        client.batch_execute("COMMIT"),
    )
    .await;
    begun?;
    match added {
        // The commit has rolled it back.
        Err(error) if error.is_locked() => {}
        added => drop(added?),
    }
    Ok(committed?)
}

/// The tokens that no other transaction has locked now, or when it has waited for them.
pub(super) async fn free_tokens(shared: &State, mut tokens: Vec<Owner>, lock: Lock) -> Result<Vec<Owner>, StoreError> {
    tokens.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    let free = shared.database.run(move |client| {
        Box::pin(async move {
            let owners: Vec<&[u8]> = tokens.iter().map(|owner| &owner.as_bytes()[..]).collect();
            add_tokens(client, &owners).await?;
            client.prepare_cached(lock.sql()).await?;
            let (begun, free, ended) = join3(
                client.batch_execute(lock.begin()),
                query(client, lock.sql(), &[&owners]),
                client.batch_execute("ROLLBACK"),
            )
            .await;
            begun?;
            ended?;
            let free: Vec<Vec<u8>> = match free {
                Err(error) if error.is_locked() => Vec::new(),
                free => free?.iter().map(|row| row.get(0)).collect(),
            };
            // Both are in order.
            Ok(tokens
                .into_iter()
                .filter(|owner| free.binary_search_by(|free| free[..].cmp(owner.as_bytes())).is_ok())
                .collect())
        })
    });
    free.await
}
