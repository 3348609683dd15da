use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify, RwLock, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::cancels::Cancels;
use super::clock::DatabaseClock;
use super::config::DatabaseUrl;
use super::connection::{Database, connect};
use super::lease::Lease;
use super::lock_wait::LockWait;
use super::migrate::migrate;
use super::open_error::PostgresOpenError;
use super::shared_options::SharedOptions;
use super::snapshot::Snapshot;
use super::store::{Postgres, State};
use super::{boxes, feed, maintenance, renewal, submit};
use crate::store::{StoreError, StoreOptions};

/// How long the preparation of the tables may take. It is longer than the limit of one statement there, and bounds what a network without
/// answers costs.
const PREPARATION: Duration = Duration::from_secs(600);

/// How a daemon takes part in a database.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// How long its jobs are left to it without a sign of it.
    pub(crate) lease: Duration,
    /// The name that operators see.
    pub(crate) name: String,
    /// Those that it publishes.
    pub(crate) options: SharedOptions,
}

impl Postgres {
    /// Connects to a database, creates or migrates its tables, and registers the daemon.
    pub(crate) async fn open(
        url: &DatabaseUrl,
        tls: rustls::ClientConfig,
        membership: Membership,
        options: StoreOptions,
    ) -> Result<Self, PostgresOpenError> {
        let (config, tls) = (url.config(), MakeRustlsConnect::new(tls));
        let (mut client, connection) = connect(&config, &tls).await.map_err(PostgresOpenError::connect)?;
        // Dropping the set closes the connection.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let prepared = timeout(PREPARATION, prepare(&mut client)).await;
        let (queue_id, since) =
            prepared.unwrap_or_else(|_| Err(PostgresOpenError::migrate(StoreError::database_silent())))?;
        drop(driver);
        let shared = Arc::new(State {
            queue_id,
            database: Database::new(url, &tls)?,
            lease: Lease::new(membership, options.lists.clone()),
            clock: DatabaseClock::default(),
            taking: RwLock::default(),
            turns: Mutex::default(),
            lock_wait: LockWait::new(),
            cancels: Cancels::default(),
            claiming: AsyncMutex::default(),
            sending: Mutex::new(HashMap::new()),
            queued: AtomicUsize::new(0),
            fleet: Mutex::default(),
            feed: Notify::new(),
            options,
        });
        shared.lease.register(&shared.database).await.map_err(PostgresOpenError::connect)?;
        boxes::read(&shared).await.map_err(PostgresOpenError::connect)?;
        // The other daemons hear of this one.
        shared.feed.notify_one();
        let (submissions, pending) = mpsc::unbounded_channel();
        let (vital, mut tasks) = (&shared.options.vital, JoinSet::new());
        let own = Arc::clone(&shared);
        tasks.spawn(
            vital.clone().guard("feed of the store", async move { feed::follow(&own, &config, &tls, since).await }),
        );
        let own = Arc::clone(&shared);
        tasks.spawn(vital.clone().guard("lease", async move { renewal::renew(&own).await }));
        let own = Arc::clone(&shared);
        tasks.spawn(vital.clone().guard("maintenance of the store", async move { maintenance::maintain(&own).await }));
        let own = Arc::clone(&shared);
        tasks.spawn(vital.clone().guard("submissions", async move { submit::commit(&own, pending).await }));
        Ok(Self { shared, submissions, _tasks: tasks })
    }
}

/// Creates or migrates the tables. Returns the id of the queue, and the snapshot from which the feed begins.
async fn prepare(client: &mut Client) -> Result<(Uuid, Snapshot), PostgresOpenError> {
    migrate(client).await?;
    let queue = client.query_one("SELECT id FROM queue", &[]).await.map_err(PostgresOpenError::migrate)?;
    let row = client.query_one(feed::SNAPSHOT, &[]).await.map_err(PostgresOpenError::migrate)?;
    Ok((queue.get(0), feed::snapshot_of(&row).map_err(PostgresOpenError::migrate)?))
}
