use std::collections::HashSet;

use rusqlite::Row;

use super::db::Db;
use super::row::{COLUMNS, STATUS, status};
use crate::JobStatus;
use crate::owner::Owner;

impl Db {
    /// Publishes the state of each job that the last transaction has changed, to the event streams.
    ///
    /// A stream that is opened after this reads nothing older than the transaction by a poll. If it was opened before, it has the event.
    /// A job that has changed twice has one event, of its last state.
    pub(super) fn publish(&mut self) {
        if self.streams.are_unused() {
            return;
        }
        let mut published = HashSet::new();
        let mut last = std::mem::take(&mut self.changed);
        // The last change of each job, in the order of the changes.
        last.reverse();
        last.retain(|number| published.insert(*number));
        for number in last.into_iter().rev() {
            match self.change(number) {
                Ok(Change { owner, stream, status }) => self.streams.publish(owner, stream.as_deref(), &status),
                // The job ends for its clients by a poll.
                Err(error) => tracing::warn!(number, %error, "no event on the event streams: the row cannot be read"),
            }
        }
    }

    fn change(&self, number: i64) -> rusqlite::Result<Change> {
        let sql = format!("SELECT {STATUS}, owner, event_stream FROM jobs WHERE number = ?");
        let mut change = self.connection.prepare_cached(&sql)?.query_row([number], change)?;
        if change.status.state == crate::JobState::Queued {
            change.status.position = self.index().position(number);
        }
        Ok(change)
    }
}

struct Change {
    owner: Owner,
    stream: Option<String>,
    status: JobStatus,
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let (_, status) = status(row)?;
    Ok(Change { owner: Owner::from_bytes(row.get(COLUMNS)?), stream: row.get(COLUMNS + 1)?, status })
}
