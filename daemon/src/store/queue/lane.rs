use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::store::Wanted;
use crate::store::batches::{Batches, Place};

/// The queued jobs of one owner: batches for each priority.
#[derive(Debug)]
pub(super) struct Lane {
    /// Owners with a smaller one have their next turn earlier.
    pub(super) turn: u64,
    max_batch: NonZeroUsize,
    /// The highest priority first. Only a current one may be empty.
    priorities: BTreeMap<Reverse<i8>, Batches>,
    /// The priority that each backend has taken from last.
    current: BTreeMap<usize, i8>,
}

impl Lane {
    pub(super) fn new(turn: u64, max_batch: NonZeroUsize) -> Self {
        Self { turn, max_batch, priorities: BTreeMap::new(), current: BTreeMap::new() }
    }

    /// How many jobs there are.
    pub(super) fn len(&self) -> usize {
        self.priorities.values().map(Batches::len).sum()
    }

    /// The jobs of a priority, to add one.
    pub(super) fn priority(&mut self, priority: i8) -> &mut Batches {
        let max_batch = self.max_batch;
        self.priorities.entry(Reverse(priority)).or_insert_with(|| Batches::new(max_batch))
    }

    /// The lowest priority of a job.
    pub(super) fn lowest_priority(&self) -> Option<i8> {
        let with_jobs = self.priorities.iter().rfind(|(_, batches)| batches.len() > 0);
        with_jobs.map(|(Reverse(priority), _)| *priority)
    }

    /// Whether there is a job that is wanted.
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        self.priorities.values().any(|batches| batches.has(wanted))
    }

    /// Whether the next job continues the batch that this backend has taken from last.
    pub(super) fn continues(&self, wanted: &Wanted) -> bool {
        let first = self.priorities.iter().find(|(_, batches)| batches.has(wanted));
        let current = self.current.get(&wanted.backend);
        first.is_some_and(|(Reverse(priority), batches)| current == Some(priority) && batches.continues(wanted))
    }

    /// Whether the first jobs are those of a batch that a backend has taken from.
    pub(super) fn is_in_progress(&self) -> bool {
        self.priorities.values().find(|batches| batches.len() > 0).is_some_and(Batches::is_in_progress)
    }

    /// Takes the next job that is wanted.
    pub(super) fn pop(&mut self, wanted: &Wanted) -> Option<u64> {
        let (Reverse(priority), batches) = self.priorities.iter_mut().find(|(_, batches)| batches.has(wanted))?;
        self.current.insert(wanted.backend, *priority);
        batches.pop(wanted)
    }

    /// Ends the turn of the owner at this backend.
    pub(super) fn end_turn(&mut self, backend: usize) {
        let Some(priority) = self.current.remove(&backend) else { return };
        if let Some(batches) = self.priorities.get_mut(&Reverse(priority)) {
            batches.end_turn(backend);
            self.remove_if_unused(priority);
        }
    }

    pub(super) fn remove(&mut self, number: u64, priority: i8) {
        let Some(batches) = self.priorities.get_mut(&Reverse(priority)) else { return };
        batches.remove(number);
        self.remove_if_unused(priority);
    }

    fn remove_if_unused(&mut self, priority: i8) {
        let is_empty = self.priorities.get(&Reverse(priority)).is_some_and(|batches| batches.len() == 0);
        if is_empty && !self.current.values().any(|current| *current == priority) {
            self.priorities.remove(&Reverse(priority));
        }
    }

    /// The place of a job in the order in which the jobs of this owner are taken.
    pub(super) fn place(&self, number: u64, priority: i8) -> Option<Place> {
        let place = self.priorities.get(&Reverse(priority))?.place(number)?;
        let higher = self.priorities.range(..Reverse(priority)).map(|(_, batches)| batches);
        Some(higher.fold(place, |place, batches| Place {
            batches: place.batches + batches.filled(),
            jobs: place.jobs + batches.len(),
        }))
    }

    /// How many jobs the first batches have, so many of them.
    pub(super) fn jobs_in_first(&self, batches: usize) -> usize {
        let (mut rest, mut jobs) = (batches, 0);
        for batches in self.priorities.values() {
            if rest == 0 {
                break;
            }
            jobs += batches.jobs_in_first(rest);
            rest = rest.saturating_sub(batches.filled());
        }
        jobs
    }
}
