use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::db::Db;
use crate::JobId;
use crate::store::queue::Queue;

pub(super) const QUEUED: &str =
    "SELECT number, id, model FROM jobs WHERE state = 'queued' AND completed_at IS NULL ORDER BY number";

/// The queue and the due events, by job number. It mirrors the file, so that nothing has to be searched there.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) queue: Queue,
    /// The jobs whose first event is waiting, by its due time. A job whose event is being sent is not among them.
    due: BTreeMap<(Instant, u64), i64>,
    /// The jobs in `due`, and those whose event is being sent.
    scheduled: HashSet<i64>,
    /// The jobs whose event is being sent. Its sender settles it even if other changes fail. Shared, because each change keeps
    /// a copy to restore if it fails, and few changes modify it.
    pub(super) sending: Arc<HashSet<i64>>,
    tickets: u64,
    pub(super) numbers: i64,
}

impl Index {
    pub(super) fn new(batch: NonZeroUsize) -> Self {
        Self {
            queue: Queue::new(batch),
            due: BTreeMap::new(),
            scheduled: HashSet::new(),
            sending: Arc::default(),
            tickets: 0,
            numbers: 0,
        }
    }

    /// Loads the index from the file. `sending` is not in the file. Batches are formed again, so that the oldest queued job is
    /// next.
    pub(super) fn load(db: &Db, sending: Arc<HashSet<i64>>) -> rusqlite::Result<Self> {
        let (mut index, connection) = (Self::new(db.batch), &db.connection);
        (index.scheduled, index.sending) = (sending.iter().copied().collect(), sending);
        index.numbers = connection.query_row("SELECT coalesce(max(number), 0) FROM jobs", [], |row| row.get(0))?;
        let mut queued = connection.prepare(QUEUED)?;
        let mut rows = queued.query([])?;
        while let Some(row) = rows.next()? {
            let job_id = super::row::job_id(row, 1)?;
            index.enqueue(row.get(0)?, row.get_ref(2)?.as_str()?, job_id);
        }
        let (now, wall) = (Instant::now(), Timestamp::now());
        let mut events = connection.prepare("SELECT number, due_at FROM events ORDER BY seq")?;
        let mut rows = events.query([])?;
        while let Some(row) = rows.next()? {
            let due: i64 = row.get(1)?;
            let pause = due.saturating_sub(wall.as_millisecond()).try_into().unwrap_or_default();
            index.schedule(row.get(0)?, now + Duration::from_millis(pause).min(Duration::from_secs(24 * 60 * 60)));
        }
        Ok(index)
    }

    /// Allocates the number of a new job.
    pub(super) fn next_number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn enqueue(&mut self, number: i64, model: &str, job_id: JobId) {
        self.queue.push(key(number), model, job_id);
    }

    /// The position of a queued job.
    pub(super) fn position(&self, number: i64) -> Option<u64> {
        self.queue.position(key(number))
    }

    pub(super) fn dequeue(&mut self, number: i64) {
        self.queue.remove(key(number));
    }

    /// Schedules the first event of a job. Does nothing if one is scheduled or being sent, since a job's events are sent one
    /// at a time.
    pub(super) fn schedule(&mut self, number: i64, at: Instant) {
        if self.scheduled.insert(number) {
            self.tickets += 1;
            self.due.insert((at, self.tickets), number);
        }
    }

    /// Marks the event that was due as being sent.
    pub(super) fn set_sending(&mut self, number: i64) {
        Arc::make_mut(&mut self.sending).insert(number);
    }

    /// Removes and returns the job whose event is due, or returns when the next one is.
    pub(super) fn pop_due(&mut self, now: Instant) -> Due {
        let Some(first) = self.due.first_entry() else { return Due::Nothing };
        let (at, _) = *first.key();
        if at > now { Due::At(at) } else { Due::Now(first.remove()) }
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Marks a job as having no event scheduled or being sent.
    pub(super) fn settled(&mut self, number: i64) {
        self.scheduled.remove(&number);
        if self.sending.contains(&number) {
            Arc::make_mut(&mut self.sending).remove(&number);
        }
    }
}

#[cfg(test)]
impl Index {
    /// The queued jobs, the jobs with a waiting event, and the jobs whose event is being sent.
    pub(super) fn contents(&self) -> (Vec<(u64, JobId)>, Vec<i64>, Vec<i64>) {
        let sorted = |numbers: Vec<i64>| {
            let mut numbers = numbers;
            numbers.sort_unstable();
            numbers
        };
        let due = sorted(self.due.values().copied().collect());
        assert_eq!(due.len() + self.sending.len(), self.scheduled.len());
        (self.queue.contents(), due, sorted(self.sending.iter().copied().collect()))
    }
}

pub(super) enum Due {
    Now(i64),
    At(Instant),
    Nothing,
}

/// Job numbers are positive.
fn key(number: i64) -> u64 {
    number.unsigned_abs()
}
