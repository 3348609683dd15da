use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::open_error::OpenError;
use crate::store::StoreError;

/// What the file is: the version of its tables.
pub(super) const VERSION: i64 = 1;

/// `FORE`, which tells the file from those of other programs.
const APPLICATION: i64 = 0x464f_5245;

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
        body BLOB,
        result TEXT,
        error TEXT,
        artifacts TEXT,
        webhook TEXT,
        traceparent BLOB,
        key BLOB,
        digest BLOB
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

/// The file, ours alone.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) reader: Connection,
    /// Held as long as the file is open.
    pub(super) lock: File,
}

/// Opens the file, makes it if there is none, and keeps other daemons out.
pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    // So that it is there with the rights it should have before SQLite opens it.
    private(path).map_err(OpenError::open)?;
    let writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(refused)?;
    prepare(&writer)?;
    let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(refused)?;
    // The names of the files are on the disk as well.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(OpenError::sync)?;
    }
    Ok(Opened { writer, reader, lock })
}

/// What SQLite says of a file, in the words of a store that fails later.
pub(super) fn refused(error: rusqlite::Error) -> OpenError {
    OpenError::open(StoreError::from(error))
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), OpenError> {
    let version: i64 = pragma(connection, "user_version").map_err(refused)?;
    let application: i64 = pragma(connection, "application_id").map_err(refused)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(refused)?;
    match (application, version) {
        (APPLICATION, VERSION) => durable(connection).map_err(refused),
        (0, 0) if tables == 0 => {
            durable(connection).map_err(refused)?;
            let made = connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            ));
            made.map_err(refused)
        }
        (APPLICATION, newer) if newer > VERSION => Err(OpenError::newer(newer)),
        _ => Err(OpenError::foreign()),
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// A commit is on the disk when it returns.
fn durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")
}

/// Two daemons on one file would run each job twice. SQLite's own locks do not outlast a transaction.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = private(&PathBuf::from(beside)).map_err(OpenError::lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::in_use()),
        Err(TryLockError::Error(error)) => Err(OpenError::lock(error)),
    }
}

/// Opens a file or makes it. What people ask a model is for nobody else to read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
