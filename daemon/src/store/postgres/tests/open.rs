//! Opening a database.

use super::support::{Schema, open, server, submit};
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

#[tokio::test]
async fn newer_schema_is_refused() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open().await);
    schema.sql("INSERT INTO foreman_migrations (version, name) VALUES (7, 'later')");
    assert_eq!(open_error(&schema).await, "store URL has format version 7, which is newer than 1");
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
    let database = super::super::connection::Database::new(url.config(), tls).unwrap();
    let setting = database.run(|client| {
        Box::pin(async { Ok(client.query_one("SHOW synchronous_commit", &[]).await?.get::<_, String>(0)) })
    });
    assert_eq!(setting.await.unwrap(), "on");
}
