use super::*;

fn batches(most: usize) -> Batches {
    Batches::new(NonZeroUsize::new(most).unwrap())
}

fn all(batches: &mut Batches) -> Vec<u64> {
    std::iter::from_fn(|| batches.pop(&Wanted::any())).collect()
}

fn position(batches: &Batches, number: u64) -> Option<u64> {
    batches.place(number).map(|place| place.jobs as u64 + 1)
}

#[test]
fn batch_of_one_is_fifo() {
    let mut batches = batches(1);
    for number in 1..=9 {
        batches.push(number, ["a", "b"][usize::try_from(number).unwrap() % 2]);
    }
    batches.remove(4);
    assert_eq!(position(&batches, 5), Some(4));
    assert_eq!(all(&mut batches), [1, 2, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn job_that_is_queued_again_is_behind_other_models() {
    let mut batches = batches(8);
    for (number, model) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        batches.push(number, model);
    }
    let again = |batches: &mut Batches, number| batches.push_behind(number, "a");
    assert_eq!(batches.pop(&Wanted::any()), Some(1));
    again(&mut batches, 1);
    assert_eq!([1, 2, 3, 4].map(|number| position(&batches, number)), [4, 1, 2, 3].map(Some));
    assert_eq!(batches.pop(&Wanted::any()), Some(2));
    again(&mut batches, 2);
    batches.push(5, "a");
    assert_eq!([1, 2, 3, 4, 5].map(|number| position(&batches, number)), [3, 4, 1, 2, 5].map(Some));
    assert_eq!(all(&mut batches), [3, 4, 1, 2, 5]);
}

#[test]
fn model_switches_once_per_batch() {
    let mut batches = batches(3);
    for number in 1..=12 {
        batches.push(number, if number % 2 == 1 { "odd" } else { "even" });
    }
    assert_eq!(all(&mut batches), [1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12]);
}

#[test]
fn current_batch_continues_until_full() {
    let mut batches = batches(3);
    batches.push(1, "a");
    assert_eq!((batches.pop(&Wanted::any()), batches.pop(&Wanted::any())), (Some(1), None));
    batches.push(2, "b");
    for number in 3..=5 {
        batches.push(number, "a");
    }
    assert_eq!([2, 3, 4, 5].map(|number| position(&batches, number)), [3, 1, 2, 4].map(Some));
    assert_eq!(all(&mut batches), [3, 4, 2, 5]);
    // No other job was queued when the batch became full, so the next job is first.
    batches.push(6, "a");
    assert_eq!(position(&batches, 6), Some(1));
}

/// The bounds that the crate's docs promise, under random submissions, takes and cancellations.
#[test]
fn overtaking_is_bounded_by_batch_size() {
    const MODELS: [&str; 4] = ["a", "b", "c", "d"];
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (most, cancels) = (random.usize(1..6), seed % 2 == 1);
        let mut batches = batches(most);
        // By number: the model, how many younger jobs of each model overtook it, and how many while it was the oldest.
        let mut jobs = vec![(0, [0; 4], 0)];
        let mut waiting: Vec<usize> = Vec::new();
        for _ in 0..400 {
            match random.u8(..10) {
                0..5 => {
                    // One model is much more frequent than the others.
                    let model = random.usize(..8).min(3);
                    batches.push(jobs.len() as u64, MODELS[model]);
                    waiting.push(jobs.len());
                    jobs.push((model, [0; 4], 0));
                }
                5 if cancels && !waiting.is_empty() => {
                    batches.remove(waiting.remove(random.usize(..waiting.len())) as u64);
                }
                _ => {
                    let taken = batches.pop(&Wanted::any()).map(|number| usize::try_from(number).unwrap());
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
                waiting.iter().map(|number| position(&batches, *number as u64).unwrap()).collect();
            positions.sort_unstable();
            assert!(positions.into_iter().eq(1..=waiting.len() as u64), "seed {seed}");
            assert_eq!((batches.len(), position(&batches, 0)), (waiting.len(), None));
        }
        for (_, overtaken, passed) in &jobs {
            assert!(overtaken.iter().all(|by| *by < most), "seed {seed}");
            // After a cancellation, the oldest job may wait for more than one batch.
            assert!(cancels || *passed < most, "seed {seed}");
        }
        // Jobs are taken in the order of their positions.
        let mut expected: Vec<_> =
            waiting.iter().map(|number| (position(&batches, *number as u64), *number as u64)).collect();
        expected.sort_unstable();
        assert_eq!(all(&mut batches), expected.iter().map(|(_, number)| *number).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn closed_batches_use_no_memory() {
    let mut batches = batches(8);
    batches.push(1, "runs");
    batches.pop(&Wanted::any());
    batches.push(2, "waits");
    for number in 3..10_000 {
        batches.push(number, &number.to_string());
        assert_eq!(position(&batches, number), Some(2));
        batches.remove(number);
    }
    assert_eq!((batches.batches.len(), batches.last.len(), batches.slots.len()), (2, 2, 1));
    assert!(batches.sizes.len() <= 2 + SPARE_SLOTS + 1, "{}", batches.sizes.len());
    assert_eq!(batches.pop(&Wanted::any()), Some(2));
}
