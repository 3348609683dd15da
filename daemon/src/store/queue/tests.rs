use std::sync::Arc;

use super::*;

fn queue(most: usize, limits: QueueLimits) -> Queue {
    Queue::new(NonZeroUsize::new(most).unwrap(), limits)
}

const UNLIMITED: QueueLimits = QueueLimits { all: usize::MAX, of_owner: usize::MAX, running_of_owner: usize::MAX };

fn owners<const N: usize>() -> [Owner; N] {
    std::array::from_fn(|owner| Owner::from_token(&[u8::try_from(owner).unwrap()]))
}

fn job(number: u64, owner: Owner, priority: i8) -> QueuedJob {
    QueuedJob { owner, priority, start_by: None, job_id: JobId::new(number.to_string()).unwrap() }
}

fn push(queue: &mut Queue, number: u64, model: &str, owner: Owner) {
    queue.push(number, model, job(number, owner, 0));
}

fn pop(queue: &mut Queue) -> Option<u64> {
    let (number, job_id) = queue.pop(&Wanted::any())?;
    assert_eq!(job_id.as_str(), number.to_string());
    Some(number)
}

/// Takes all jobs, each after the one before it has ended.
fn all(queue: &mut Queue) -> Vec<u64> {
    let next = || {
        let number = pop(queue)?;
        queue.ended(number);
        Some(number)
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn owner_has_a_limit_of_its_own() {
    let mut queue = queue(2, QueueLimits { all: 3, of_owner: 2, ..UNLIMITED });
    let [one, other] = owners();
    let push = |queue: &mut Queue, number: u64, owner| {
        let refused = queue.refuses(owner);
        if refused.is_none() {
            push(queue, number, "m", owner);
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
    assert_eq!(queue.lanes.len(), 2);
    assert_eq!(all(&mut queue).len(), 3);
    assert_eq!((queue.lanes.len(), queue.turns.len()), (1, 1));
}

#[test]
fn owners_take_turns_of_one_batch() {
    let mut queue = queue(2, UNLIMITED);
    let [one, two, three] = owners();
    for number in 1..=6 {
        push(&mut queue, number, "a", one);
    }
    assert_eq!(pop(&mut queue), Some(1));
    for (number, model, owner) in [(7, "a", two), (8, "b", two), (9, "a", two), (10, "a", three)] {
        push(&mut queue, number, model, owner);
    }
    let order = [2, 7, 9, 10, 3, 4, 8, 5, 6];
    assert_eq!(order.map(|number| queue.position(number)), std::array::from_fn(|at| Some(at as u64 + 1)));
    assert_eq!(all(&mut queue), order);
}

#[test]
fn one_owner_at_its_limit_of_running_jobs_leaves_the_others_their_turns() {
    let mut queue = queue(8, QueueLimits { running_of_owner: 2, ..UNLIMITED });
    let [one, other] = owners();
    for number in 1..=5 {
        push(&mut queue, number, "m", one);
    }
    assert_eq!([pop(&mut queue), pop(&mut queue), pop(&mut queue)], [Some(1), Some(2), None]);
    push(&mut queue, 6, "m", other);
    assert_eq!([pop(&mut queue), pop(&mut queue)], [Some(6), None]);
    queue.ended(1);
    queue.ended(1);
    assert_eq!([pop(&mut queue), pop(&mut queue)], [Some(3), None]);
    queue.push_behind(2, "m", job(2, one, 0));
    assert_eq!([pop(&mut queue), pop(&mut queue)], [Some(4), None]);
    for number in 1..=6 {
        queue.ended(number);
    }
    assert!(queue.running.is_empty() && queue.running_of.is_empty());
    assert_eq!(all(&mut queue), [5, 2]);
}

#[test]
fn priority_orders_the_jobs_of_one_owner_only() {
    let mut queue = queue(2, UNLIMITED);
    let [one, other] = owners();
    for (number, owner, priority) in
        [(1, one, 0), (2, one, 0), (3, one, 0), (4, one, 5), (5, one, -5), (6, one, 5), (7, other, 0), (8, other, -9)]
    {
        queue.push(number, "m", job(number, owner, priority));
    }
    let order = [4, 6, 7, 1, 2, 8, 3, 5];
    assert_eq!(order.map(|number| queue.position(number)), std::array::from_fn(|at| Some(at as u64 + 1)));
    assert_eq!(pop(&mut queue), Some(4));
    // It ends the turn, in which another job with the priority of the first would have run.
    queue.push(9, "m", job(9, one, 7));
    let order = [7, 9, 8, 6, 1, 2, 3, 5];
    assert_eq!(order.map(|number| queue.position(number)), std::array::from_fn(|at| Some(at as u64 + 1)));
    assert_eq!(all(&mut queue), order);
}

/// The backend may be unavailable for its model only.
#[test]
fn job_that_is_queued_again_is_behind_jobs_with_lower_priority() {
    let mut queue = queue(8, UNLIMITED);
    let [one, other] = owners();
    for (number, model, owner, priority) in
        [(1, "down", one, 10), (2, "a", one, 0), (3, "b", one, -5), (4, "a", other, -9)]
    {
        queue.push(number, model, job(number, owner, priority));
    }
    assert_eq!(pop(&mut queue), Some(1));
    assert_eq!(queue.push_behind(1, "down", job(1, one, 10)), -5);
    queue.push(5, "a", job(5, one, 1));
    assert_eq!(all(&mut queue), [4, 5, 2, 3, 1]);
    assert_eq!(queue.push_behind(1, "down", job(1, one, -5)), -5);
}

#[test]
fn next_deadline_is_that_of_a_queued_job() {
    let mut queue = queue(2, UNLIMITED);
    let time = |second| Timestamp::from_second(second).unwrap();
    for (number, second) in [(1, 30), (2, 10), (3, 20)] {
        let job = QueuedJob { start_by: Some(time(second)), ..job(number, Owner::ANONYMOUS, 0) };
        queue.push(number, "m", job);
    }
    push(&mut queue, 4, "m", Owner::ANONYMOUS);
    assert_eq!((queue.next_deadline(), queue.overdue(time(10))), (Some(time(10)), None));
    assert_eq!(queue.overdue(time(11)).unwrap().as_str(), "2");
    queue.remove(2);
    assert_eq!((queue.next_deadline(), queue.overdue(time(11))), (Some(time(20)), None));
    assert_eq!(all(&mut queue), [1, 3, 4]);
    assert_eq!((queue.next_deadline(), queue.overdue(time(99))), (None, None));
}

/// Each owner gets a turn between two turns of another, and positions are the order in which jobs are taken.
#[test]
fn turns_are_fair_and_positions_exact_under_random_changes() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let most = random.usize(1..5);
        let mut queue = queue(most, UNLIMITED);
        let owners: [Owner; 3] = owners();
        let (mut waiting, mut numbers) = (Vec::<(u64, Owner)>::new(), 0);
        // For each owner with waiting jobs: how many of the others were taken since its last turn.
        let mut passed = HashMap::<Owner, HashMap<Owner, usize>>::new();
        for _ in 0..300 {
            match random.u8(..10) {
                0..5 => {
                    numbers += 1;
                    // One owner submits much more than the others.
                    let owner = owners[random.usize(..8).min(2)];
                    let model = ["a", "b", "c"][random.usize(..3)];
                    queue.push(numbers, model, job(numbers, owner, random.i8(-1..2)));
                    waiting.push((numbers, owner));
                }
                5 if !waiting.is_empty() => queue.remove(waiting.swap_remove(random.usize(..waiting.len())).0),
                _ => {
                    let Some(taken) = pop(&mut queue) else {
                        assert!(waiting.is_empty(), "seed {seed}");
                        continue;
                    };
                    queue.ended(taken);
                    let at = waiting.iter().position(|(number, _)| *number == taken).unwrap();
                    let (_, owner) = waiting.remove(at);
                    passed.remove(&owner);
                    for (_, waits) in waiting.iter().filter(|(_, other)| *other != owner) {
                        passed.entry(*waits).or_default().entry(owner).or_default();
                    }
                    for by in passed.values_mut() {
                        *by.entry(owner).or_default() += 1;
                    }
                    // One batch, and the rest of the one that ran when the owner's first job came.
                    let most_passed = passed.values().flat_map(HashMap::values).max().copied().unwrap_or_default();
                    assert!(most_passed < 2 * most, "seed {seed}: {most_passed} of batches of {most}");
                }
            }
            passed.retain(|owner, _| waiting.iter().any(|(_, other)| other == owner));
            let mut positions: Vec<_> = waiting.iter().map(|(number, _)| queue.position(*number).unwrap()).collect();
            positions.sort_unstable();
            assert!(positions.into_iter().eq(1..=waiting.len() as u64), "seed {seed}");
            let mut of_owners = HashMap::<Owner, usize>::new();
            waiting.iter().for_each(|(_, owner)| *of_owners.entry(*owner).or_default() += 1);
            for (owner, count) in of_owners {
                assert_eq!(queue.lanes[&owner].len(), count, "seed {seed}");
            }
        }
        let mut expected: Vec<_> = waiting.iter().map(|(number, _)| (queue.position(*number), *number)).collect();
        expected.sort_unstable();
        assert_eq!(all(&mut queue), expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), "seed {seed}");
        assert!(queue.lanes.len() <= 1 && queue.turns.len() == queue.lanes.len(), "seed {seed}");
    }
}

#[test]
fn each_backend_takes_jobs_of_its_models() {
    let mut queue = queue(2, UNLIMITED);
    let [one, two] = owners();
    for (number, model, owner) in
        [(1, "a", one), (2, "b", one), (3, "a", one), (4, "c", one), (5, "b", two), (6, "a", two), (7, "b", one)]
    {
        push(&mut queue, number, model, owner);
    }
    let has = |backend, models: &[&str]| Wanted { backend, models: Some(Arc::new(models.iter().collect())) };
    let (left, right, other) = (has(0, &["a"]), has(1, &["a", "b:latest"]), has(2, &["d"]));
    let pop = |queue: &mut Queue, wanted: &Wanted| queue.pop(wanted).map(|(number, _)| number);
    // Each goes on with its own batch, and the owners take turns at each.
    let taken: Vec<_> = [&left, &right, &left, &right, &left, &right, &right, &left, &right, &other]
        .map(|wanted| pop(&mut queue, wanted))
        .into_iter()
        .collect();
    assert_eq!(taken, [1, 2, 3, 7, 6, 5, 0, 0, 0, 0].map(|number| Some(number).filter(|number| *number > 0)));
    assert!(!queue.has(&right) && queue.has(&Wanted::any()));
    assert_eq!(pop(&mut queue, &Wanted::any()), Some(4));
    assert!(!queue.has(&Wanted::any()));
}

#[test]
fn backends_share_a_batch_if_there_is_no_other() {
    let mut queue = queue(8, UNLIMITED);
    for number in 1..=4 {
        push(&mut queue, number, "a", Owner::ANONYMOUS);
    }
    let wanted = [0, 1].map(|backend| Wanted { backend, models: None });
    let taken: Vec<_> = (0..4).map(|turn| queue.pop(&wanted[turn % 2]).unwrap().0).collect();
    assert_eq!(taken, [1, 2, 3, 4]);
}
