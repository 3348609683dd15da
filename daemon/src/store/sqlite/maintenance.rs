use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::params;

use super::db::Db;
use super::index::open_jobs_sql;
use super::row::count;

/// How many expired jobs one sweep deletes. It bounds how long a sweep delays other changes.
const SWEEP_LIMIT: i64 = 500;

/// Recovery at the start, and removal of expired jobs.
impl Db {
    /// After a crash: jobs that were running are queued again, or fail if that was their last attempt.
    pub(super) fn recover(&mut self) -> rusqlite::Result<()> {
        let running: Vec<(i64, u64, u64)> = self
            .connection
            .prepare(&open_jobs_sql("number, attempt, spent"))?
            .query_map(["running"], |row| Ok((row.get(0)?, count(row, 1)?, count(row, 2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (number, attempt, spent) in running {
            if spent < self.options.attempts {
                let error = format!("daemon stopped during attempt {attempt}");
                self.connection
                    .execute("UPDATE jobs SET state = 'queued', error = ? WHERE number = ?", params![error, number])?;
            } else {
                self.fail(number, &format!("daemon stopped during attempt {attempt}, the last one"))?;
            }
            self.record(number)?;
        }
        Ok(())
    }

    /// Before a stop: jobs that are running are queued again, and the interrupted attempts do not count.
    pub(super) fn interrupt(&mut self) -> rusqlite::Result<()> {
        let running: Vec<i64> = self
            .connection
            .prepare(
                "UPDATE jobs
                 SET state = 'queued', spent = max(spent - 1, 0), error = 'daemon stopped during attempt ' || attempt
                 WHERE state = 'running' AND completed_at IS NULL RETURNING number",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for number in running {
            self.record(number)?;
        }
        Ok(())
    }

    /// Deletes some expired jobs, with their keys and their remaining events.
    pub(super) fn sweep(&mut self) -> rusqlite::Result<usize> {
        let age = i64::try_from(self.options.keep.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::now().as_microsecond().saturating_sub(age);
        let expired: Vec<i64> = self
            .connection
            .prepare_cached("SELECT number FROM jobs WHERE completed_at < ?1 ORDER BY completed_at LIMIT ?2")?
            .query_map([before, SWEEP_LIMIT], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let sending = Arc::clone(&self.index().sending);
        let mut deleted = 0;
        // A job whose event is being sent is deleted later: who sends it settles it by the job.
        for number in expired.into_iter().filter(|number| !sending.contains_key(number)) {
            self.connection.prepare_cached("DELETE FROM events WHERE number = ?")?.execute([number])?;
            deleted += self.connection.prepare_cached("DELETE FROM jobs WHERE number = ?")?.execute([number])?;
        }
        Ok(deleted)
    }
}
