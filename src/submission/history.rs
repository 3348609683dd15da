use std::collections::VecDeque;

use jiff::Timestamp;

use crate::{JobState, JobStatus};

/// How many states a stream that is not read keeps; older ones are dropped.
const KEPT: usize = 64;

/// A state that a job was seen in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The state.
    pub state: JobState,
    /// When the job came into it, by the daemon's clock, if the daemon said so.
    pub at: Option<Timestamp>,
    /// What told of it first.
    pub via: Via,
}

/// What told of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// A webhook of the daemon.
    Webhook,
    /// An answer to a poll.
    Poll,
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
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
        Self { state: status.state.clone(), at, via }
    }
}

/// The states seen since somebody asked, numbered, so that each stream has a place of its own in them.
#[derive(Debug, Default)]
pub(super) struct History {
    first: u64,
    changes: VecDeque<StateChange>,
}

impl History {
    pub(super) fn push(&mut self, change: StateChange) {
        if self.changes.len() == KEPT {
            self.changes.pop_front();
            self.first += 1;
        }
        self.changes.push_back(change);
    }

    /// The change at or after `place`, which moves behind it.
    pub(super) fn next(&self, place: &mut u64) -> Option<StateChange> {
        let at = (*place).max(self.first);
        let change = self.changes.get(usize::try_from(at - self.first).ok()?)?;
        *place = at + 1;
        Some(change.clone())
    }
}
