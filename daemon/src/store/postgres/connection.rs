use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Client, Hook, HookError, Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::DatabaseUrl;
use super::open_error::PostgresOpenError;
use crate::BoxError;
use crate::store::StoreError;

/// The connections of the calls that wait for no lock, or not for long: reads, submissions, and starts of jobs. At most three
/// submissions wait for locked tokens.
const CONNECTIONS: usize = 6;

/// The connections of the calls that may wait for the lock of a row.
const LOCKING_CONNECTIONS: usize = 4;

/// How many connections the renewals of the lease have. The second one is for a renewal after one without an answer.
const LEASE_CONNECTIONS: usize = 2;

/// How long an operation waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// How long an operation may take. It is longer than the limits of the database, and bounds what a network without answers costs.
const OPERATION: Duration = Duration::from_secs(15);

/// A commit is durable when it returns, also where the database has another default.
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A connection that is driven by its second part.
pub(super) type Connection =
    (tokio_postgres::Client, tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

/// How long a connection may take to open. The driver's own limit is that of one host, until the host has accepted it.
pub(super) fn connect_limit(config: &Config) -> Duration {
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    let of_host = config.get_connect_timeout().copied().unwrap_or(WAIT);
    of_host.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1))
}

/// Opens a connection. A server that accepts it and never responds is a failure too.
pub(super) async fn connect(config: &Config, tls: &MakeRustlsConnect) -> Result<Connection, BoxError> {
    match timeout(connect_limit(config), config.connect(tls.clone())).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(StoreError::database_silent().into()),
    }
}

/// The connections to the database, beside that of the feed. Calls of one kind never wait for connections of another.
#[derive(Debug, Clone)]
pub(super) struct Database {
    common: Pool,
    locking: Pool,
    lease: Pool,
}

impl Database {
    pub(super) fn new(url: &DatabaseUrl, tls: &MakeRustlsConnect) -> Result<Self, PostgresOpenError> {
        Ok(Self {
            common: pool(url.config(), tls, CONNECTIONS)?,
            locking: pool(url.locking_config(), tls, LOCKING_CONNECTIONS)?,
            lease: pool(url.config(), tls, LEASE_CONNECTIONS)?,
        })
    }

    /// Runs an operation in a task of its own, so that it completes if the caller is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl for<'a> FnOnce(&'a mut Client) -> Operation<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(self.common.clone(), operation).await
    }

    /// Runs an operation that may wait for the lock of a row. It fails if another session holds the lock for long.
    pub(super) async fn run_locking<T: Send + 'static>(
        &self,
        operation: impl for<'a> FnOnce(&'a mut Client) -> Operation<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(self.locking.clone(), operation).await
    }

    /// Runs an operation on which the lease depends.
    pub(super) async fn run_for_lease<T: Send + 'static>(
        &self,
        operation: impl for<'a> FnOnce(&'a mut Client) -> Operation<'a, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(self.lease.clone(), operation).await
    }
}

fn pool(config: Config, tls: &MakeRustlsConnect, size: usize) -> Result<Pool, PostgresOpenError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let limit = connect_limit(&config);
    let pool = Pool::builder(Manager::from_config(config, tls.clone(), recycling))
        .max_size(size)
        // A session that was just used has its data in the caches.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(limit))
        .recycle_timeout(Some(WAIT))
        // The pool has no limit for it.
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                let durable = timeout(WAIT, client.batch_execute(DURABLE)).await;
                durable.map_or_else(|_| Err(HookError::message("timeout")), |set| set.map_err(HookError::Backend))
            })
        }))
        .build();
    pool.map_err(PostgresOpenError::connect)
}

async fn run<T: Send + 'static>(
    pool: Pool,
    operation: impl for<'a> FnOnce(&'a mut Client) -> Operation<'a, T> + Send + 'static,
) -> Result<T, StoreError> {
    let run = async move {
        let mut client = Borrowed(Some(pool.get().await?));
        let done = match &mut client.0 {
            Some(client) => timeout(OPERATION, operation(client)).await,
            None => return Err(StoreError::closed()),
        };
        let done = done.unwrap_or_else(|_| Err(StoreError::database_silent()))?;
        client.give_back();
        Ok(done)
    };
    tokio::spawn(run).await.unwrap_or_else(|_| Err(StoreError::closed()))
}

/// A connection that is closed when it is dropped, unless it is given back. An operation that fails or panics may have left a transaction,
/// or a statement without an answer, on it.
struct Borrowed(Option<Client>);

impl Borrowed {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Client::take(client));
        }
    }
}

pub(super) type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

pub(super) async fn query(client: &Client, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StoreError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, values).await?)
}

pub(super) async fn query_opt(client: &Client, sql: &str, values: Values<'_>) -> Result<Option<Row>, StoreError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, values).await?)
}

pub(super) async fn execute(client: &Client, sql: &str, values: Values<'_>) -> Result<u64, StoreError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.execute(&statement, values).await?)
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// The user is accepted, and the server is ready.
    const READY: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

    #[tokio::test]
    async fn database_that_stops_to_answer_while_a_connection_opens_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable").parse().unwrap();
        let tls = MakeRustlsConnect::new(crate::tls::config(RootCertStore::empty()).unwrap());
        let database = Database::new(&url, &tls).unwrap();
        let operation = tokio::spawn(async move { database.run(|_| Box::pin(async { Ok(()) })).await });
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert_ne!(connection.read(&mut buffer).await.unwrap(), 0);
        connection.write_all(READY).await.unwrap();
        assert_ne!(connection.read(&mut buffer).await.unwrap(), 0);
        // The server has the first statement. From here on, only timeouts end anything.
        tokio::time::pause();
        let ended = timeout(Duration::from_secs(3600), operation).await.unwrap().unwrap();
        assert_eq!(ended.unwrap_err().to_string(), "database does not answer");
    }
}
