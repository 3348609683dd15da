use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;

use super::SubmitError;
use super::fenwick_tree::FenwickTree;
use crate::JobId;
use crate::owner::Owner;

/// How many slots of closed batches may remain, beyond two for each queued job.
const SPARE_SLOTS: usize = 64;

/// The queued jobs, in batches of one model each, because loading a model is expensive.
///
/// A job joins the last batch of its model. If that batch is full, it opens a new batch after all others. Batches are taken in
/// the order in which they were opened, and the jobs of a batch in the order of their numbers. At most one batch of each model
/// can still grow, so fewer jobs of another model overtake a job than a batch has.
#[derive(Debug)]
pub(super) struct Queue {
    /// The largest batch, in jobs.
    max_batch: NonZeroUsize,
    /// By their slots in `sizes`. Only the current batch may be empty.
    batches: BTreeMap<usize, Batch>,
    /// The batch that was taken from last, which is the first one. Its model is loaded.
    current: Option<usize>,
    /// The last batch of each model.
    last: HashMap<Box<str>, usize>,
    queued: HashMap<u64, QueuedJob>,
    /// How many jobs each owner has among them.
    of_owners: HashMap<Owner, usize>,
    /// How many jobs are queued in each batch. Its sums give positions without counting.
    sizes: FenwickTree,
}

#[derive(Debug)]
struct Batch {
    model: Box<str>,
    /// Includes the jobs that have left the batch.
    joined: usize,
    numbers: VecDeque<u64>,
}

#[derive(Debug)]
struct QueuedJob {
    batch: usize,
    owner: Owner,
    job_id: JobId,
}

/// How many jobs may be queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) all: usize,
    pub(crate) of_owner: usize,
}

