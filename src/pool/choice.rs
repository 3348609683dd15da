use super::load::Cost;

/// Chooses one of the daemons that may run a job: the cheapest of a few that are drawn.
///
/// It is the power of two choices, with two changes. A daemon is drawn with a probability that grows with its speed, since the daemons of a
/// pool are unequal, and the cheaper of two slow ones would be a bad choice while a fast one is idle. And two are drawn from those that ran
/// the model last, beside the two of all, so that a model stays where it is loaded until the jobs before it take longer than a load.
///
/// Not the cheapest of all: other clients, which see the same daemons and not each other's jobs, would all choose the same one.
pub(super) fn choose(
    candidates: impl Iterator<Item = (usize, Cost)>,
    mut random: impl FnMut() -> f64,
) -> Option<usize> {
    let (mut all, mut preferred) = (Drawn::default(), Drawn::default());
    for (at, cost) in candidates {
        // The times until independent events of these rates: the first two are a weighted sample without replacement.
        let key = -(1.0 - random()).ln() / cost.speed;
        all.add(key, at, cost);
        if cost.preferred {
            preferred.add(key, at, cost);
        }
    }
    let drawn = all.0.into_iter().chain(preferred.0).flatten();
    drawn.min_by(|a, b| a.cost.total_cmp(&b.cost).then(a.key.total_cmp(&b.key))).map(|choice| choice.at)
}

#[derive(Clone, Copy)]
struct Choice {
    key: f64,
    at: usize,
    cost: f64,
}

/// The two with the lowest keys.
#[derive(Default)]
struct Drawn([Option<Choice>; 2]);

impl Drawn {
    fn add(&mut self, key: f64, at: usize, cost: Cost) {
        let choice = Choice { key, at, cost: cost.seconds };
        let before = |other: &Option<Choice>| other.is_none_or(|other| key < other.key);
        if before(&self.0[0]) {
            self.0 = [Some(choice), self.0[0]];
        } else if before(&self.0[1]) {
            self.0[1] = Some(choice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(seconds: f64, speed: f64, preferred: bool) -> Cost {
        Cost { seconds, speed, preferred }
    }

    fn shares(costs: &[Cost]) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut chosen = vec![0; costs.len()];
        for _ in 0..10_000 {
            chosen[choose(costs.iter().copied().enumerate(), || random.f64()).unwrap()] += 1;
        }
        chosen.into_iter().map(|chosen| f64::from(chosen) / 10_000.0).collect()
    }

    #[test]
    fn no_candidate_is_no_choice() {
        assert_eq!(choose(std::iter::empty(), || 0.5), None);
    }

    #[test]
    fn cheaper_of_two_is_chosen() {
        assert_eq!(shares(&[cost(2.0, 1.0, false), cost(1.0, 1.0, false)]), [0.0, 1.0]);
    }

    /// With two of three, the cheapest is left out by a third of the draws.
    #[test]
    fn cheapest_of_many_is_not_always_drawn() {
        let shares = shares(&[cost(1.0, 1.0, false), cost(2.0, 1.0, false), cost(3.0, 1.0, false)]);
        assert!((0.64..0.69).contains(&shares[0]) && shares[2] == 0.0, "{shares:?}");
    }

    #[test]
    fn fast_daemon_is_drawn_more_often() {
        let shares = shares(&[cost(1.0, 4.0, false), cost(2.0, 2.0, false), cost(4.0, 1.0, false)]);
        assert!((0.88..0.91).contains(&shares[0]), "{shares:?}");
    }

    #[test]
    fn preferred_daemon_is_always_drawn_and_chosen_only_while_it_is_cheaper() {
        let busy = |seconds| {
            let mut costs = vec![cost(10.0, 1.0, false); 8];
            costs.push(cost(seconds, 1.0, true));
            shares(&costs)[8]
        };
        assert_eq!((busy(9.0), busy(11.0)), (1.0, 0.0));
    }
}
