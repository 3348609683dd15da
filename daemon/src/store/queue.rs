use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;

use super::fenwick_tree::FenwickTree;
use crate::JobId;

/// How many places may be left over from batches that are gone, beside one for each job that waits.
const SPARE: usize = 64;

/// The jobs that wait for a worker, in batches of one model each, since a model is loaded once for a batch.
///
/// A job joins the last batch of its model, unless as many have joined that as a batch may have; then it begins one behind all
/// others. Batches are taken in the order in which they were begun, and the jobs of one in the order of their numbers. So of
/// each model one batch at most can still grow, and a job is overtaken by fewer jobs of another model than a batch has.
#[derive(Debug)]
pub(super) struct Queue {
    /// How many jobs join a batch at most.
    most: NonZeroUsize,
    /// By their places in `sizes`. None is empty but the one that was taken from last.
    batches: BTreeMap<usize, Batch>,
    /// The one that was taken from last, which is the first: its model is the one that is loaded.
    begun: Option<usize>,
    /// The last one of each model.
    last: HashMap<Box<str>, usize>,
    waiting: HashMap<u64, Waiting>,
    /// How many wait in each, so that no place has to be counted.
    sizes: FenwickTree,
}

#[derive(Debug)]
struct Batch {
    model: Box<str>,
    /// Those that left it included.
    joined: usize,
    numbers: VecDeque<u64>,
}

#[derive(Debug)]
struct Waiting {
    batch: usize,
    job_id: JobId,
}