impl Queue {
    pub(super) fn new(max_batch: NonZeroUsize) -> Self {
        Self {
            max_batch,
            batches: BTreeMap::new(),
            current: None,
            last: HashMap::new(),
            queued: HashMap::new(),
            of_owners: HashMap::new(),
            sizes: FenwickTree::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether there is no room for another job of this owner, and why.
    pub(super) fn refuses(&self, owner: Owner, limits: QueueLimits) -> Option<SubmitError> {
        let of_owner = self.of_owners.get(&owner).copied().unwrap_or(0);
        if self.len() >= limits.all {
            Some(SubmitError::Full)
        } else if of_owner >= limits.of_owner {
            Some(SubmitError::TooManyOfOwner)
        } else {
            None
        }
    }

    /// Adds a job, whose number must be larger than those of all jobs before it.
    pub(super) fn push(&mut self, number: u64, model: &str, owner: Owner, job_id: JobId) {
        let slot = self.open_batch(model).unwrap_or_else(|| self.new_batch(model));
        self.add(slot, number, owner, job_id);
    }

    /// Adds a job that was taken before, behind the batches of other models that are queued now.
    pub(super) fn push_behind(&mut self, number: u64, model: &str, owner: Owner, job_id: JobId) {
        let not_current = |slot: &usize| Some(*slot) != self.current;
        let slot = self.open_batch(model).filter(not_current).unwrap_or_else(|| self.new_batch(model));
        self.add(slot, number, owner, job_id);
    }

    fn add(&mut self, slot: usize, number: u64, owner: Owner, job_id: JobId) {
        let Some(batch) = self.batches.get_mut(&slot) else { return };
        batch.joined += 1;
        // In order: a job that was taken before has a lower number than those that came after it.
        let at = batch.numbers.partition_point(|other| *other < number);
        batch.numbers.insert(at, number);
        self.sizes.increment(slot);
        *self.of_owners.entry(owner).or_default() += 1;
        self.queued.insert(number, QueuedJob { batch: slot, owner, job_id });
    }

    pub(super) fn pop(&mut self) -> Option<JobId> {
        let slot = *self.batches.iter().find(|(_, batch)| !batch.numbers.is_empty())?.0;
        if let Some(before) = self.current.replace(slot).filter(|before| *before != slot) {
            self.close_batch(before);
        }
        let number = self.batches.get_mut(&slot)?.numbers.pop_front()?;
        self.sizes.decrement(slot);
        Some(self.take_out(number)?.job_id)
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(QueuedJob { batch: slot, .. }) = self.take_out(number) else { return };
        let Some(batch) = self.batches.get_mut(&slot) else { return };
        if let Ok(at) = batch.numbers.binary_search(&number) {
            batch.numbers.remove(at);
            self.sizes.decrement(slot);
        }
        if batch.numbers.is_empty() && self.current != Some(slot) {
            self.close_batch(slot);
        }
    }

    fn take_out(&mut self, number: u64) -> Option<QueuedJob> {
        let job = self.queued.remove(&number)?;
        if let Entry::Occupied(mut count) = self.of_owners.entry(job.owner) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(job)
    }

    /// The position of a job in the order in which the queued jobs are taken. 1 is next.
    pub(super) fn position(&self, number: u64) -> Option<u64> {
        let slot = self.queued.get(&number)?.batch;
        let within = self.batches.get(&slot)?.numbers.binary_search(&number).ok()?;
        Some((self.sizes.prefix_sum(slot) + within + 1) as u64)
    }

    /// The slot of the batch that a job of this model joins, if there is one.
    fn open_batch(&self, model: &str) -> Option<usize> {
        let slot = *self.last.get(model)?;
        (self.batches.get(&slot)?.joined < self.max_batch.get()).then_some(slot)
    }

    fn new_batch(&mut self, model: &str) -> usize {
        if self.sizes.len() > 2 * self.queued.len() + SPARE_SLOTS {
            self.compact();
        }
        let slot = self.sizes.len();
        self.sizes.push(0);
        self.batches.insert(slot, Batch { model: model.into(), joined: 0, numbers: VecDeque::new() });
        self.last.insert(model.into(), slot);
        slot
    }

    fn close_batch(&mut self, slot: usize) {
        let Some(batch) = self.batches.remove(&slot) else { return };
        if self.last.get(&batch.model) == Some(&slot) {
            self.last.remove(&batch.model);
        }
    }

    /// Renumbers the slots without gaps. It runs rarely enough that its amortized cost is a few steps for each job.
    fn compact(&mut self) {
        self.sizes = FenwickTree::default();
        self.current = self.current.map(|_| 0);
        for (slot, batch) in std::mem::take(&mut self.batches).into_values().enumerate() {
            self.sizes.push(batch.numbers.len());
            for number in &batch.numbers {
                if let Some(job) = self.queued.get_mut(number) {
                    job.batch = slot;
                }
            }
            self.last.insert(batch.model.clone(), slot);
            self.batches.insert(slot, batch);
        }
    }
}

#[cfg(test)]
impl Queue {
    /// The queued jobs, sorted by number.
    pub(super) fn contents(&self) -> Vec<(u64, JobId)> {
        let mut jobs: Vec<_> = self.queued.iter().map(|(number, job)| (*number, job.job_id.clone())).collect();
        jobs.sort_unstable_by_key(|(number, _)| *number);
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(most: usize) -> Queue {
        Queue::new(NonZeroUsize::new(most).unwrap())
    }

    fn push(queue: &mut Queue, number: u64, model: &str) {
        queue.push(number, model, Owner::ANONYMOUS, JobId::new(number.to_string()).unwrap());
    }

    fn pop(queue: &mut Queue) -> Option<u64> {
        queue.pop().map(|job_id| job_id.as_str().parse().unwrap())
    }

    fn all(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| pop(queue)).collect()
    }

    #[test]
    fn batch_of_one_is_fifo() {
        let mut queue = queue(1);
        for number in 1..=9 {
            push(&mut queue, number, ["a", "b"][usize::try_from(number).unwrap() % 2]);
        }
        queue.remove(4);
        assert_eq!(queue.position(5), Some(4));
        assert_eq!(all(&mut queue), [1, 2, 3, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn owner_has_a_limit_of_its_own() {
        let (mut queue, limits) = (queue(2), QueueLimits { all: 3, of_owner: 2 });
        let [one, other] = [&b"one"[..], b"other"].map(Owner::from_token);
        let push = |queue: &mut Queue, number: u64, owner| {
            let refused = queue.refuses(owner, limits);
            if refused.is_none() {
                queue.push(number, "m", owner, JobId::new(number.to_string()).unwrap());
            }
            refused
        };
        assert_eq!([1, 2].map(|number| push(&mut queue, number, one)), [None, None]);
        assert_eq!(push(&mut queue, 3, one), Some(SubmitError::TooManyOfOwner));
        assert_eq!(push(&mut queue, 3, other), None);
        assert_eq!(push(&mut queue, 4, other), Some(SubmitError::Full));
        pop(&mut queue);
        queue.remove(2);
        assert_eq!([4, 5].map(|number| push(&mut queue, number, one)), [None, None]);
        assert_eq!(queue.of_owners.len(), 2);
        assert_eq!(all(&mut queue).len(), 3);
        assert!(queue.of_owners.is_empty());
    }

    #[test]
    fn job_that_is_queued_again_is_behind_other_models() {
        let mut queue = queue(8);
        for (number, model) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            push(&mut queue, number, model);
        }
        let again = |queue: &mut Queue, number: u64| {
            queue.push_behind(number, "a", Owner::ANONYMOUS, JobId::new(number.to_string()).unwrap());
        };
        assert_eq!(pop(&mut queue), Some(1));
        again(&mut queue, 1);
        assert_eq!([1, 2, 3, 4].map(|number| queue.position(number)), [4, 1, 2, 3].map(Some));
        assert_eq!(pop(&mut queue), Some(2));
        again(&mut queue, 2);
        push(&mut queue, 5, "a");
        assert_eq!([1, 2, 3, 4, 5].map(|number| queue.position(number)), [3, 4, 1, 2, 5].map(Some));
        assert_eq!(all(&mut queue), [3, 4, 1, 2, 5]);
    }

    #[test]
    fn model_switches_once_per_batch() {
        let mut queue = queue(3);
        for number in 1..=12 {
            push(&mut queue, number, if number % 2 == 1 { "odd" } else { "even" });
        }
        assert_eq!(all(&mut queue), [1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
    }

    #[test]
    fn current_batch_continues_until_full() {
        let mut queue = queue(3);
        push(&mut queue, 1, "a");
        assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(1), None));
        push(&mut queue, 2, "b");
        for number in 3..=5 {
            push(&mut queue, number, "a");
        }
        assert_eq!([2, 3, 4, 5].map(|number| queue.position(number)), [3, 1, 2, 4].map(Some));
        assert_eq!(all(&mut queue), [3, 4, 2, 5]);
        // No other job was queued when the batch became full, so the next job is first.
        push(&mut queue, 6, "a");
        assert_eq!(queue.position(6), Some(1));
    }

    /// The bounds that the crate's docs promise, under random submissions, takes and cancellations.
    #[test]
    fn overtaking_is_bounded_by_batch_size() {
        const MODELS: [&str; 4] = ["a", "b", "c", "d"];
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (most, cancels) = (random.usize(1..6), seed % 2 == 1);
            let mut queue = queue(most);
            // By number: the model, how many younger jobs of each model overtook it, and how many while it was the oldest.
            let mut jobs = vec![(0, [0; 4], 0)];
            let mut waiting: Vec<usize> = Vec::new();
            for _ in 0..400 {
                match random.u8(..10) {
                    0..5 => {
                        // One model is much more frequent than the others.
                        let model = random.usize(..8).min(3);
                        push(&mut queue, jobs.len() as u64, MODELS[model]);
                        waiting.push(jobs.len());
                        jobs.push((model, [0; 4], 0));
                    }
                    5 if cancels && !waiting.is_empty() => {
                        queue.remove(waiting.remove(random.usize(..waiting.len())) as u64);
                    }
                    _ => {
                        let taken = pop(&mut queue).map(|number| usize::try_from(number).unwrap());
                        assert_eq!(taken.is_some(), !waiting.is_empty(), "seed {seed}");
                        let Some(taken) = taken else { continue };
                        let model = jobs[taken].0;
                        jobs[waiting[0]].2 += usize::from(waiting[0] != taken);
                        waiting.retain(|number| *number != taken);
                        for older in waiting.iter().filter(|number| **number < taken) {
                            assert_ne!(jobs[*older].0, model, "one model is FIFO: seed {seed}");
                            jobs[*older].1[model] += 1;
                        }
                    }
                }
                let mut positions: Vec<_> =
                    waiting.iter().map(|number| queue.position(*number as u64).unwrap()).collect();
                positions.sort_unstable();
                assert!(positions.into_iter().eq(1..=waiting.len() as u64), "seed {seed}");
                assert_eq!((queue.len(), queue.position(0)), (waiting.len(), None));
            }
            for (_, overtaken, passed) in &jobs {
                assert!(overtaken.iter().all(|by| *by < most), "seed {seed}");
                // After a cancellation, the oldest job may wait for more than one batch.
                assert!(cancels || *passed < most, "seed {seed}");
            }
            // Jobs are taken in the order of their positions.
            let mut expected: Vec<_> =
                waiting.iter().map(|number| (queue.position(*number as u64), *number as u64)).collect();
            expected.sort_unstable();
            assert_eq!(all(&mut queue), expected.iter().map(|(_, number)| *number).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn closed_batches_use_no_memory() {
        let mut queue = queue(8);
        push(&mut queue, 1, "runs");
        pop(&mut queue);
        push(&mut queue, 2, "waits");
        for number in 3..10_000 {
            push(&mut queue, number, &number.to_string());
            assert_eq!(queue.position(number), Some(2));
            queue.remove(number);
        }
        assert_eq!((queue.batches.len(), queue.last.len(), queue.queued.len()), (2, 2, 1));
        assert!(queue.sizes.len() <= 2 + SPARE_SLOTS + 1, "{}", queue.sizes.len());
        assert_eq!(pop(&mut queue), Some(2));
    }
}
