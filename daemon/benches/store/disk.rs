//! The bare disk: loops without a daemon.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// The body of a request.
pub(super) const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#;

/// The size of a page, in bytes.
const PAGE: usize = 4096;

/// How many pages the written file has: as many as SQLite's write-ahead log before a checkpoint.
const PAGES: u64 = 1000;

/// Inserts into a SQLite file per second, each with a sync.
pub(super) fn inserts(folder: &Path, span: Duration) -> f64 {
    let folder = super::fresh(folder);
    let connection = rusqlite::Connection::open(folder.path().join("loop.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT)",
        )
        .unwrap();
    rate(span, |_| {
        connection.prepare_cached("INSERT INTO t (body) VALUES (?)").unwrap().execute([BODY]).unwrap();
    })
}

/// Writes of a page to a file of constant size per second, each with a sync.
pub(super) fn writes(folder: &Path, span: Duration) -> f64 {
    let file = tempfile::tempfile_in(folder).unwrap();
    let write = |file: &File, page: u64| file.write_all_at(&[0x55; PAGE], page % PAGES * PAGE as u64).unwrap();
    (0..PAGES).for_each(|page| write(&file, page));
    file.sync_all().unwrap();
    rate(span, |count| {
        write(&file, count);
        file.sync_data().unwrap();
    })
}

fn rate(span: Duration, mut run: impl FnMut(u64)) -> f64 {
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < span {
        run(count);
        count += 1;
    }
    count as f64 / started.elapsed().as_secs_f64()
}
