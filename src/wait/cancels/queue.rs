use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::attempts::Attempts;
use super::outcomes::Outcomes;
use super::workers::Workers;
use crate::submission::DropPolicy;
use crate::{JobId, SubmitRequest};

/// What was abandoned.
pub(super) enum Abandoned {
    Job(JobId, DropPolicy),
    /// The response to this submission was not waited for.
    Submission(SubmitRequest),
}

/// What was abandoned, and what has been tried.
pub(super) struct Item {
    pub(super) abandoned: Abandoned,
    pub(super) attempts: Attempts,
}

/// What is to be cancelled or found. It has no clock.
///
/// Jobs and submissions are apart: a full queue refuses submissions, and must not keep the cancels from emptying it.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Item>,
    submissions: VecDeque<Item>,
    /// To be tried again, by the time of it and a number.
    delayed: BTreeMap<(Instant, u64), Item>,
    /// How many items were delayed so far.
    last: u64,
    pub(super) workers: Workers,
    /// The jobs that are being cancelled.
    pub(super) active: Vec<JobId>,
    /// Since [`Cancels::record`](super::Cancels::record) was called.
    pub(super) outcomes: Option<Outcomes>,
}

/// The pauses that the daemon has asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paused {
    pub(super) cancels: Option<Instant>,
    pub(super) submissions: Option<Instant>,
}

/// Until when no item may be tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum NotBefore {
    /// The daemon has asked for a pause.
    Pause(Instant),
    /// An item that failed is to be tried again.
    Delay(Instant),
}

impl NotBefore {
    fn time(&self) -> Instant {
        let (Self::Pause(time) | Self::Delay(time)) = self;
        *time
    }
}

impl Queue {
    pub(super) fn push(&mut self, abandoned: Abandoned) {
        self.push_item(Item { abandoned, attempts: Attempts::default() });
    }

    fn push_item(&mut self, item: Item) {
        let queue = match item.abandoned {
            Abandoned::Job(..) => &mut self.jobs,
            Abandoned::Submission(_) => &mut self.submissions,
        };
        queue.push_back(item);
    }

    /// The item is to be tried again then.
    pub(super) fn delay(&mut self, item: Item, until: Instant) {
        self.last += 1;
        self.delayed.insert((until, self.last), item);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.submissions.is_empty() && self.delayed.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.submissions.len() + self.delayed.len()
    }

    /// A submission that waits. All are of one client, and pause together.
    pub(super) fn submission(&self) -> Option<&SubmitRequest> {
        self.submissions.front().and_then(|item| match &item.abandoned {
            Abandoned::Submission(request) => Some(request),
            Abandoned::Job(..) => None,
        })
    }

    /// Moves what may be tried again by now to the queue of its kind.
    pub(super) fn ripen(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let item = entry.remove();
            self.push_item(item);
        }
    }

    /// The next item, if one may be tried now. Cancels go first.
    pub(super) fn pop(&mut self, paused: Paused) -> Option<Item> {
        let jobs = paused.cancels.is_none().then_some(&mut self.jobs);
        let submissions = paused.submissions.is_none().then_some(&mut self.submissions);
        jobs.into_iter().chain(submissions).find_map(VecDeque::pop_front)
    }

    /// Until when none may be tried, if [`pop`](Self::pop) has returned none. `None` if there is none.
    pub(super) fn not_before(&self, paused: Paused) -> Option<NotBefore> {
        let jobs = paused.cancels.filter(|_| !self.jobs.is_empty());
        let submissions = paused.submissions.filter(|_| !self.submissions.is_empty());
        let pause = jobs.into_iter().chain(submissions).min().map(NotBefore::Pause);
        let delayed = self.delayed.first_key_value().map(|((until, _), _)| NotBefore::Delay(*until));
        pause.into_iter().chain(delayed).min_by_key(NotBefore::time)
    }

    /// The jobs that wait to be cancelled or are being cancelled.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &JobId> {
        let waiting = self.jobs.iter().chain(self.delayed.values()).filter_map(|item| match &item.abandoned {
            Abandoned::Job(job_id, _) => Some(job_id),
            Abandoned::Submission(_) => None,
        });
        waiting.chain(&self.active)
    }

    /// Empties it.
    pub(super) fn take(&mut self) -> Vec<Item> {
        let delayed = std::mem::take(&mut self.delayed).into_values();
        self.jobs.drain(..).chain(self.submissions.drain(..)).chain(delayed).collect()
    }
}
