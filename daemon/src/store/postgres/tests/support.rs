//! Helpers of these tests.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::JobId;
use crate::owner::Owner;
use crate::store::postgres::{DatabaseUrl, Membership, Postgres, PostgresOpenError, SharedOptions};
use crate::store::{IdempotencyKey, NewJob, NextJob, Outcome, Output, Store, StoreOptions, Taken, Wanted};

#[path = "../../../../tests/it/postgres_server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres_server;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../../../tests/it/database_proxy.rs"]
mod database_proxy;

pub(super) use self::database_proxy::DatabaseProxy;
pub(super) use self::postgres_server::{PostgresServer, server};

/// A schema of the server, for several daemons.
pub(in crate::store::postgres) struct Schema {
    pub(super) server: &'static PostgresServer,
    pub(super) url: String,
}

impl Schema {
    pub(in crate::store::postgres) fn new() -> Option<Self> {
        let server = server()?;
        Some(Self { server, url: server.schema() })
    }

    pub(in crate::store::postgres) async fn open(&self) -> Postgres {
        self.open_with(StoreOptions::of_test(100)).await
    }

    pub(super) async fn open_with(&self, options: StoreOptions) -> Postgres {
        open(&self.url, options).await.unwrap()
    }

    pub(in crate::store::postgres) fn sql(&self, sql: &str) -> String {
        self.server.sql_in(&self.url, sql)
    }

    /// Makes each change of a job wait in its middle, until the set is dropped. A lock of the table would make its preparation wait, and
    /// has a timeout.
    pub(super) async fn lock_jobs(&self) -> JoinSet<()> {
        self.sql(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN
                    WHILE NOT pg_try_advisory_xact_lock_shared(hashtext(current_schema())) LOOP
                        PERFORM pg_sleep(0.001);
                    END LOOP;
                    RETURN NULL;
                END';
            CREATE TRIGGER wait AFTER INSERT OR UPDATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION wait()",
        );
        let url = self.url.replace("application_name=", "application_name=lock_");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let mut lock = JoinSet::new();
        lock.spawn(async move { connection.await.unwrap() });
        client.batch_execute("SELECT pg_advisory_lock(hashtext(current_schema()))").await.unwrap();
        // Dropping the client would end the connection.
        lock.spawn(async move {
            let _client = client;
            std::future::pending::<()>().await;
        });
        lock
    }

    /// Waits until a statement of a daemon waits so.
    pub(super) async fn has_blocked_statement(&self) {
        let name = self.url.rsplit_once("%3D").unwrap().1;
        let blocked = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event = 'PgSleep'"
        );
        while self.sql(&blocked) == "0" {
            tokio::task::yield_now().await;
        }
    }

    /// How many statements of daemons wait for locks.
    pub(super) fn waiting_for_locks(&self) -> String {
        let name = self.url.rsplit_once("%3D").unwrap().1;
        self.sql(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
        ))
    }

    /// Adds queued jobs of a token, with these columns beside those that they need, such as `, webhook` and `, 'http://h/'`.
    pub(super) fn insert(&self, owner: Owner, count: usize, columns: &str, values: &str) {
        let owner = literal(owner);
        self.sql(&format!(
            r#"INSERT INTO owners (owner) VALUES ({owner}) ON CONFLICT DO NOTHING;
            INSERT INTO jobs (id, owner, model, body{columns})
            SELECT gen_random_uuid()::text, {owner}, 'm', '{{"model":"m"}}'{values} FROM generate_series(1, {count})"#
        ));
    }

    /// Runs a statement as a daemon does, by the plan that any values get, and rolls it back. Returns the text of its first row, and its cost: how many index scans it takes
    /// and how many rows it reads.
    pub(super) async fn cost(&self, statement: &str) -> (Option<String>, i64) {
        let config = self.url.parse::<DatabaseUrl>().unwrap().config();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN; SET LOCAL plan_cache_mode = force_generic_plan").await.unwrap();
        let row = client.query_opt(statement, &[]).await.unwrap();
        let cost =
            "SELECT sum(idx_scan + seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
            WHERE schemaname = current_schema()";
        let cost = client.query_one(cost, &[]).await.unwrap().get(0);
        (row.and_then(|row| row.get(0)), cost)
    }

    /// Another session, which may hold locks.
    pub(in crate::store::postgres) async fn session(&self) -> tokio_postgres::Client {
        let url = self.url.replacen("application_name=test_", "application_name=lock_", 1);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Another session, which holds the lock of a token until it is dropped.
    pub(in crate::store::postgres) async fn lock(&self, owner: Owner) -> tokio_postgres::Client {
        let session = self.session().await;
        let lock = format!("BEGIN; SELECT FROM owners WHERE owner = {} FOR UPDATE", literal(owner));
        session.batch_execute(&lock).await.unwrap();
        session
    }

    /// Another session, which holds the locks of these rows until it is dropped.
    pub(super) async fn lock_rows(&self, rows: &str) -> tokio_postgres::Client {
        let session = self.session().await;
        session.batch_execute(&format!("BEGIN; SELECT FROM {rows} FOR UPDATE")).await.unwrap();
        session
    }
}

