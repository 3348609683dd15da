/// A list of counts with fast prefix sums: a Fenwick tree. Each operation takes O(log n) steps.
#[derive(Debug, Default)]
pub(super) struct FenwickTree {
    /// The entry at `n` is the sum of the counts from `n & (n + 1)` to `n`.
    sums: Vec<usize>,
}

impl FenwickTree {
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Appends a count.
    pub(super) fn push(&mut self, count: usize) {
        let last = self.len();
        let covered = self.prefix_sum(last) - self.prefix_sum(last & (last + 1));
        self.sums.push(covered + count);
    }

    pub(super) fn increment(&mut self, index: usize) {
        self.change(index, |sum| *sum += 1);
    }

    pub(super) fn decrement(&mut self, index: usize) {
        self.change(index, |sum| *sum -= 1);
    }

    /// The sum of the counts before `index`.
    pub(super) fn prefix_sum(&self, index: usize) -> usize {
        let (mut rest, mut sum) = (index, 0);
        while rest > 0 {
            sum += self.sums[rest - 1];
            rest &= rest - 1;
        }
        sum
    }

    /// The smallest index before which the counts add up to `sum`, or the length if there is none.
    pub(super) fn index_of_sum(&self, sum: usize) -> usize {
        let (mut index, mut rest) = (0, sum);
        let mut step = self.len().checked_ilog2().map_or(0, |log| 1_usize << log);
        while step > 0 {
            // The entry covers the counts from `index` to `index + step`.
            if let Some(covered) = self.sums.get(index + step - 1)
                && *covered < rest
            {
                rest -= covered;
                index += step;
            }
            step /= 2;
        }
        if rest == 0 { 0 } else { (index + 1).min(self.len()) }
    }

    fn change(&mut self, index: usize, change: impl Fn(&mut usize)) {
        let mut at = index;
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
    fn prefix_sums_match_plain_sums() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut tree, mut counts) = (FenwickTree::default(), Vec::<usize>::new());
        for step in 0..400 {
            match random.usize(..counts.len() + 2) {
                index if index >= counts.len() => {
                    let count = random.usize(..5);
                    tree.push(count);
                    counts.push(count);
                }
                index if counts[index] > 0 && random.bool() => {
                    tree.decrement(index);
                    counts[index] -= 1;
                }
                index => {
                    tree.increment(index);
                    counts[index] += 1;
                }
            }
            for index in 0..=counts.len() {
                assert_eq!(tree.prefix_sum(index), counts[..index].iter().sum::<usize>(), "{index} after step {step}");
            }
            for sum in 0..=counts.iter().sum::<usize>() {
                let index = (0..=counts.len()).find(|index| counts[..*index].iter().sum::<usize>() >= sum);
                assert_eq!(Some(tree.index_of_sum(sum)), index, "{sum} after step {step}");
            }
            assert_eq!(tree.index_of_sum(usize::MAX), counts.len());
        }
    }
}
