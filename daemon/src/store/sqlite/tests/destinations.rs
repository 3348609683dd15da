//! The limits of webhooks to one destination, in both stores.

use std::sync::Arc;

use tokio_test::block_on;

use super::support::{new_job, open_with, options, take};
use crate::JobId;
use crate::store::sqlite::db::Db;
use crate::store::{Claim, Destination, Destinations, Memory, NewJob, Sqlite, Store, StoreOptions, Verdict};

fn stores(folder: &tempfile::TempDir, limits: &Arc<Destinations>) -> [Box<dyn Store>; 2] {
    let limited = StoreOptions { destinations: Arc::clone(limits), ..options(100) };
    [Box::new(open_with(folder, limited.clone())), Box::new(Memory::new(limited))]
}

/// One webhook at a time for each destination.
fn one_at_once(folder: &tempfile::TempDir) -> Sqlite {
    open_with(folder, StoreOptions { destinations: Arc::new(Destinations::new(1)), ..options(100) })
}

fn submit(store: &dyn Store, key: &str, url: &str) -> JobId {
    let new = NewJob { webhook: Some(url.parse().unwrap()), ..new_job(Some(key), "go") };
    block_on(store.submit(new)).unwrap().unwrap().job_id
}

/// The jobs whose events can be claimed now.
fn claimed(store: &dyn Store) -> Vec<JobId> {
    let claims = std::iter::repeat_with(|| block_on(store.claim()).unwrap());
    claims.map_while(|claim| if let Claim::Now(delivery) = claim { Some(delivery.job_id) } else { None }).collect()
}

#[test]
fn claims_leave_out_destinations_at_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder, &Arc::new(Destinations::new(2))) {
        let silent: Vec<_> = (0..9).map(|job| submit(&*store, &format!("a{job}"), "http://a/secret")).collect();
        let healthy = submit(&*store, "b", "http://b/");
        assert_eq!(claimed(&*store), [&silent[0], &silent[1], &healthy].map(Clone::clone));
        // The next event of a job counts too.
        take(&*store).unwrap();
        assert!(claimed(&*store).is_empty());
        block_on(store.settle(&silent[0], Verdict::Delivered)).unwrap();
        assert_eq!(claimed(&*store), [silent[2].clone()]);
        // A client that was restarted has another receiver, which has room.
        assert_eq!(submit(&*store, "a8", "http://c/"), silent[8]);
        assert_eq!(claimed(&*store), [silent[8].clone()]);
    }
}

#[test]
fn events_of_open_breaker_wait_without_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Arc::new(Destinations::new(2));
    let a = Destination::of(&"http://a/".parse().unwrap());
    for store in stores(&folder, &limits) {
        let now = tokio::time::Instant::now();
        let job_id = submit(&*store, "a", "http://a/");
        for _ in 0..5 {
            limits.report(&a, false, now);
        }
        assert!(claimed(&*store).is_empty());
        let healthy = submit(&*store, "b", "http://b/");
        assert_eq!(claimed(&*store), [healthy]);
        limits.report(&a, true, now);
        submit(&*store, "a", "http://a/other");
        let Claim::Now(delivery) = block_on(store.claim()).unwrap() else { panic!("no event") };
        assert_eq!((delivery.job_id, delivery.attempt), (job_id, 1));
        limits.report(&a, true, now);
    }
}

#[test]
fn limits_hold_after_a_failed_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = one_at_once(&folder);
    let jobs: Vec<_> = (0..3).map(|job| submit(&store, &format!("a{job}"), "http://a/")).collect();
    assert_eq!(claimed(&store), [jobs[0].clone()]);
    for fail in [true, false] {
        let change = store.writer.run(move |db| {
            if fail {
                db.claim()?;
            }
            db.connection.execute_batch("no")
        });
        block_on(change).unwrap_err();
        assert!(claimed(&store).is_empty());
    }
    block_on(store.settle(&jobs[0], Verdict::Delivered)).unwrap();
    assert_eq!(claimed(&store), [jobs[1].clone()]);
}

/// An event may be in flight when its job expires, since retries last longer than a day.
#[test]
fn expired_job_gives_its_place_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = one_at_once(&folder);
    let expired = submit(&store, "a", "http://a/");
    assert_eq!(claimed(&store), std::slice::from_ref(&expired));
    block_on(store.cancel(crate::owner::Owner::ANONYMOUS, &expired)).unwrap();
    let expire = "UPDATE jobs SET completed_at = completed_at - 86400000001 WHERE completed_at IS NOT NULL";
    block_on(store.writer.run(|db| db.connection.execute_batch(expire))).unwrap();
    let sweep = || block_on(store.writer.run(Db::sweep)).unwrap();
    assert_eq!(sweep(), 0);
    block_on(store.settle(&expired, Verdict::Again(tokio::time::Instant::now()))).unwrap();
    assert_eq!(sweep(), 1);
    let next = submit(&store, "b", "http://a/");
    assert_eq!(claimed(&store), [next]);
}