impl Queue {
    pub(super) fn new(most: NonZeroUsize) -> Self {
        Self {
            most,
            batches: BTreeMap::new(),
            begun: None,
            last: HashMap::new(),
            waiting: HashMap::new(),
            sizes: FenwickTree::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Each with a number that is larger than those before.
    pub(super) fn push(&mut self, number: u64, model: &str, job_id: JobId) {
        let place = self.open(model).unwrap_or_else(|| self.begin(model));
        let Some(batch) = self.batches.get_mut(&place) else { return };
        batch.joined += 1;
        batch.numbers.push_back(number);
        self.sizes.increment(place);
        self.waiting.insert(number, Waiting { batch: place, job_id });
    }

    pub(super) fn pop(&mut self) -> Option<JobId> {
        let place = *self.batches.iter().find(|(_, batch)| !batch.numbers.is_empty())?.0;
        if let Some(before) = self.begun.replace(place).filter(|before| *before != place) {
            self.close(before);
        }
        let number = self.batches.get_mut(&place)?.numbers.pop_front()?;
        self.sizes.decrement(place);
        Some(self.waiting.remove(&number)?.job_id)
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(Waiting { batch: place, .. }) = self.waiting.remove(&number) else { return };
        let Some(batch) = self.batches.get_mut(&place) else { return };
        if let Ok(at) = batch.numbers.binary_search(&number) {
            batch.numbers.remove(at);
            self.sizes.decrement(place);
        }
        if batch.numbers.is_empty() && self.begun != Some(place) {
            self.close(place);
        }
    }

    /// The place of a job in the order in which those that wait now are taken, where 1 is next.
    pub(super) fn position(&self, number: u64) -> Option<u64> {
        let place = self.waiting.get(&number)?.batch;
        let within = self.batches.get(&place)?.numbers.binary_search(&number).ok()?;
        Some((self.sizes.before(place) + within + 1) as u64)
    }

    /// The batch that a job of that model joins, if there is one.
    fn open(&self, model: &str) -> Option<usize> {
        let place = *self.last.get(model)?;
        (self.batches.get(&place)?.joined < self.most.get()).then_some(place)
    }

    fn begin(&mut self, model: &str) -> usize {
        if self.sizes.len() > 2 * self.waiting.len() + SPARE {
            self.compact();
        }
        let place = self.sizes.len();
        self.sizes.push(0);
        self.batches.insert(place, Batch { model: model.into(), joined: 0, numbers: VecDeque::new() });
        self.last.insert(model.into(), place);
        place
    }

    fn close(&mut self, place: usize) {
        let Some(batch) = self.batches.remove(&place) else { return };
        if self.last.get(&batch.model) == Some(&place) {
            self.last.remove(&batch.model);
        }
    }

    /// Gives the batches new places without gaps: seldom enough that it costs each job that came no more than a few steps.
    fn compact(&mut self) {
        self.sizes = FenwickTree::default();
        self.begun = self.begun.map(|_| 0);
        for (place, batch) in std::mem::take(&mut self.batches).into_values().enumerate() {
            self.sizes.push(batch.numbers.len());
            for number in &batch.numbers {
                if let Some(waiting) = self.waiting.get_mut(number) {
                    waiting.batch = place;
                }
            }
            self.last.insert(batch.model.clone(), place);
            self.batches.insert(place, batch);
        }
    }
}

#[cfg(test)]
impl Queue {
    /// The jobs that wait, by their numbers.
    pub(super) fn contents(&self) -> Vec<(u64, JobId)> {
        let mut held: Vec<_> = self.waiting.iter().map(|(number, waiting)| (*number, waiting.job_id.clone())).collect();
        held.sort_unstable_by_key(|(number, _)| *number);
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(most: usize) -> Queue {
        Queue::new(NonZeroUsize::new(most).unwrap())
    }

    fn push(queue: &mut Queue, number: u64, model: &str) {
        queue.push(number, model, JobId::new(number.to_string()).unwrap());
    }

    fn pop(queue: &mut Queue) -> Option<u64> {
        queue.pop().map(|job_id| job_id.as_str().parse().unwrap())
    }

    fn all(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| pop(queue)).collect()
    }

    #[test]
    fn a_batch_of_one_is_first_in_first_out() {
        let mut queue = queue(1);
        for number in 1..=9 {
            push(&mut queue, number, ["a", "b"][usize::try_from(number).unwrap() % 2]);
        }
        queue.remove(4);
        assert_eq!(queue.position(5), Some(4));
        assert_eq!(all(&mut queue), [1, 2, 3, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_model_is_switched_once_a_batch() {
        let mut queue = queue(3);
        for number in 1..=12 {
            push(&mut queue, number, if number % 2 == 1 { "odd" } else { "even" });
        }
        assert_eq!(all(&mut queue), [1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
    }

    #[test]
    fn the_model_that_was_taken_last_goes_on_until_its_batch_is_full() {
        let mut queue = queue(3);
        push(&mut queue, 1, "a");
        assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(1), None));
        push(&mut queue, 2, "b");
        for number in 3..=5 {
            push(&mut queue, number, "a");
        }
        assert_eq!([2, 3, 4, 5].map(|number| queue.position(number)), [3, 1, 2, 4].map(Some));
        assert_eq!(all(&mut queue), [3, 4, 2, 5]);
        // Nobody waited when it was full: what comes next is no worse off.
        push(&mut queue, 6, "a");
        assert_eq!(queue.position(6), Some(1));
    }

    /// What the daemon's docs promise, whatever comes, is taken and leaves.
    #[test]
    fn nobody_is_overtaken_by_as_many_jobs_of_a_model_as_a_batch_has() {
        const MODELS: [&str; 4] = ["a", "b", "c", "d"];
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (most, cancels) = (random.usize(1..6), seed % 2 == 1);
            let mut queue = queue(most);
            // By number: the model, how many younger jobs of each model were taken before it, and how many while it was the oldest.
            let mut jobs = vec![(0, [0; 4], 0)];
            let mut waiting: Vec<usize> = Vec::new();
            for _ in 0..400 {
                match random.u8(..10) {
                    0..5 => {
                        // One model comes far more often than the others.
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
                            assert_ne!(jobs[*older].0, model, "of one model, the first come first: seed {seed}");
                            jobs[*older].1[model] += 1;
                        }
                    }
                }
                let mut places: Vec<_> = waiting.iter().map(|number| queue.position(*number as u64).unwrap()).collect();
                places.sort_unstable();
                assert!(places.into_iter().eq(1..=waiting.len() as u64), "seed {seed}");
                assert_eq!((queue.len(), queue.position(0)), (waiting.len(), None));
            }
            for (_, overtaken, passed) in &jobs {
                assert!(overtaken.iter().all(|by| *by < most), "seed {seed}");
                // One left behind by a job that was cancelled may wait for more than one batch.
                assert!(cancels || *passed < most, "seed {seed}");
            }
            // The places that were told are those in which they are taken.
            let mut told: Vec<_> =
                waiting.iter().map(|number| (queue.position(*number as u64), *number as u64)).collect();
            told.sort_unstable();
            assert_eq!(all(&mut queue), told.iter().map(|(_, number)| *number).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn what_came_and_left_takes_no_room() {
        let mut queue = queue(8);
        push(&mut queue, 1, "runs");
        pop(&mut queue);
        push(&mut queue, 2, "waits");
        for number in 3..10_000 {
            push(&mut queue, number, &number.to_string());
            assert_eq!(queue.position(number), Some(2));
            queue.remove(number);
        }
        assert_eq!((queue.batches.len(), queue.last.len(), queue.waiting.len()), (2, 2, 1));
        assert!(queue.sizes.len() <= 2 + SPARE + 1, "{}", queue.sizes.len());
        assert_eq!(pop(&mut queue), Some(2));
    }
}
