use std::collections::VecDeque;

use jiff::Timestamp;

use crate::{JobState, JobStatus};

/// How many changes the history holds; older ones are dropped.
const CAPACITY: usize = 64;

/// A state that a job was seen in, or a new position in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The state.
    pub state: JobState,
    /// When the job entered it, by the daemon's clock. `None` if the daemon did not send the time.
    pub at: Option<Timestamp>,
    /// The place in the queue of a job in state `queued`, where 1 is next. It grows if the daemon takes a later job first. `None` if
    /// the daemon did not send it.
    pub position: Option<u64>,
    /// The source that reported it first.
    pub via: Via,
}

/// The source that reported a state. A poll that an event has caused is a [`Poll`](Via::Poll); [`WaitStats`](crate::wait::WaitStats)
/// counts the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// A webhook of the daemon.
    Webhook,
    /// The response to a poll.
    Poll,
    /// The event stream of the daemon (`GET /events`).
    EventStream,
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::EventStream => "event stream",
        })
    }
}

impl StateChange {
    pub(super) fn of(status: &JobStatus, via: Via) -> Self {
        let at = match status.state {
            JobState::Queued => status.created_at,
            JobState::Running => status.started_at,
            JobState::Done | JobState::Failed => status.completed_at,
            _ => None,
        };
        let position = status.position.filter(|_| status.state == JobState::Queued);
        Self { state: status.state.clone(), at, position, via }
    }
}

/// The changes seen since somebody asked for them. They are numbered, so that each stream has a position of its own.
#[derive(Debug, Default)]
pub(super) struct History {
    first: u64,
    changes: VecDeque<StateChange>,
}

impl History {
    pub(super) fn push(&mut self, change: StateChange) {
        if self.changes.len() == CAPACITY {
            self.changes.pop_front();
            self.first += 1;
        }
        self.changes.push_back(change);
    }

    pub(super) fn last(&self) -> Option<&StateChange> {
        self.changes.back()
    }

    /// The change with the number `next`, or the oldest after it. `next` becomes the number after it.
    pub(super) fn next(&self, next: &mut u64) -> Option<StateChange> {
        let at = (*next).max(self.first);
        let change = self.changes.get(usize::try_from(at - self.first).ok()?)?;
        *next = at + 1;
        Some(change.clone())
    }
}
