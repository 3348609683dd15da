mod lane;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;

use jiff::Timestamp;

use self::lane::Lane;
use super::{SubmitError, Wanted};
use crate::JobId;
use crate::owner::Owner;

/// The queued jobs, and which jobs run.
///
/// The owners take turns. In its turn an owner runs one [batch](super::batches::Batches) of its jobs, of those with the highest
/// priority. Its turn ends early if it runs as many jobs as one owner may, or if one of its jobs with a higher priority comes.
#[derive(Debug)]
pub(super) struct Queue {
    max_batch: NonZeroUsize,
    limits: QueueLimits,
    /// The owners with queued jobs, and the one whose turn it is.
    lanes: HashMap<Owner, Lane>,
    /// The owners in the order of their next turns.
    turns: BTreeMap<u64, Owner>,
    /// How many turns have been given.
    given: u64,
    /// The owner whose turn it is at each backend.
    current: BTreeMap<usize, Owner>,
    queued: HashMap<u64, QueuedJob>,
    /// By their numbers.
    running: HashMap<u64, Owner>,
    running_of: HashMap<Owner, usize>,
    deadlines: BTreeSet<(Timestamp, u64)>,
}

/// A job for the queue.
#[derive(Debug, Clone)]
pub(super) struct QueuedJob {
    pub(super) owner: Owner,
    /// The jobs of an owner with a higher one are first.
    pub(super) priority: i8,
    /// When it fails if it has not been started.
    pub(super) start_by: Option<Timestamp>,
    pub(super) job_id: JobId,
}

/// How many jobs may be queued, and run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) all: usize,
    pub(crate) of_owner: usize,
    pub(crate) running_of_owner: usize,
}

impl Queue {
    pub(super) fn new(max_batch: NonZeroUsize, limits: QueueLimits) -> Self {
        Self {
            max_batch,
            limits,
            lanes: HashMap::new(),
            turns: BTreeMap::new(),
            given: 0,
            current: BTreeMap::new(),
            queued: HashMap::new(),
            running: HashMap::new(),
            running_of: HashMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// How many jobs are queued.
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether there is no room for another job of this owner, and why.
    pub(super) fn refuses(&self, owner: Owner) -> Option<SubmitError> {
        let of_owner = self.lanes.get(&owner).map_or(0, Lane::len);
        if self.len() >= self.limits.all {
            Some(SubmitError::Full)
        } else if of_owner >= self.limits.of_owner {
            Some(SubmitError::TooManyOfOwner)
        } else {
            None
        }
    }

    /// Adds a job, whose number must be larger than those of all jobs before it.
    pub(super) fn push(&mut self, number: u64, model: &str, job: QueuedJob) {
        self.lane(job.owner).priority(job.priority).push(number, model);
        self.insert(number, job);
    }

    /// Adds a job that has run, behind the batches of its owner's other models that are queued now. Returns its priority, which becomes
    /// the lowest of these jobs: they may run although this one cannot.
    pub(super) fn push_behind(&mut self, number: u64, model: &str, job: QueuedJob) -> i8 {
        self.ended(number);
        let lane = self.lane(job.owner);
        let priority = lane.lowest_priority().map_or(job.priority, |lowest| lowest.min(job.priority));
        lane.priority(priority).push_behind(number, model);
        self.insert(number, QueuedJob { priority, ..job });
        priority
    }

    fn insert(&mut self, number: u64, job: QueuedJob) {
        self.deadlines.extend(job.start_by.map(|at| (at, number)));
        self.queued.insert(number, job);
    }

    /// Whether there is a job that is wanted and may run.
    #[cfg(any(test, feature = "sqlite"))]
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        self.lanes.iter().any(|(owner, lane)| lane.has(wanted) && self.may_run(*owner))
    }

    /// Takes the next job that is wanted. It runs until it [has ended](Self::ended).
    pub(super) fn pop(&mut self, wanted: &Wanted) -> Option<(u64, JobId)> {
        let current = self.current.get(&wanted.backend).copied().filter(|owner| self.may_run(*owner));
        let owner = match current {
            Some(owner) if self.lanes.get(&owner).is_some_and(|lane| lane.continues(wanted)) => owner,
            _ => self.next_turn(wanted)?,
        };
        let number = self.lanes.get_mut(&owner)?.pop(wanted)?;
        self.run(number, owner);
        self.take_out(number).map(|job| (number, job.job_id))
    }

    /// Records that a job runs.
    pub(super) fn run(&mut self, number: u64, owner: Owner) {
        if self.running.insert(number, owner).is_none() {
            *self.running_of.entry(owner).or_default() += 1;
        }
    }

    /// Records that a job does not run any more. Does nothing if it did not.
    pub(super) fn ended(&mut self, number: u64) {
        let Some(owner) = self.running.remove(&number) else { return };
        let Entry::Occupied(mut running) = self.running_of.entry(owner) else { return };
        *running.get_mut() -= 1;
        if *running.get() == 0 {
            running.remove();
        }
    }

    /// Removes a queued job. Does nothing if it is not queued.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(QueuedJob { owner, priority, .. }) = self.take_out(number) else { return };
        let Entry::Occupied(mut lane) = self.lanes.entry(owner) else { return };
        lane.get_mut().remove(number, priority);
        if lane.get().len() == 0 && !is_current(&self.current, owner) {
            self.turns.remove(&lane.remove().turn);
        }
    }

