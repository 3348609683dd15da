use std::collections::{BTreeMap, BTreeSet};

use crate::JobId;

/// The jobs that wait for a worker, first in, first out, by the number each got when it was submitted.
///
/// The numbers follow one another without gaps, so that a place is a difference: counting up to it would make every
/// submission as expensive as the queue is long.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, JobId>,
    /// The gaps: jobs that left from the middle.
    gone: BTreeSet<u64>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, number: u64, job_id: JobId) {
        self.waiting.insert(number, job_id);
    }

    pub(super) fn pop(&mut self) -> Option<JobId> {
        let (_, job_id) = self.waiting.pop_first()?;
        self.forget_gaps();
        Some(job_id)
    }

    pub(super) fn remove(&mut self, number: u64) {
        if self.waiting.remove(&number).is_some() {
            self.gone.insert(number);
            self.forget_gaps();
        }
    }

    /// The place of a job in it, where 1 is next.
    pub(super) fn position(&self, number: u64) -> Option<u64> {
        let (first, _) = self.waiting.first_key_value()?;
        let gaps = self.gone.range(..number).count() as u64;
        self.waiting.contains_key(&number).then(|| number - first + 1 - gaps)
    }

    /// Those before the first that waits count for nothing any more.
    fn forget_gaps(&mut self) {
        match self.waiting.first_key_value() {
            Some((first, _)) => self.gone = self.gone.split_off(first),
            None => self.gone.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_a_count_whatever_leaves() {
        let mut queue = Queue::default();
        for number in 1..=40 {
            queue.push(number, JobId::new(number.to_string()).unwrap());
            match number % 7 {
                3 => queue.remove(number - 1),
                5 => drop(queue.pop()),
                6 => queue.remove(number),
                _ => {}
            }
            for number in 0..=41 {
                let counted = queue.waiting.range(..=number).count() as u64;
                let place = queue.waiting.contains_key(&number).then_some(counted);
                assert_eq!(queue.position(number), place, "{number} of {queue:?}");
            }
        }
        assert_eq!(queue.pop().unwrap().as_str(), "10");
        while queue.pop().is_some() {}
        assert!(queue.gone.is_empty() && queue.len() == 0);
    }
}