/// A token in SQL.
pub(super) fn literal(owner: Owner) -> String {
    let hex: String = owner.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'")
}

pub(super) async fn open(url: &str, options: StoreOptions) -> Result<Postgres, PostgresOpenError> {
    // Longer than any test, so that no lease ends by itself.
    open_named(url, Duration::from_secs(3600), "test", options).await
}

pub(super) async fn open_named(
    url: &str,
    lease: Duration,
    name: &str,
    options: StoreOptions,
) -> Result<Postgres, PostgresOpenError> {
    let url: DatabaseUrl = url.parse().unwrap();
    let tls = crate::tls::config(rustls::RootCertStore::empty()).unwrap();
    let membership = Membership { lease, name: name.to_owned(), options: SharedOptions::default() };
    Postgres::open(&url, tls, membership, options).await
}

pub(super) fn new_job(key: Option<&str>, text: &str) -> NewJob {
    new_job_of("m", key, text)
}

pub(super) fn new_job_of(model: &str, key: Option<&str>, text: &str) -> NewJob {
    let body = serde_json::json!({ "model": model, "messages": [{ "content": text }] });
    let key = key.map(|key| IdempotencyKey { text: key.as_bytes().into(), digest: [text.len().to_le_bytes()[0]; 32] });
    NewJob { key, ..NewJob::of_test(&body.to_string()) }
}

pub(in crate::store::postgres) async fn submit(store: &dyn Store, text: &str) -> JobId {
    store.submit(new_job(None, text)).await.unwrap().unwrap().job_id
}

/// Submits a job with a callback URL.
pub(super) async fn submit_to(store: &dyn Store, url: &str) -> JobId {
    let new = NewJob { webhook: Some(url.parse().unwrap()), ..new_job(None, "go") };
    store.submit(new).await.unwrap().unwrap().job_id
}

pub(super) async fn take(store: &dyn Store) -> Option<Taken> {
    take_wanted(store, Wanted::any()).await
}

pub(super) async fn take_wanted(store: &dyn Store, wanted: Wanted) -> Option<Taken> {
    match store.take(wanted).await.unwrap()? {
        NextJob::Run(taken) => Some(taken),
        NextJob::Damaged(job_id) => panic!("{job_id} is damaged"),
    }
}

pub(super) fn done() -> Outcome {
    Outcome::Done(Output { result: serde_json::value::to_raw_value("ok").unwrap(), artifacts: Vec::new() })
}

/// The state, the attempt, and the error of a job, or of its last attempt.
pub(super) async fn state(store: &dyn Store, job_id: &JobId) -> String {
    let status = store.status(Owner::ANONYMOUS, job_id).await.unwrap().unwrap();
    let error = status.error.as_ref().or(status.last_error.as_ref());
    format!("{} {} {}", status.state, status.attempt, error.map_or("", String::as_str))
}
