use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroUsize;

use super::Wanted;
use super::fenwick_tree::FenwickTree;

/// How many slots of closed batches may remain, beyond two for each queued job.
const SPARE_SLOTS: usize = 64;

/// Queued jobs in batches of one model each, because loading a model is expensive.
///
/// A job joins the last batch of its model. If that batch is full, it opens a new batch after all others. Batches are taken in
/// the order in which they were opened, and the jobs of a batch in the order of their numbers. At most one batch of each model
/// can still grow, so fewer jobs of another model overtake a job than a batch has.
#[derive(Debug)]
pub(super) struct Batches {
    /// The largest batch, in jobs.
    max_batch: NonZeroUsize,
    /// By their slots in `sizes`. Only a current batch may be empty.
    batches: BTreeMap<usize, Batch>,
    /// The batch that each backend has taken from last. It has the model loaded.
    current: BTreeMap<usize, usize>,
    /// The batches of each model that are not empty.
    by_model: HashMap<Box<str>, BTreeSet<usize>>,
    /// The last batch of each model.
    last: HashMap<Box<str>, usize>,
    /// The batch of each job, by its number.
    slots: HashMap<u64, usize>,
    /// How many jobs are queued in each batch. Its sums give positions without counting.
    sizes: FenwickTree,
    /// 1 for each batch that is not empty.
    filled: FenwickTree,
}

#[derive(Debug)]
struct Batch {
    model: Box<str>,
    /// Includes the jobs that have left the batch.
    joined: usize,
    numbers: VecDeque<u64>,
}

/// What is taken before a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many batches are before its own.
    pub(super) batches: usize,
    /// How many jobs are before it in all.
    pub(super) jobs: usize,
}

impl Batches {
    pub(super) fn new(max_batch: NonZeroUsize) -> Self {
        Self {
            max_batch,
            batches: BTreeMap::new(),
            current: BTreeMap::new(),
            by_model: HashMap::new(),
            last: HashMap::new(),
            slots: HashMap::new(),
            sizes: FenwickTree::default(),
            filled: FenwickTree::default(),
        }
    }

    /// How many jobs there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many batches have jobs.
    pub(super) fn filled(&self) -> usize {
        self.filled.prefix_sum(self.filled.len())
    }

    /// Adds a job, whose number must be larger than those of all jobs before it.
    pub(super) fn push(&mut self, number: u64, model: &str) {
        let slot = self.open_batch(model).unwrap_or_else(|| self.new_batch(model));
        self.add(slot, number);
    }

    /// Adds a job that was taken before, behind the batches of other models that are queued now.
    pub(super) fn push_behind(&mut self, number: u64, model: &str) {
        let slot = self.open_batch(model).filter(|slot| !self.is_current(*slot));
        let slot = slot.unwrap_or_else(|| self.new_batch(model));
        self.add(slot, number);
    }

    fn add(&mut self, slot: usize, number: u64) {
        let Some(batch) = self.batches.get_mut(&slot) else { return };
        batch.joined += 1;
        // In order: a job that was taken before has a lower number than those that came after it.
        let at = batch.numbers.partition_point(|other| *other < number);
        batch.numbers.insert(at, number);
        self.sizes.increment(slot);
        if batch.numbers.len() == 1 {
            self.filled.increment(slot);
            self.by_model.entry(batch.model.clone()).or_default().insert(slot);
        }
        self.slots.insert(number, slot);
    }

