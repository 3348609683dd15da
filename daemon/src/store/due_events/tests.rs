use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn to(host: &str) -> Option<Destination> {
    Some(Destination::of(&format!("http://{host}/").parse().unwrap()))
}

fn due(at_once: usize) -> (DueEvents<u32>, Arc<Destinations>) {
    let limits = Arc::new(Destinations::new(at_once));
    (DueEvents::new(Arc::clone(&limits)), limits)
}

/// The jobs that can be claimed now.
fn claimed(due: &mut DueEvents<u32>) -> Vec<u32> {
    let claims = std::iter::repeat_with(|| due.claim(Instant::now()));
    claims.map_while(|claim| if let Due::Now(job) = claim { Some(job) } else { None }).collect()
}

fn assert_empty(due: &DueEvents<u32>) {
    assert!(due.jobs.is_empty() && due.queues.is_empty() && due.next.is_empty(), "{due:?}");
}

#[tokio::test(start_paused = true)]
async fn events_are_claimed_first_due_first_and_up_to_the_limit_of_their_destination() {
    let (mut due, _) = due(2);
    let now = Instant::now();
    for job in 0..4 {
        due.schedule(job, to("a"), now);
    }
    due.schedule(4, to("b"), now);
    due.schedule(5, to("b"), now + SECOND);
    // One at a time.
    due.schedule(0, to("b"), now);
    assert_eq!(claimed(&mut due), [0, 1, 4]);
    assert_eq!(due.claim(now), Due::At(now + SECOND));
    assert_eq!(due.settle(&1), to("a"));
    due.schedule(1, to("a"), now);
    assert_eq!(claimed(&mut due), [2]);
    tokio::time::advance(SECOND).await;
    assert_eq!(claimed(&mut due), [5]);
    assert_eq!(due.claim(now), Due::Nothing);
    for job in [0, 2, 4, 5] {
        due.settle(&job);
    }
    assert_eq!(claimed(&mut due), [3, 1]);
    for job in [3, 1] {
        due.settle(&job);
    }
    assert_empty(&due);
}

#[tokio::test(start_paused = true)]
async fn blocked_destination_has_one_place_or_none_however_many_events_wait() {
    let (mut due, limits) = due(1);
    let now = Instant::now();
    for job in 0..10_000 {
        due.schedule(job, to("a"), now);
    }
    assert_eq!(due.next.len(), 1);
    assert_eq!(claimed(&mut due), [0]);
    assert!(due.next.is_empty());
    for _ in 0..5 {
        limits.report(&to("a").unwrap(), false, now);
    }
    due.settle(&0);
    assert_eq!((due.next.len(), due.claim(now)), (1, Due::At(now + SECOND)));
}

#[tokio::test(start_paused = true)]
async fn open_breaker_lets_one_event_through_and_success_all() {
    let (mut due, limits) = due(8);
    let a = to("a").unwrap();
    let began = Instant::now();
    for job in 0..12 {
        due.schedule(job, to("a"), began);
    }
    due.schedule(99, to("b"), began + SECOND);
    assert_eq!(claimed(&mut due), [0, 1, 2, 3, 4, 5, 6, 7]);
    for job in 0..5 {
        limits.report(&a, false, began);
        assert_eq!(due.settle(&job), to("a"));
    }
    // The place of the destination is older than its open breaker.
    assert_eq!(due.claim(began), Due::At(began + SECOND));
    tokio::time::advance(SECOND).await;
    // Three attempts from before are in flight.
    assert_eq!(claimed(&mut due), [99]);
    for job in 5..8 {
        limits.report(&a, false, began);
        due.settle(&job);
    }
    assert_eq!(claimed(&mut due), [8]);
    limits.report(&a, false, Instant::now());
    due.settle(&8);
    assert_eq!(due.claim(Instant::now()), Due::At(Instant::now() + 2 * SECOND));
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(claimed(&mut due), [9]);
    limits.report(&a, true, Instant::now());
    due.settle(&9);
    assert_eq!(claimed(&mut due), [10, 11]);
    for job in [10, 11, 99] {
        due.settle(&job);
    }
    assert_empty(&due);
}

#[tokio::test(start_paused = true)]
async fn breaker_that_opens_before_its_outcome_is_settled_stops_claims() {
    let (mut due, limits) = due(8);
    let now = Instant::now();
    for job in 0..7 {
        due.schedule(job, to("a"), now);
    }
    for job in 0..5 {
        assert_eq!(due.claim(now), Due::Now(job));
    }
    for _ in 0..5 {
        limits.report(&to("a").unwrap(), false, now);
    }
    assert_eq!(due.claim(now), Due::Nothing);
}

#[tokio::test(start_paused = true)]
async fn moved_events_leave_their_destination() {
    let (mut due, _) = due(1);
    let now = Instant::now();
    for job in 0..3 {
        due.schedule(job, to("a"), now);
    }
    assert_eq!(claimed(&mut due), [0]);
    let b = to("b").unwrap();
    for job in [0, 2, 7] {
        due.move_to(&job, b.clone());
    }
    // Job 0 is counted where it is sent until it is settled.
    assert_eq!(claimed(&mut due), [2]);
    due.withdraw(&0);
    assert_eq!((claimed(&mut due), due.settle(&0)), (vec![], Some(b)));
    due.withdraw(&1);
    due.settle(&2);
    assert_empty(&due);
}

#[cfg(feature = "sqlite")]
#[tokio::test(start_paused = true)]
async fn event_with_unknown_destination_waits_once_it_is_known() {
    let (mut due, _) = due(1);
    let now = Instant::now();
    let a = to("a").unwrap();
    due.resume(9, a.clone(), now);
    for job in 0..3 {
        due.schedule(job, None, now);
    }
    assert_eq!(due.claim(now), Due::Now(0));
    assert!(!due.set_destination(&0, &a, now));
    assert_eq!(due.claim(now), Due::Now(1));
    assert!(due.set_destination(&1, &to("b").unwrap(), now));
    assert!(due.set_destination(&1, &to("b").unwrap(), now));
    assert_eq!(due.claim(now), Due::Now(2));
    assert!(!due.set_destination(&2, &a, now));
    assert_eq!((due.claim(now), due.destinations().len()), (Due::Nothing, 4));
    for (settled, next) in [(9, 0), (0, 2)] {
        due.settle(&settled);
        assert_eq!(due.claim(now), Due::Now(next));
        assert!(due.set_destination(&next, &a, now));
    }
    for job in [1, 2] {
        due.settle(&job);
    }
    assert_empty(&due);
}
