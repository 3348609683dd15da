use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use tokio::time::Instant;

use super::db::Db;
use super::index::Due;
use super::row::{STATUS, count, damaged, status, time};
use crate::daemon::store::{Address, Claim, Mail, Verdict};
use crate::{JobId, JobState};

/// The outbox.
impl Db {
    pub(super) fn claim(&mut self) -> rusqlite::Result<Claim> {
        loop {
            let due = self.index().due(Instant::now());
            let number = match due {
                Due::Now(number) => number,
                Due::At(at) => return Ok(Claim::At(at)),
                Due::Nothing => return Ok(Claim::Nothing),
            };
            match self.mail(number) {
                Ok(Some(mail)) => return Ok(Claim::Now(mail)),
                // It was swept meanwhile.
                Ok(None) => self.index().settled(number),
                Err(error) => {
                    self.index().settled(number);
                    return Err(error);
                }
            }
        }
    }

    /// The first event of a job. What it tells is the job as it was then: of a state on the way no more than that state, of
    /// the last one everything, since nothing changes after it.
    fn mail(&self, number: i64) -> rusqlite::Result<Option<Mail>> {
        let sql = format!(
            "SELECT {}, e.id, e.state, e.attempt, e.started_at, e.sent, j.webhook, j.traceparent
             FROM jobs j JOIN events e ON e.number = j.number WHERE j.number = ? ORDER BY e.seq LIMIT 1",
            STATUS.split(", ").map(|column| format!("j.{column}")).collect::<Vec<_>>().join(", ")
        );
        self.connection.prepare_cached(&sql)?.query_row([number], read).optional()
    }

    pub(super) fn settle(&mut self, job_id: &JobId, verdict: &Verdict) -> rusqlite::Result<()> {
        let number: Option<i64> = self
            .connection
            .prepare_cached("SELECT number FROM jobs WHERE id = ?")?
            .query_row([job_id.as_str()], |row| row.get(0))
            .optional()?;
        let Some(number) = number else { return Ok(()) };
        const FIRST: &str = "seq = (SELECT min(seq) FROM events WHERE number = ?1)";
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
                self.connection.prepare_cached("DELETE FROM events WHERE number = ?")?.execute([number])?;
                self.connection.prepare_cached("UPDATE jobs SET webhook = NULL WHERE number = ?")?.execute([number])?;
            }
        }
        let more = self.connection.prepare_cached("SELECT 1 FROM events WHERE number = ? LIMIT 1")?.exists([number])?;
        let mut index = self.index();
        index.settled(number);
        if more {
            index.mail(number, next);
        }
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Mail> {
    let (_, mut status) = status(row)?;
    let state = JobState::from(row.get_ref(12)?.as_str()?);
    if !state.is_terminal() {
        status.completed_at = None;
        status.result = None;
        status.error = None;
        status.artifacts = Vec::new();
        status.started_at = time(row, 14)?;
    }
    status.state = state;
    status.attempt = count(row, 13)?;
    let url: Uri = row.get_ref(16)?.as_str()?.parse().map_err(|error: http::uri::InvalidUri| damaged(16, error))?;
    let traceparent = row.get_ref(17)?.as_blob_or_null()?.map(HeaderValue::from_bytes);
    let traceparent = traceparent.transpose().map_err(|error| damaged(17, error))?;
    let event_id: String = row.get(11)?;
    Ok(Mail {
        job_id: status.job_id.clone(),
        event_id: event_id.into(),
        status: Arc::new(status),
        to: Arc::new(Address { url, traceparent }),
        attempt: u32::try_from(count(row, 15)?).unwrap_or(u32::MAX).saturating_add(1),
    })
}