    /// Whether there is a job that is wanted.
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        match wanted.models {
            None => self.len() > 0,
            Some(_) => self.by_model.keys().any(|model| wanted.accepts(model)),
        }
    }

    /// Whether the next job continues the batch that this backend has taken from last.
    pub(super) fn continues(&self, wanted: &Wanted) -> bool {
        self.current_with_jobs(wanted).is_some()
    }

    /// Whether a backend has taken from a batch that has jobs left.
    pub(super) fn is_in_progress(&self) -> bool {
        self.current.values().any(|slot| self.has_jobs(*slot))
    }

    /// Takes the next job that is wanted.
    pub(super) fn pop(&mut self, wanted: &Wanted) -> Option<u64> {
        let slot = self.first(wanted)?;
        if let Some(before) = self.current.insert(wanted.backend, slot).filter(|before| *before != slot) {
            self.close_if_empty(before);
        }
        let number = self.batches.get_mut(&slot)?.numbers.pop_front()?;
        self.left(slot);
        self.slots.remove(&number);
        Some(number)
    }

    /// Ends the turn of the batch that this backend has taken from last: jobs of its model that come later are in another one,
    /// unless it has some left.
    pub(super) fn end_turn(&mut self, backend: usize) {
        if let Some(slot) = self.current.remove(&backend) {
            self.close_if_empty(slot);
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(slot) = self.slots.remove(&number) else { return };
        let Some(batch) = self.batches.get_mut(&slot) else { return };
        let Ok(at) = batch.numbers.binary_search(&number) else { return };
        batch.numbers.remove(at);
        self.left(slot);
        self.close_if_empty(slot);
    }

    /// The place of a job in the order in which the jobs are taken.
    pub(super) fn place(&self, number: u64) -> Option<Place> {
        let slot = *self.slots.get(&number)?;
        let within = self.batches.get(&slot)?.numbers.binary_search(&number).ok()?;
        Some(Place { batches: self.filled.prefix_sum(slot), jobs: self.sizes.prefix_sum(slot) + within })
    }

    /// How many jobs the first batches have, so many of them.
    pub(super) fn jobs_in_first(&self, batches: usize) -> usize {
        self.sizes.prefix_sum(self.filled.index_of_sum(batches))
    }

    /// A backend goes on with its own batch, then takes the first one that no other backend has, then shares one.
    fn first(&self, wanted: &Wanted) -> Option<usize> {
        self.current_with_jobs(wanted)
            .or_else(|| self.first_of(wanted, |slot| !self.is_current(slot)))
            .or_else(|| self.first_of(wanted, |_| true))
    }

    fn first_of(&self, wanted: &Wanted, is_free: impl Fn(usize) -> bool) -> Option<usize> {
        if wanted.models.is_none() {
            return self.batches.keys().copied().find(|slot| self.has_jobs(*slot) && is_free(*slot));
        }
        let of_models = self.by_model.iter().filter(|(model, _)| wanted.accepts(model));
        of_models.filter_map(|(_, slots)| slots.iter().copied().find(|slot| is_free(*slot))).min()
    }

    fn current_with_jobs(&self, wanted: &Wanted) -> Option<usize> {
        let is_wanted = |batch: &Batch| !batch.numbers.is_empty() && wanted.accepts(&batch.model);
        self.current.get(&wanted.backend).copied().filter(|slot| self.batches.get(slot).is_some_and(is_wanted))
    }

    fn is_current(&self, slot: usize) -> bool {
        self.current.values().any(|current| *current == slot)
    }

    fn has_jobs(&self, slot: usize) -> bool {
        self.batches.get(&slot).is_some_and(|batch| !batch.numbers.is_empty())
    }

    /// A job has left its batch.
    fn left(&mut self, slot: usize) {
        self.sizes.decrement(slot);
        let Some(batch) = self.batches.get(&slot).filter(|batch| batch.numbers.is_empty()) else { return };
        self.filled.decrement(slot);
        if let Some(slots) = self.by_model.get_mut(&batch.model) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.by_model.remove(&batch.model);
            }
        }
    }

    /// The slot of the batch that a job of this model joins, if there is one.
    fn open_batch(&self, model: &str) -> Option<usize> {
        let slot = *self.last.get(model)?;
        (self.batches.get(&slot)?.joined < self.max_batch.get()).then_some(slot)
    }

    fn new_batch(&mut self, model: &str) -> usize {
        if self.sizes.len() > 2 * self.slots.len() + SPARE_SLOTS {
            self.compact();
        }
        let slot = self.sizes.len();
        self.sizes.push(0);
        self.filled.push(0);
        self.batches.insert(slot, Batch { model: model.into(), joined: 0, numbers: VecDeque::new() });
        self.last.insert(model.into(), slot);
        slot
    }

    fn close_if_empty(&mut self, slot: usize) {
        if self.has_jobs(slot) || self.is_current(slot) {
            return;
        }
        let Some(batch) = self.batches.remove(&slot) else { return };
        if self.last.get(&batch.model) == Some(&slot) {
            self.last.remove(&batch.model);
        }
    }

    /// Renumbers the slots without gaps. It runs rarely enough that its amortized cost is a few steps for each job.
    fn compact(&mut self) {
        (self.sizes, self.filled) = (FenwickTree::default(), FenwickTree::default());
        self.by_model.clear();
        for (slot, (before, batch)) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            // Slots only become smaller, so that none is moved twice.
            self.current.values_mut().filter(|current| **current == before).for_each(|current| *current = slot);
            if !batch.numbers.is_empty() {
                self.by_model.entry(batch.model.clone()).or_default().insert(slot);
            }
            self.sizes.push(batch.numbers.len());
            self.filled.push(usize::from(!batch.numbers.is_empty()));
            self.slots.extend(batch.numbers.iter().map(|number| (*number, slot)));
            self.last.insert(batch.model.clone(), slot);
            self.batches.insert(slot, batch);
        }
    }
}

#[cfg(test)]
mod tests;
