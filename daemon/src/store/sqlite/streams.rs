use std::collections::HashSet;

use super::db::Db;
use super::row::{STATUS, status};
use crate::JobStatus;
use crate::owner::Owner;

impl Db {
    /// Publishes the state of each job that the last transaction has changed, to the event streams.
    ///
    /// A stream that is opened after this reads nothing older than the transaction by a poll. If it was opened before, it has the event.
    /// A job that has changed twice has one event, of its last state.
    pub(super) fn publish(&mut self) {
        if self.options.streams.are_unused() {
            return;
        }
        let mut published = HashSet::new();
        let mut last = std::mem::take(&mut self.changed);
        // The last change of each job, in the order of the changes.
        last.reverse();
        last.retain(|number| published.insert(*number));
        for number in last.into_iter().rev() {
            match self.change(number) {
                Ok(Some(Change { owner, stream, status })) => {
                    self.options.streams.publish(owner, stream.as_deref(), &status);
                }
                Ok(None) => {}
                // The job ends for its clients by a poll.
                Err(error) => tracing::warn!(number, %error, "no event on the event streams: the row cannot be read"),
            }
        }
    }

    /// The present state of a job. `None` if nobody reads it.
    fn change(&self, number: i64) -> rusqlite::Result<Option<Change>> {
        let mut found = self.connection.prepare_cached("SELECT owner, event_stream FROM jobs WHERE number = ?")?;
        let (owner, stream): (_, Option<String>) = found.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let owner = Owner::from_bytes(owner);
        if !self.options.streams.are_read(owner, stream.as_deref()) {
            return Ok(None);
        }
        let sql = format!("SELECT {STATUS} FROM jobs WHERE number = ?");
        let (_, mut status) = self.connection.prepare_cached(&sql)?.query_row([number], status)?;
        if status.state == crate::JobState::Queued {
            status.position = self.index().position(number);
        }
        Ok(Some(Change { owner, stream, status }))
    }
}

struct Change {
    owner: Owner,
    stream: Option<String>,
    status: JobStatus,
}
