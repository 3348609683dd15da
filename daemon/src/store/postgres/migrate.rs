use refinery::embed_migrations;
use tokio_postgres::Client;

use super::open_error::PostgresOpenError;

embed_migrations!("migrations");

/// The version of the tables.
pub(super) const VERSION: i32 = 2;

/// The table that contains the versions that were applied. It identifies schemas of this program.
const HISTORY: &str = "foreman_migrations";

/// Daemons that start at the same time wait for each other: `foreman` in bytes.
const LOCK: i64 = 0x0066_6f72_656d_616e;

/// What is in the schema: its tables, views and sequences, and whether the history is one of them. Those of extensions do not count.
const CONTENTS: &str = "SELECT count(*), count(*) FILTER (WHERE relname = $1) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND NOT EXISTS (SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')";

/// Creates the tables in the current schema, or brings those of an older version to this one.
pub(super) async fn migrate(client: &mut Client) -> Result<(), PostgresOpenError> {
    let sql = |error: tokio_postgres::Error| PostgresOpenError::migrate(error);
    client.batch_execute("SET lock_timeout = 0; SET statement_timeout = '5min'").await.map_err(sql)?;
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await.map_err(sql)?.get(0);
    if encoding != "UTF8" {
        return Err(PostgresOpenError::encoding(encoding));
    }
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(sql)?;
    let contents = client.query_one(CONTENTS, &[&HISTORY]).await.map_err(sql)?;
    let (tables, histories): (i64, i64) = (contents.get(0), contents.get(1));
    if histories > 0 {
        let version = format!("SELECT coalesce(max(version), 0) FROM {HISTORY}");
        let version: i32 = client.query_one(&version, &[]).await.map_err(sql)?.get(0);
        if version > VERSION {
            return Err(PostgresOpenError::newer(version));
        }
    } else if tables > 0 {
        return Err(PostgresOpenError::foreign());
    }
    let mut runner = migrations::runner().set_grouped(true);
    runner.set_migration_table_name(HISTORY);
    if let Err(error) = runner.run_async(client).await {
        // The history was created before the transaction of the migrations, which is rolled back.
        if histories == 0 {
            client.batch_execute(&format!("DROP TABLE IF EXISTS {HISTORY}")).await.map_err(sql)?;
        }
        return Err(PostgresOpenError::migrate(error));
    }
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(sql)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_that_of_the_last_migration() {
        // In the order of the folder; the runner sorts them.
        let mut versions: Vec<_> =
            migrations::runner().get_migrations().iter().map(|migration| i64::from(migration.version())).collect();
        versions.sort_unstable();
        assert_eq!(versions, (1..=i64::from(VERSION)).collect::<Vec<_>>());
    }
}
