use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::db::Db;
use super::row::{QUEUED, job_id, queued as queued_job};
use crate::owner::Owner;
use crate::store::due_events::{Due, DueEvents};
use crate::store::queue::{Queue, QueuedJob};
use crate::store::{Destination, StoreOptions};

/// The jobs that have not ended, in a state.
pub(super) fn open_jobs_sql(columns: &str) -> String {
    format!("SELECT {columns} FROM jobs WHERE state = ? AND completed_at IS NULL ORDER BY number")
}

/// The queue and the due events, by job number. It mirrors the file, so that nothing has to be searched there.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) queue: Queue,
    /// The jobs with an event. Their destinations are known once their first event was read.
    due: DueEvents<i64>,
    /// The jobs whose event is being sent, and where to. Its sender settles it even if other changes fail. Shared, because each
    /// change keeps a copy to restore if it fails, and few changes modify it.
    pub(super) sending: Arc<HashMap<i64, Destination>>,
    pub(super) numbers: i64,
}

impl Index {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            queue: Queue::new(options.batch, options.max_queue),
            due: DueEvents::new(Arc::clone(&options.destinations)),
            sending: Arc::default(),
            numbers: 0,
        }
    }

    /// Loads the index from the file. `sending` is not in the file. Batches are formed again, so that the oldest queued job is
    /// next. Destinations that the index knew before need not be read again.
    pub(super) fn load(db: &Db, sending: Arc<HashMap<i64, Destination>>) -> rusqlite::Result<Self> {
        let (mut index, connection) = (Self::new(&db.options), &db.connection);
        let (now, wall) = (Instant::now(), Timestamp::now());
        let known = db.index().due.destinations();
        for (number, destination) in &*sending {
            index.due.resume(*number, destination.clone(), now);
        }
        index.sending = sending;
        index.numbers = connection.query_row("SELECT coalesce(max(number), 0) FROM jobs", [], |row| row.get(0))?;
        let mut queued = connection.prepare(&open_jobs_sql(&format!("number, id, {QUEUED}")))?;
        let mut rows = queued.query(["queued"])?;
        while let Some(row) = rows.next()? {
            let (model, job) = queued_job(row, job_id(row, 1)?, 2)?;
            index.queue.push(key(row.get(0)?), &model, job);
        }
        let mut running = connection.prepare(&open_jobs_sql("number, owner"))?;
        let mut rows = running.query(["running"])?;
        while let Some(row) = rows.next()? {
            index.queue.run(key(row.get(0)?), Owner::from_bytes(row.get(1)?));
        }
        let mut events = connection.prepare("SELECT number, due_at FROM events ORDER BY seq")?;
        let mut rows = events.query([])?;
        while let Some(row) = rows.next()? {
            let due: i64 = row.get(1)?;
            let pause = due.saturating_sub(wall.as_millisecond()).try_into().unwrap_or_default();
            let number = row.get(0)?;
            let destination = known.get(&number).cloned();
            index.schedule(
                number,
                destination,
                now + Duration::from_millis(pause).min(Duration::from_secs(24 * 60 * 60)),
            );
        }
        Ok(index)
    }

    /// Allocates the number of a new job.
    pub(super) fn next_number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn enqueue(&mut self, number: i64, model: &str, job: QueuedJob) {
        self.queue.push(key(number), model, job);
    }

    /// Returns its priority, which may have become lower.
    pub(super) fn enqueue_behind(&mut self, number: i64, model: &str, job: QueuedJob) -> i8 {
        self.queue.push_behind(key(number), model, job)
    }

    /// The position of a queued job.
    pub(super) fn position(&self, number: i64) -> Option<u64> {
        self.queue.position(key(number))
    }

    /// A job has ended, queued or running.
    pub(super) fn ended(&mut self, number: i64) {
        self.queue.remove(key(number));
        self.queue.ended(key(number));
    }

    /// Schedules the first event of a job, unless one is waiting or being sent.
    pub(super) fn schedule(&mut self, number: i64, destination: Option<Destination>, at: Instant) {
        self.due.schedule(number, destination, at);
    }

    /// Sends the events of a job to another destination from now on.
    pub(super) fn move_to(&mut self, number: i64, destination: Destination) {
        self.due.move_to(&number, destination);
    }

    /// Claims the job whose event is due, or returns when the next one is.
    pub(super) fn claim(&mut self, now: Instant) -> Due<i64> {
        self.due.claim(now)
    }

    /// Marks the claimed event as being sent to its destination. Returns `false` if the destination has no room; then the event
    /// waits for it.
    pub(super) fn set_sending(&mut self, number: i64, destination: Destination, now: Instant) -> bool {
        let has_room = self.due.set_destination(&number, &destination, now);
        if has_room {
            Arc::make_mut(&mut self.sending).insert(number, destination);
        }
        has_room
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.next_due()
    }

    /// Marks a job as having no event scheduled or being sent. Returns the destination of its events, if it is known.
    pub(super) fn settled(&mut self, number: i64) -> Option<Destination> {
        if self.sending.contains_key(&number) {
            Arc::make_mut(&mut self.sending).remove(&number);
        }
        self.due.settle(&number)
    }
}

/// What an index contains, sorted.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    queued: Vec<(u64, crate::JobId)>,
    running: Vec<u64>,
    /// The jobs with an event that waits.
    due: Vec<i64>,
    /// The jobs whose event is being sent.
    pub(super) sending: Vec<i64>,
}

#[cfg(test)]
impl Index {
    pub(super) fn contents(&self) -> Contents {
        let (mut due, mut sending) = (self.due.waiting(), self.sending.keys().copied().collect::<Vec<_>>());
        due.sort_unstable();
        sending.sort_unstable();
        assert_eq!(due.len() + sending.len(), self.due.len());
        Contents { queued: self.queue.contents(), running: self.queue.running(), due, sending }
    }
}

/// Job numbers are positive.
fn key(number: i64) -> u64 {
    number.unsigned_abs()
}
