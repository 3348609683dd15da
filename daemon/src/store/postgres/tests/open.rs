//! Opening a database.

use super::support::{PostgresServer, Schema, open, server, submit};
use crate::failure::failure;
use crate::owner::Owner;
use crate::store::{Store as _, StoreOptions};

async fn open_error(schema: &Schema) -> String {
    let error = open(&schema.url, StoreOptions::of_test(9)).await.unwrap_err();
    let url = schema.url.parse().unwrap();
    failure(&crate::Error::database(&url, error)).replace(&url.to_string(), "URL")
}

#[tokio::test]
async fn schema_of_another_program_is_refused_and_unchanged() {
    let Some(schema) = Schema::new() else { return };
    schema.sql("CREATE TABLE jobs (number int)");
    assert_eq!(open_error(&schema).await, "store URL is a database of another program");
    let name = schema.url.rsplit_once("%3D").unwrap().1;
    assert_eq!(schema.sql(&format!("SELECT count(*) FROM pg_class WHERE relnamespace = '{name}'::regnamespace")), "1");
}

/// The objects of the schema, apart from indexes.
const OBJECTS: &str =
    "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind <> 'i'";

#[tokio::test]
async fn objects_of_another_program_are_refused_and_unchanged() {
    let foreign = "store URL is a database of another program";
    let tables = "cannot prepare the tables of store URL";
    for (sql, error, detail) in [
        // Its migrations are by the same crate.
        (
            "CREATE TABLE refinery_schema_history (version int4 PRIMARY KEY, name text, applied_on text, checksum text)",
            foreign,
            "",
        ),
        ("CREATE VIEW jobs AS SELECT 1 AS number", foreign, ""),
        ("CREATE SEQUENCE turns", foreign, ""),
        (
            "CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            tables,
            "note_change",
        ),
        ("CREATE TABLE foreman_migrations (number int)", tables, "version"),
        (
            "CREATE TABLE foreman_migrations (version int4 PRIMARY KEY, name text, applied_on text, checksum text);
            INSERT INTO foreman_migrations VALUES (1, 'other', '2026-01-01T00:00:00Z', '7')",
            tables,
            "V1__other",
        ),
    ] {
        let Some(schema) = Schema::new() else { return };
        schema.sql(sql);
        let before = schema.sql(OBJECTS);
        let refused = open_error(&schema).await;
        assert!(refused.starts_with(error) && refused.contains(detail), "{sql}: {refused}");
        assert_eq!(schema.sql(OBJECTS), before, "{sql}");
    }
}

/// Many databases have one in the schema `public`.
#[tokio::test]
async fn extensions_are_not_another_program() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.schema();
    let schema = url.rsplit_once("%3D").unwrap().1;
    server.sql(&format!("CREATE EXTENSION pg_stat_statements SCHEMA {schema}"));
    let daemon = open(&url, StoreOptions::of_test(9)).await.unwrap();
    submit(&daemon, "go").await;
}

#[tokio::test]
async fn newer_schema_is_refused() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open().await);
    schema.sql("INSERT INTO foreman_migrations (version, name) VALUES (7, 'later')");
    assert_eq!(open_error(&schema).await, "store URL has format version 7, which is newer than 2");
}

#[tokio::test]
async fn daemons_that_start_together_create_the_tables_once() {
    let Some(schema) = Schema::new() else { return };
    let (one, two, three) = tokio::join!(schema.open(), schema.open(), schema.open());
    let job_id = submit(&one, "go").await;
    for daemon in [&two, &three] {
        assert!(daemon.status(Owner::ANONYMOUS, &job_id).await.unwrap().is_some());
    }
    assert_eq!(schema.sql("SELECT count(*) FROM boxes"), "3");
}

#[tokio::test]
async fn commit_is_durable_where_the_default_is_not() {
    let Some(server) = server() else { return };
    let url = format!("{}%20-csynchronous_commit%3Doff", server.schema());
    let url: crate::store::DatabaseUrl = url.parse().unwrap();
    let tls =
        tokio_postgres_rustls::MakeRustlsConnect::new(crate::tls::config(rustls::RootCertStore::empty()).unwrap());
    let database = super::super::connection::Database::new(&url, &tls).unwrap();
    let setting = database.run(|client| {
        Box::pin(async { Ok(client.query_one("SHOW synchronous_commit", &[]).await?.get::<_, String>(0)) })
    });
    assert_eq!(setting.await.unwrap(), "on");
}

#[tokio::test]
async fn database_with_another_encoding_is_refused() {
    let Some(server) = server() else { return };
    let name = format!("latin_{}", std::process::id());
    server.sql(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"));
    let url = server.url("public").replace("/postgres?", &format!("/{name}?"));
    let error = open(&url, StoreOptions::of_test(9)).await.unwrap_err();
    let error = failure(&crate::Error::database(&url.parse().unwrap(), error));
    assert!(error.ends_with(" has the encoding LATIN1; it must be UTF8"), "{error}");
}