    /// The position of a job in the order in which the queued jobs are taken if each ends before the next one is taken. 1 is next. With
    /// several backends, which take jobs in orders of their own, it is an estimate.
    pub(super) fn position(&self, number: u64) -> Option<u64> {
        let job = self.queued.get(&number)?;
        let lane = self.lanes.get(&job.owner)?;
        let place = lane.place(number, job.priority)?;
        let continues = |owner: Owner, lane: &Lane| is_current(&self.current, owner) && lane.is_in_progress();
        // How many turns its owner has before that of the job. The batch that runs now takes none of them.
        let turns = match (continues(job.owner, lane), place.batches) {
            (true, 0) => return Some((place.jobs + 1) as u64),
            (true, batches) => batches - 1,
            (false, batches) => batches,
        };
        let before_it = |(owner, other): (&Owner, &Lane)| {
            let is_earlier = self.order(*owner, other) < self.order(job.owner, lane);
            let batches = turns + usize::from(is_earlier) + usize::from(continues(*owner, other));
            other.jobs_in_first(batches)
        };
        let of_others: usize = self.lanes.iter().filter(|(owner, _)| **owner != job.owner).map(before_it).sum();
        Some((of_others + place.jobs + 1) as u64)
    }

    /// The earliest deadline of a queued job.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A job whose time has passed.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<JobId> {
        let (at, number) = self.deadlines.first()?;
        (*at < now).then(|| self.queued.get(number).map(|job| job.job_id.clone()))?
    }

    /// The one whose turn it is comes last.
    fn order(&self, owner: Owner, lane: &Lane) -> (bool, u64) {
        (is_current(&self.current, owner), lane.turn)
    }

    fn may_run(&self, owner: Owner) -> bool {
        self.running_of.get(&owner).copied().unwrap_or(0) < self.limits.running_of_owner
    }

    fn lane(&mut self, owner: Owner) -> &mut Lane {
        self.lanes.entry(owner).or_insert_with(|| {
            self.given += 1;
            self.turns.insert(self.given, owner);
            Lane::new(self.given, self.max_batch)
        })
    }

    /// Ends the turn of the owner whose turn it is at this backend. Returns the first one that has a job that is wanted and may run it,
    /// whose turn it is now.
    fn next_turn(&mut self, wanted: &Wanted) -> Option<Owner> {
        let current = self.current.get(&wanted.backend).copied();
        let may_start =
            |owner: &Owner| self.may_run(*owner) && self.lanes.get(owner).is_some_and(|lane| lane.has(wanted));
        let others = self.turns.values().copied().filter(|owner| current != Some(*owner));
        let next = others.chain(current).find(may_start)?;
        self.current.insert(wanted.backend, next);
        if let Some(owner) = current
            && let Entry::Occupied(mut lane) = self.lanes.entry(owner)
        {
            lane.get_mut().end_turn(wanted.backend);
            self.turns.remove(&lane.get().turn);
            if lane.get().len() == 0 && !is_current(&self.current, owner) {
                lane.remove();
            } else {
                self.given += 1;
                lane.get_mut().turn = self.given;
                self.turns.insert(self.given, owner);
            }
        }
        Some(next)
    }

    fn take_out(&mut self, number: u64) -> Option<QueuedJob> {
        let job = self.queued.remove(&number)?;
        if let Some(at) = job.start_by {
            self.deadlines.remove(&(at, number));
        }
        Some(job)
    }
}

fn is_current(current: &BTreeMap<usize, Owner>, owner: Owner) -> bool {
    current.values().any(|current| *current == owner)
}

#[cfg(test)]
impl Queue {
    /// The queued jobs, sorted by number.
    pub(super) fn contents(&self) -> Vec<(u64, JobId)> {
        let mut jobs: Vec<_> = self.queued.iter().map(|(number, job)| (*number, job.job_id.clone())).collect();
        jobs.sort_unstable_by_key(|(number, _)| *number);
        jobs
    }

    /// The running jobs, sorted by number.
    pub(super) fn running(&self) -> Vec<u64> {
        let mut running: Vec<_> = self.running.keys().copied().collect();
        running.sort_unstable();
        running
    }
}

#[cfg(test)]
mod tests;
