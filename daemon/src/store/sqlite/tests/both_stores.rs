//! The same random calls to both stores give the same results.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_test::block_on;

use super::support::{done, new_job_of, open_with, options, take_wanted};
use crate::owner::Owner;
use crate::store::{Cancelled, Cost, Memory, NewJob, Outcome, Query, Store, Wanted};
use crate::{JobId, JobState, JobStatus};

/// All that the store returns to the owner, without ids and times, which differ between stores.
fn observe(store: &dyn Store, owner: Owner, jobs: &[JobId]) -> Vec<String> {
    let status = |job_id| block_on(store.status(owner, job_id)).unwrap();
    let statuses = jobs.iter().map(status).map(|status| {
        status.map_or_else(String::new, |status| {
            let result = status.result.as_ref().map(|result| result.get().to_owned());
            let times = (status.started_at.is_some(), status.completed_at.is_some());
            format!(
                "{:?} {} {:?} {:?} {:?} {:?} {times:?}",
                status.state, status.attempt, status.position, result, status.error, status.last_error
            )
        })
    });
    let mut observed: Vec<_> = statuses.collect();
    for state in [None, Some(JobState::Queued), Some(JobState::Failed)] {
        let mut before = None;
        loop {
            let page =
                block_on(store.list(Query { owner, state: state.clone(), before, limit: 3, results: true })).unwrap();
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
    let owners = [Owner::ANONYMOUS, Owner::from_token(b"a token")];
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut limits = options(6);
        limits.max_queue.running_of_owner = 2;
        let (sqlite, memory) = (open_with(&folder, limits.clone()), Memory::new(limits));
        let stores: [&dyn Store; 2] = [&sqlite, &memory];
        let mut jobs: [Vec<JobId>; 2] = [Vec::new(), Vec::new()];
        let mut owner_of = Vec::new();
        let mut runs: Vec<(usize, u64)> = Vec::new();
        for step in 0..60 {
            let (which, roll, text) = (random.usize(..100), random.u8(..7), "x".repeat(random.usize(1..3)));
            let owner = owners[random.usize(..2)];
            let key = random.bool().then(|| format!("key {}", random.u8(..5)));
            let model = ["a", "b", "c"][random.usize(..3)];
            let priority = random.i8(-1..2);
            let wanted = Wanted {
                backend: random.usize(..2),
                models: random.bool().then(|| Arc::new(["a", "b"].into_iter().collect())),
            };
            let start_by = (random.u8(..4) == 0).then_some(Timestamp::UNIX_EPOCH);
            let mut results = Vec::new();
            let mut begun = None;
            for (store, jobs) in stores.iter().zip(&mut jobs) {
                results.push(match roll {
                    0 | 1 => match block_on(store.submit(NewJob {
                        owner,
                        priority,
                        start_by,
                        ..new_job_of(model, key.as_deref(), &text)
                    }))
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
                    2 => match take_wanted(*store, wanted.clone()) {
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
                            block_on(store.finish(&jobs[place], attempt, outcome)).unwrap().to_string()
                        } else {
                            match which % 3 {
                                0 => {
                                    let taken = block_on(store.restart(&jobs[place], attempt, &text)).unwrap();
                                    begun = taken.as_ref().map(|taken| (place, taken.attempt));
                                    format!("{begun:?} {:?}", taken.map(|taken| taken.spent))
                                }
                                cost => {
                                    let cost = if cost == 1 { Cost::Counts } else { Cost::Free };
                                    block_on(store.requeue(&jobs[place], attempt, cost, &text)).unwrap();
                                    "queued again".to_owned()
                                }
                            }
                        }
                    }
                    6 => {
                        let overdue = block_on(store.fail_overdue()).unwrap();
                        let place = |job_id: &JobId| jobs.iter().position(|other| other == job_id).unwrap();
                        format!("{:?} {:?}", overdue.jobs.iter().map(place).collect::<Vec<_>>(), overdue.next)
                    }
                    _ if !jobs.is_empty() => match block_on(store.cancel(owner, &jobs[which % jobs.len()])).unwrap() {
                        Cancelled::Ended(status) => format!("{:?} {:?}", status.state, status.error),
                        other => format!("{other:?}"),
                    },
                    _ => String::new(),
                });
            }
            runs.extend(begun);
            owner_of.resize(jobs[0].len(), owner);
            assert_eq!(results[0], results[1], "step {step} of seed {seed}");
            for owner in owners {
                let observed = (observe(&sqlite, owner, &jobs[0]), observe(&memory, owner, &jobs[1]));
                assert_eq!(observed.0, observed.1, "after step {step} of seed {seed}");
                let visible = observed.0.iter().zip(&owner_of).map(|(status, of)| status.is_empty() == (*of != owner));
                assert!(visible.into_iter().all(|right| right), "after step {step} of seed {seed}: {observed:?}");
            }
            let progress = |store: &dyn Store, jobs: &[JobId]| -> Vec<String> {
                jobs.iter().map(|job_id| format!("{:?}", block_on(store.progress(job_id)).unwrap())).collect()
            };
            assert_eq!(progress(&sqlite, &jobs[0]), progress(&memory, &jobs[1]), "after step {step} of seed {seed}");
        }
    }
}
