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

/// What waits, by the numbers of the jobs: a copy of what is in the file, so that nothing has to be looked for.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) queue: Queue,
    /// The jobs whose first event is to be sent, by when. A job whose event is being sent is not in it.
    due: BTreeMap<(Instant, u64), i64>,
    /// Those in `due`, and those whose event is being sent.
    mailed: HashSet<i64>,
    /// Those whose event is being sent: who sends it will settle it, whatever becomes of other changes. Shared, since each change
    /// remembers it for the case that it fails, and few change it.
    pub(super) sending: Arc<HashSet<i64>>,
    tickets: u64,
    pub(super) numbers: i64,
}

impl Index {
    pub(super) fn new(batch: NonZeroUsize) -> Self {
        Self {
            queue: Queue::new(batch),
            due: BTreeMap::new(),
            mailed: HashSet::new(),
            sending: Arc::default(),
            tickets: 0,
            numbers: 0,
        }
    }

    /// What is in the file, and what of it is being sent, which is not; batches are formed anew, so that the job that has waited
    /// longest is the next.
    pub(super) fn load(db: &Db, sending: Arc<HashSet<i64>>) -> rusqlite::Result<Self> {
        let (mut index, connection) = (Self::new(db.batch), &db.connection);
        (index.mailed, index.sending) = (sending.union(&db.unsendable).copied().collect(), sending);
        index.numbers = connection.query_row("SELECT coalesce(max(number), 0) FROM jobs", [], |row| row.get(0))?;
        let mut queued = connection.prepare(QUEUED)?;
        let mut rows = queued.query([])?;
        while let Some(row) = rows.next()? {
            let job_id = super::row::job_id(row, 1)?;
            if !db.torn.contains(&job_id) {
                index.enqueue(row.get(0)?, row.get_ref(2)?.as_str()?, job_id);
            }
        }
        let (now, wall) = (Instant::now(), Timestamp::now());
        let mut events = connection.prepare("SELECT number, due_at FROM events ORDER BY seq")?;
        let mut rows = events.query([])?;
        while let Some(row) = rows.next()? {
            let due: i64 = row.get(1)?;
            let pause = due.saturating_sub(wall.as_millisecond()).try_into().unwrap_or_default();
            index.mail(row.get(0)?, now + Duration::from_millis(pause).min(Duration::from_secs(24 * 60 * 60)));
        }
        Ok(index)
    }

    /// The number of the next job.
    pub(super) fn number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn enqueue(&mut self, number: i64, model: &str, job_id: JobId) {
        self.queue.push(key(number), model, job_id);
    }

    /// Its place among those that wait.
    pub(super) fn position(&self, number: i64) -> Option<u64> {
        self.queue.position(key(number))
    }

    pub(super) fn dequeue(&mut self, number: i64) {
        self.queue.remove(key(number));
    }

    /// There is an event of that job. One is sent at a time: a job that has one scheduled or on its way is left alone.
    pub(super) fn mail(&mut self, number: i64, at: Instant) {
        if self.mailed.insert(number) {
            self.tickets += 1;
            self.due.insert((at, self.tickets), number);
        }
    }

    /// The event that was due is on its way.
    pub(super) fn sent(&mut self, number: i64) {
        Arc::make_mut(&mut self.sending).insert(number);
    }

    /// The job whose event is due first, taken out, or when the next is.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let Some(first) = self.due.first_entry() else { return Due::Nothing };
        let (at, _) = *first.key();
        if at > now { Due::At(at) } else { Due::Now(first.remove()) }
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// No event of that job is on its way any more.
    pub(super) fn settled(&mut self, number: i64) {
        self.mailed.remove(&number);
        if self.sending.contains(&number) {
            Arc::make_mut(&mut self.sending).remove(&number);
        }
    }
}

#[cfg(test)]
impl Index {
    /// What it holds, to be compared: the jobs that wait, those whose first event is to be sent, and those where it is being sent.
    pub(super) fn contents(&self) -> (Vec<(u64, JobId)>, Vec<i64>, Vec<i64>) {
        let sorted = |numbers: Vec<i64>| {
            let mut numbers = numbers;
            numbers.sort_unstable();
            numbers
        };
        let due = sorted(self.due.values().copied().collect());
        assert_eq!(due.len() + self.sending.len(), self.mailed.len());
        (self.queue.contents(), due, sorted(self.sending.iter().copied().collect()))
    }
}

pub(super) enum Due {
    Now(i64),
    At(Instant),
    Nothing,
}

/// Numbers are counted from 1.
fn key(number: i64) -> u64 {
    number.unsigned_abs()
}
