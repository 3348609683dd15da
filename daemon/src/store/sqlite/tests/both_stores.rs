//! The same random calls to all stores give the same results.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_test::block_on;

use super::support::{done, new_job_of, open_with, options};
use crate::owner::Owner;
use crate::store::{Cancelled, Cost, Memory, NewJob, NextJob, Outcome, Query, Store, Taken, Wanted};
use crate::{JobId, JobState, JobStatus};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    All,
    /// Without what a store that several daemons share does not have: it gives no positions, and takes no job whose time has passed.
    #[cfg(feature = "postgres")]
    Shared,
}

/// All that the store returns to the owner, without ids and times, which differ between stores.
async fn observe(store: &dyn Store, owner: Owner, jobs: &[JobId], compared: Compared) -> Vec<String> {
    let mut observed = Vec::new();
    for job_id in jobs {
        let status = store.status(owner, job_id).await.unwrap();
        observed.push(status.map_or_else(String::new, |status| {
            let result = status.result.as_ref().map(|result| result.get().to_owned());
            let times = (status.started_at.is_some(), status.completed_at.is_some());
            let position = status.position.filter(|_| compared == Compared::All);
            format!(
                "{:?} {} {position:?} {result:?} {:?} {:?} {times:?}",
                status.state, status.attempt, status.error, status.last_error
            )
        }));
    }
    for state in [None, Some(JobState::Queued), Some(JobState::Failed)] {
        let mut before = None;
        loop {
            let page =
                store.list(Query { owner, state: state.clone(), before, limit: 3, results: true }).await.unwrap();
            let place = |job: &Arc<JobStatus>| jobs.iter().position(|job_id| *job_id == job.job_id).unwrap();
            observed.push(format!("{:?}", page.jobs.iter().map(place).collect::<Vec<_>>()));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    }
    observed
}

#[test]
fn sqlite_and_memory_agree() {
    for seed in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = options(6);
        limits.max_queue.running_of_owner = 2;
        let (sqlite, memory) = (open_with(&folder, limits.clone()), Memory::new(limits));
        block_on(assert_agree(seed, &[&sqlite, &memory], Compared::All));
    }
}

async fn take(store: &dyn Store, wanted: Wanted, compared: Compared) -> Option<Taken> {
    if compared != Compared::All {
        store.fail_overdue().await.unwrap();
    }
    match store.take(wanted).await.unwrap()? {
        NextJob::Run(taken) => Some(taken),
        NextJob::Damaged(job_id) => panic!("{job_id} is damaged"),
    }
}

/// Makes random calls to the stores, and compares the results.
pub(crate) async fn assert_agree(seed: u64, stores: &[&dyn Store], compared: Compared) {
    let owners = [Owner::ANONYMOUS, Owner::from_token(b"a token")];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut jobs: Vec<Vec<JobId>> = vec![Vec::new(); stores.len()];
    let mut owner_of = Vec::new();
    let mut runs: Vec<(usize, u64)> = Vec::new();
    for step in 0..60 {
        let (which, roll, text) = (random.usize(..100), random.u8(..7), "x".repeat(random.usize(1..3)));
        let owner = owners[random.usize(..2)];
        let key = random.bool().then(|| format!("key {}", random.u8(..5)));
        let model = ["a", "b", "c"][random.usize(..3)];
        let priority = random.i8(-1..2);
        let wanted = Wanted {
            // At several backends, a shared store counts the turns that have begun, and the others those that have ended.
            backend: if compared == Compared::All { random.usize(..2) } else { 0 },
            models: random.bool().then(|| Arc::new(["a", "b"].into_iter().collect())),
        };
        let start_by = (random.u8(..4) == 0).then_some(Timestamp::UNIX_EPOCH);
        let mut results = Vec::new();
        let mut begun = None;
        for (store, jobs) in stores.iter().zip(&mut jobs) {
            results.push(match roll {
                0 | 1 => match store
                    .submit(NewJob { owner, priority, start_by, ..new_job_of(model, key.as_deref(), &text) })
                    .await
                    .unwrap()
                {
                    Ok(submitted) => {
                        if !submitted.replayed {
                            jobs.push(submitted.job_id.clone());
                        }
                        let place = jobs.iter().position(|job_id| *job_id == submitted.job_id);
                        format!("{place:?} {}", submitted.replayed)
                    }
                    Err(refusal) => format!("{refusal:?}"),
                },
                2 => match take(*store, wanted.clone(), compared).await {
                    Some(taken) => {
                        let place = jobs.iter().position(|job_id| *job_id == taken.job_id).unwrap();
                        begun = Some((place, taken.attempt));
                        format!("{begun:?} {:?} {}", taken.start_by, taken.submission.messages[0].as_json())
                    }
                    None => "nothing".to_owned(),
                },
                3 | 4 if !runs.is_empty() => {
                    let (place, attempt) = runs[which % runs.len()];
                    if roll == 3 {
                        let outcome = if which % 2 == 0 { done() } else { Outcome::Failed("no".to_owned()) };
                        store.finish(&jobs[place], attempt, outcome).await.unwrap().to_string()
                    } else {
                        match which % 3 {
                            0 => {
                                let taken = store.restart(&jobs[place], attempt, &text).await.unwrap();
                                begun = taken.as_ref().map(|taken| (place, taken.attempt));
                                format!("{begun:?} {:?}", taken.map(|taken| taken.spent))
                            }
                            cost => {
                                let cost = if cost == 1 { Cost::Counts } else { Cost::Free };
                                store.requeue(&jobs[place], attempt, cost, &text).await.unwrap();
                                "queued again".to_owned()
                            }
                        }
                    }
                }
                6 => {
                    let overdue = store.fail_overdue().await.unwrap();
                    let place = |job_id: &JobId| jobs.iter().position(|other| other == job_id).unwrap();
                    let mut places: Vec<_> = overdue.jobs.iter().map(place).collect();
                    places.sort_unstable();
                    format!("{places:?} {:?}", overdue.next)
                }
                _ if !jobs.is_empty() => match store.cancel(owner, &jobs[which % jobs.len()]).await.unwrap() {
                    Cancelled::Ended(status) => format!("{:?} {:?}", status.state, status.error),
                    other => format!("{other:?}"),
                },
                _ => String::new(),
            });
        }
        runs.extend(begun);
        owner_of.resize(jobs[0].len(), owner);
        let when = format!("after step {step} of seed {seed}");
        assert!(results.iter().all(|result| *result == results[0]), "{when}: {results:?}");
        for owner in owners {
            let mut observed = Vec::new();
            for (store, jobs) in stores.iter().zip(&jobs) {
                observed.push(observe(*store, owner, jobs, compared).await);
            }
            for other in &observed {
                assert_eq!(observed[0], *other, "{when}");
            }
            let visible = observed[0].iter().zip(&owner_of).map(|(status, of)| status.is_empty() == (*of != owner));
            assert!(visible.into_iter().all(|right| right), "{when}: {observed:?}");
        }
        let mut progress = Vec::new();
        for (store, jobs) in stores.iter().zip(&jobs) {
            let mut of_store = Vec::new();
            for job_id in jobs {
                of_store.push(format!("{:?}", store.progress(job_id).await.unwrap()));
            }
            progress.push(of_store);
        }
        assert!(progress.iter().all(|other| *other == progress[0]), "{when}: {progress:?}");
    }
}
