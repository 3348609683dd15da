use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::InvalidUri;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use tokio::time::Instant;

use super::db::Db;
use super::row::{COLUMNS, STATUS, count, damaged, is_damaged, status, time};
use crate::store::due_events::Due;
use crate::store::{Address, Claim, Delivery, Destination, Verdict};
use crate::{JobId, JobState};

/// Selects the row of a job's first event.
const FIRST: &str = "seq = (SELECT min(seq) FROM events WHERE number = ?1)";

/// The outbox in the file.
impl Db {
    pub(super) fn claim(&mut self) -> rusqlite::Result<Claim> {
        loop {
            let now = Instant::now();
            let due = self.index().claim(now);
            let number = match due {
                Due::Now(number) => number,
                Due::At(at) => return Ok(Claim::At(at)),
                Due::Nothing => return Ok(Claim::Nothing),
            };
            match self.first_delivery(number) {
                // Without room at its destination, the event waits there.
                Ok(Some(delivery)) => {
                    if self.index().set_sending(number, Destination::of(&delivery.to.url), now) {
                        return Ok(Claim::Now(delivery));
                    }
                }
                // The job has expired.
                Ok(None) => {
                    self.index().settled(number);
                }
                // Damage must not stop the events of other jobs.
                Err(error) if is_damaged(&error) => {
                    tracing::error!(number, %error, "events given up: the row of their job does not decode");
                    self.delete_events(number)?;
                    self.index().settled(number);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first event of a job, with the status at that time. A result belongs to the terminal event only, after which
    /// nothing changes.
    fn first_delivery(&self, number: i64) -> rusqlite::Result<Option<Delivery>> {
        let event = self
            .connection
            .prepare_cached(
                "SELECT id, state, attempt, started_at, sent FROM events WHERE number = ? ORDER BY seq LIMIT 1",
            )?
            .query_row([number], event)
            .optional()?;
        let Some(event) = event else { return Ok(None) };
        let (mut status, to) = self
            .connection
            .prepare_cached(&format!("SELECT {STATUS}, webhook, traceparent FROM jobs WHERE number = ?"))?
            .query_row([number], |row| Ok((status(row)?.1, address(row, COLUMNS)?)))?;
        if !event.state.is_terminal() {
            status.completed_at = None;
            status.result = None;
            status.error = None;
            status.artifacts = Vec::new();
        }
        status.state = event.state;
        status.attempt = event.attempt;
        status.started_at = event.started_at;
        Ok(Some(Delivery {
            job_id: status.job_id.clone(),
            event_id: event.id,
            status: Arc::new(status),
            to: Arc::new(to),
            attempt: u32::try_from(event.sent).unwrap_or(u32::MAX).saturating_add(1),
        }))
    }

    pub(super) fn settle(&mut self, job_id: &JobId, verdict: &Verdict) -> rusqlite::Result<()> {
        let number: Option<i64> = self
            .connection
            .prepare_cached("SELECT number FROM jobs WHERE id = ?")?
            .query_row([job_id.as_str()], |row| row.get(0))
            .optional()?;
        let Some(number) = number else { return Ok(()) };
        let mut next = Instant::now();
        match verdict {
            Verdict::Again(at) => {
                next = *at;
                let pause = at.saturating_duration_since(Instant::now()).min(Duration::from_secs(24 * 60 * 60));
                let due =
                    Timestamp::now().as_millisecond().saturating_add(pause.as_millis().try_into().unwrap_or(i64::MAX));
                self.connection
                    .prepare_cached(&format!("UPDATE events SET sent = sent + 1, due_at = ?2 WHERE {FIRST}"))?
                    .execute(params![number, due])?;
            }
            Verdict::Delivered | Verdict::GiveUp => {
                self.connection.prepare_cached(&format!("DELETE FROM events WHERE {FIRST}"))?.execute([number])?;
            }
            Verdict::Stop => {
                self.delete_events(number)?;
            }
        }
        let more = self.connection.prepare_cached("SELECT 1 FROM events WHERE number = ? LIMIT 1")?.exists([number])?;
        let mut index = self.index();
        let destination = index.settled(number);
        if more {
            index.schedule(number, destination, next);
        }
        Ok(())
    }

    /// Deletes all events of a job, and prevents further ones.
    fn delete_events(&self, number: i64) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM events WHERE number = ?")?.execute([number])?;
        self.connection.prepare_cached("UPDATE jobs SET webhook = NULL WHERE number = ?")?.execute([number])?;
        Ok(())
    }
}

struct EventRow {
    id: Box<str>,
    state: JobState,
    attempt: u64,
    started_at: Option<Timestamp>,
    /// How many attempts there were.
    sent: u64,
}

fn event(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        id: row.get_ref(0)?.as_str()?.into(),
        state: JobState::from(row.get_ref(1)?.as_str()?),
        attempt: count(row, 2)?,
        started_at: time(row, 3)?,
        sent: count(row, 4)?,
    })
}

/// Reads the address from `column` and the next one.
fn address(row: &Row<'_>, column: usize) -> rusqlite::Result<Address> {
    let url = row.get_ref(column)?.as_str()?.parse().map_err(|error: InvalidUri| damaged(column, error))?;
    let traceparent = row.get_ref(column + 1)?.as_blob_or_null()?.map(HeaderValue::from_bytes);
    Ok(Address { url, traceparent: traceparent.transpose().map_err(|error| damaged(column + 1, error))? })
}
