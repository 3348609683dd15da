use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the daemon's start, as [`Daemon::stats`](crate::Daemon::stats) returns them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Submissions that created a job.
    pub accepted: u64,
    /// Submissions that returned the job of an earlier submission with the same idempotency key.
    pub replayed: u64,
    /// Submissions that were rejected with 429: by a limit of the queue, of the token or of memory.
    pub refused: u64,
    /// Attempts: calls of the backend for a chat.
    pub executions: u64,
    /// Jobs that ended as `done`.
    pub done: u64,
    /// Jobs that ended as `failed`, except those that were cancelled or missed their deadline.
    pub failed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that failed because they had not started by their deadline.
    pub deadline_missed: u64,
    /// Successful responses to `GET /jobs/{id}`.
    pub polls: u64,
    /// Webhook attempts, retries included.
    pub webhook_attempts: u64,
    /// Webhooks that the receiver acknowledged with a 2xx.
    pub webhooks_delivered: u64,
    /// Webhooks that were given up. A 410 gives up all further webhooks of the job, and counts once.
    pub webhooks_given_up: u64,
    /// Events that were sent by event streams (`GET /events`).
    pub stream_events: u64,
    /// Event streams that could not continue where the client was, or whose client was too slow (`event: reset`).
    pub stream_resets: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) replayed: Counter,
    pub(crate) refused: Counter,
    pub(crate) executions: Counter,
    pub(crate) done: Counter,
    pub(crate) failed: Counter,
    pub(crate) cancelled: Counter,
    pub(crate) deadline_missed: Counter,
    pub(crate) polls: Counter,
    pub(crate) webhook_attempts: Counter,
    pub(crate) webhooks_delivered: Counter,
    pub(crate) webhooks_given_up: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            accepted: self.accepted.get(),
            replayed: self.replayed.get(),
            refused: self.refused.get(),
            executions: self.executions.get(),
            done: self.done.get(),
            failed: self.failed.get(),
            cancelled: self.cancelled.get(),
            deadline_missed: self.deadline_missed.get(),
            polls: self.polls.get(),
            webhook_attempts: self.webhook_attempts.get(),
            webhooks_delivered: self.webhooks_delivered.get(),
            webhooks_given_up: self.webhooks_given_up.get(),
            ..Stats::default()
        }
    }
}
