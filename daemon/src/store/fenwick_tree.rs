/// Counts in a row, of which the sum up to any of them is known without adding them up one by one: a Fenwick tree, whose every
/// operation takes as many steps as its length has binary digits.
#[derive(Debug, Default)]
pub(super) struct FenwickTree {
    /// The one at `n` is the sum of the counts from `n & (n + 1)` to `n`.
    sums: Vec<usize>,
}

impl FenwickTree {
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// One more count, behind all others.
    pub(super) fn push(&mut self, count: usize) {
        let last = self.len();
        let covered = self.before(last) - self.before(last & (last + 1));
        self.sums.push(covered + count);
    }

    pub(super) fn increment(&mut self, place: usize) {
        self.change(place, |sum| *sum += 1);
    }

    pub(super) fn decrement(&mut self, place: usize) {
        self.change(place, |sum| *sum -= 1);
    }

    /// The sum of the counts before that one, the first of which is 0.
    pub(super) fn before(&self, place: usize) -> usize {
        let (mut rest, mut sum) = (place, 0);
        while rest > 0 {
            sum += self.sums[rest - 1];
            rest &= rest - 1;
        }
        sum
    }

    fn change(&mut self, place: usize, change: impl Fn(&mut usize)) {
        let mut at = place;
        while let Some(sum) = self.sums.get_mut(at) {
            change(sum);
            at |= at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_adding_up() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut tally, mut counts) = (FenwickTree::default(), Vec::<usize>::new());
        for step in 0..400 {
            match random.usize(..counts.len() + 2) {
                place if place >= counts.len() => {
                    let count = random.usize(..5);
                    tally.push(count);
                    counts.push(count);
                }
                place if counts[place] > 0 && random.bool() => {
                    tally.decrement(place);
                    counts[place] -= 1;
                }
                place => {
                    tally.increment(place);
                    counts[place] += 1;
                }
            }
            for place in 0..=counts.len() {
                assert_eq!(tally.before(place), counts[..place].iter().sum::<usize>(), "{place} after step {step}");
            }
        }
    }
}
