use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::open_error::OpenError;
use super::row::submission;
use crate::store::StoreError;

/// The version of the tables.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64 + 1;

/// `FORE`. It identifies files of this program.
const APPLICATION_ID: i64 = 0x464f_5245;

const TABLES: &str = "
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        owner BLOB NOT NULL,
        state TEXT NOT NULL,
        model TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        started_at INTEGER,
        completed_at INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        spent INTEGER NOT NULL DEFAULT 0,
        body BLOB,
        result TEXT,
        error TEXT,
        artifacts TEXT,
        webhook TEXT,
        traceparent BLOB,
        key BLOB,
        digest BLOB,
        event_stream TEXT,
        priority INTEGER NOT NULL DEFAULT 0,
        start_by INTEGER
    ) STRICT;
    CREATE INDEX jobs_by_owner ON jobs (owner, number);
    CREATE INDEX jobs_by_owner_and_state ON jobs (owner, state, number);
    CREATE INDEX jobs_open ON jobs (state, number) WHERE completed_at IS NULL;
    CREATE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL;
    CREATE INDEX jobs_by_end ON jobs (completed_at) WHERE completed_at IS NOT NULL;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        started_at INTEGER,
        due_at INTEGER NOT NULL,
        sent INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX events_by_job ON events (number, seq);
";

/// Identifies the queue.
const QUEUE: &str = "CREATE TABLE queue (id BLOB NOT NULL) STRICT; INSERT INTO queue VALUES (randomblob(16));";

/// How long a group waits for another process that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest write-ahead log that remains, in bytes.
const MAX_LOG: i64 = 64 << 20;

/// What turns the tables of each version into those of the next, from version 1 on.
const MIGRATIONS: [&str; 4] = [
    "ALTER TABLE jobs ADD COLUMN event_stream TEXT;",
    "ALTER TABLE jobs ADD COLUMN spent INTEGER NOT NULL DEFAULT 0; UPDATE jobs SET spent = attempt;",
    "ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0; ALTER TABLE jobs ADD COLUMN start_by INTEGER;",
    QUEUE,
];

/// The open file, locked against other daemons.
#[derive(Debug)]
pub(super) struct OpenedFile {
    pub(super) writer: Connection,
    pub(super) reader: Connection,
    /// Locked as long as the file is open.
    pub(super) lock: File,
}

/// Opens or creates the file, and locks out other daemons.
pub(super) fn open(path: &Path) -> Result<OpenedFile, OpenError> {
    let lock = lock(path)?;
    // Creates the file with its permissions before SQLite does.
    open_private(path).map_err(OpenError::open)?;
    let writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(open_error)?;
    prepare(&writer)?;
    let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open_error)?;
    // Makes the directory entries durable too.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(OpenError::sync)?;
    }
    Ok(OpenedFile { writer, reader, lock })
}

/// Converts an error of SQLite.
pub(super) fn open_error(error: rusqlite::Error) -> OpenError {
    OpenError::open(StoreError::from(error))
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), OpenError> {
    let version: i64 = pragma(connection, "user_version").map_err(open_error)?;
    let application: i64 = pragma(connection, "application_id").map_err(open_error)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(open_error)?;
    match (application, version) {
        (APPLICATION_ID, VERSION) => set_durable(connection).map_err(open_error),
        (APPLICATION_ID, older @ 1..VERSION) => {
            set_durable(connection).map_err(open_error)?;
            migrate(connection, older).map_err(open_error)
        }
        (0, 0) if tables == 0 => {
            set_durable(connection).map_err(open_error)?;
            let made = connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {TABLES} {QUEUE} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
            ));
            made.map_err(open_error)
        }
        (APPLICATION_ID, newer) if newer > VERSION => Err(OpenError::newer(newer)),
        _ => Err(OpenError::foreign()),
    }
}

/// Turns the tables of an older version into those of this one, or changes nothing.
fn migrate(connection: &Connection, older: i64) -> rusqlite::Result<()> {
    let missing = MIGRATIONS[usize::try_from(older - 1).unwrap_or_default()..].concat();
    // Rolled back when it is dropped.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(&missing)?;
    if older < 4 {
        store_deadlines(&transaction)?;
    }
    transaction.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    transaction.commit()
}

/// Before version 4, the deadline was in the submission only.
fn store_deadlines(connection: &Connection) -> rusqlite::Result<()> {
    let mut queued =
        connection.prepare("SELECT number, body FROM jobs WHERE completed_at IS NULL AND body IS NOT NULL")?;
    let mut rows = queued.query([])?;
    while let Some(row) = rows.next()? {
        // A body that does not decode fails its job when it is taken.
        let deadline = submission(row, 1).ok().and_then(|submission| submission.deadline);
        if let Some(deadline) = deadline {
            connection
                .prepare_cached("UPDATE jobs SET start_by = ? WHERE number = ?")?
                .execute((deadline.as_microsecond(), row.get::<_, i64>(0)?))?;
        }
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Makes each commit durable before it returns.
fn set_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On macOS a sync does not reach the disk itself without them. Elsewhere they change nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // A write-ahead log that has grown, such as during a backup, becomes small again.
    connection.pragma_update_and_check(None, "journal_size_limit", MAX_LOG, |_| Ok(()))
}

/// Two daemons on one file would run each job twice. SQLite's own locks last for a transaction only.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = open_private(&PathBuf::from(lock_path)).map_err(OpenError::lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::in_use()),
        Err(TryLockError::Error(error)) => Err(OpenError::lock(error)),
    }
}

/// Opens or creates a file that only its owner can read, because chats are private.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
