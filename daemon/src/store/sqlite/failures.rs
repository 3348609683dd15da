//! Changes that fail at random among others that do not, in groups and with whole groups.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::channel;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_test::block_on;

use super::Sqlite;
use super::db::Db;
use super::index::Index;
use super::tests::{done, new, open};
use crate::owner::Owner;
use crate::store::{Cancelled, Claim, NewJob, NextJob, Store as _, StoreError, Submitted, Taken, Verdict};
use crate::{JobId, JobState};

/// Each write counts down, and from 0 on every write fails, until the count is set anew; so does a commit with a debt.
const FUSE: &str = "
    CREATE TEMP TABLE fuse AS SELECT 1000 AS n;
    CREATE TEMP TABLE lender (id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE debt (lender INTEGER REFERENCES lender DEFERRABLE INITIALLY DEFERRED);
    CREATE TEMP TRIGGER a BEFORE INSERT ON main.jobs BEGIN
        SELECT RAISE(ABORT, 'fuse') FROM fuse WHERE n = 0; UPDATE fuse SET n = n - 1; END;
    CREATE TEMP TRIGGER b BEFORE UPDATE ON main.jobs BEGIN
        SELECT RAISE(ABORT, 'fuse') FROM fuse WHERE n = 0; UPDATE fuse SET n = n - 1; END;
    CREATE TEMP TRIGGER c BEFORE INSERT ON main.events BEGIN
        SELECT RAISE(ABORT, 'fuse') FROM fuse WHERE n = 0; UPDATE fuse SET n = n - 1; END;
    CREATE TEMP TRIGGER d BEFORE UPDATE ON main.events BEGIN
        SELECT RAISE(ABORT, 'fuse') FROM fuse WHERE n = 0; UPDATE fuse SET n = n - 1; END;
    CREATE TEMP TRIGGER e BEFORE DELETE ON main.events BEGIN
        SELECT RAISE(ABORT, 'fuse') FROM fuse WHERE n = 0; UPDATE fuse SET n = n - 1; END;
";

/// What was told of one change.
enum Told {
    Submitted(Submitted),
    Taken(Option<Taken>),
    Restarted(JobId, u64, Option<Taken>),
    Finished(JobId, u64, bool),
    Cancelled(JobId, Cancelled),
    Claimed(Claim),
    Settled(JobId, Verdict),
    Sabotaged,
    Broken,
}

type Change<'a> = Pin<Box<dyn Future<Output = Told> + 'a>>;

fn or_broken<T>(told: Result<T, StoreError>, then: impl FnOnce(T) -> Told) -> Told {
    told.map_or(Told::Broken, then)
}

/// What is so by all that was told.
#[derive(Default)]
struct World {
    jobs: HashMap<JobId, Job>,
    order: Vec<JobId>,
    runs: Vec<(JobId, u64)>,
    broken: usize,
}

struct Job {
    state: JobState,
    attempt: u64,
    /// The states that are to be told yet, and whether the first is being told.
    events: VecDeque<JobState>,
    sending: bool,
}

impl Job {
    fn becomes(&mut self, state: JobState) {
        self.state = state.clone();
        self.events.push_back(state);
    }
}

fn told_job(random: &mut fastrand::Rng) -> NewJob {
    let key = random.bool().then(|| format!("key {}", random.u8(..40)));
    NewJob { webhook: Some("http://h/".parse().unwrap()), ..new(key.as_deref(), "go") }
}

/// Some changes that come together, those that are sabotage among them.
fn changes<'a>(store: &'a Sqlite, world: &World, random: &mut fastrand::Rng) -> Vec<Change<'a>> {
    let mut changes: Vec<Change<'a>> = Vec::new();
    let mut sending: Vec<_> = world.order.iter().filter(|job_id| world.jobs[*job_id].sending).cloned().collect();
    for _ in 0..random.usize(1..8) {
        let job_id = random.choice(&world.order).cloned();
        let run = random.choice(&world.runs).cloned();
        changes.push(match (random.u8(..12), job_id, run) {
            (2 | 3, ..) => Box::pin(async {
                or_broken(store.take().await, |next| {
                    Told::Taken(next.map(|next| match next {
                        NextJob::Run(taken) => taken,
                        NextJob::Damaged(job_id) => panic!("{job_id}"),
                    }))
                })
            }),
            (4, _, Some((job_id, attempt))) => Box::pin(async move {
                let told = store.restart(&job_id, attempt).await;
                or_broken(told, |taken| Told::Restarted(job_id, attempt, taken))
            }),
            (5, _, Some((job_id, attempt))) => Box::pin(async move {
                let told = store.finish(&job_id, attempt, done()).await;
                or_broken(told, |is| Told::Finished(job_id, attempt, is))
            }),
            (6, Some(job_id), _) => Box::pin(async move {
                let told = store.cancel(Owner::ANONYMOUS, &job_id).await;
                or_broken(told, |cancelled| Told::Cancelled(job_id, cancelled))
            }),
            (7 | 8, ..) => Box::pin(async { or_broken(store.claim().await, Told::Claimed) }),
            (9 | 10, ..) if !sending.is_empty() => {
                let job_id = sending.swap_remove(random.usize(..sending.len()));
                let verdict = match random.u8(..4) {
                    0 => Verdict::Again(Instant::now()),
                    1 => Verdict::Behind,
                    _ => Verdict::Delivered,
                };
                Box::pin(async move {
                    let told = store.settle(&job_id, verdict.clone()).await;
                    or_broken(told, |()| Told::Settled(job_id, verdict))
                })
            }
            (11, ..) => {
                let (how, new) = (random.i64(0..8), told_job(random));
                let sabotage = move |db: &mut Db| match how {
                    0 => db.connection.execute_batch("ROLLBACK"),
                    1 => db.connection.execute_batch("INSERT INTO debt VALUES (7)"),
                    // Changes, and then fails.
                    2 => db.submit(&new).and_then(|_| db.connection.execute_batch("no")),
                    3 => db.take().and_then(|_| db.connection.execute_batch("no")),
                    4 => db.claim().and_then(|_| db.connection.execute_batch("no")),
                    most => db.connection.execute("UPDATE fuse SET n = ?", [(most - 5) * 30]).map(drop),
                };
                Box::pin(async {
                    let _ = store.writer.run(sabotage).await;
                    Told::Sabotaged
                })
            }
            _ => {
                let new = told_job(random);
                Box::pin(async { or_broken(store.submit(new).await, |told| Told::Submitted(told.unwrap())) })
            }
        });
    }
    changes
}

impl World {
    fn is_told(&mut self, told: Told) {
        match told {
            Told::Submitted(job) if job.replayed => assert!(self.jobs.contains_key(&job.job_id)),
            Told::Submitted(Submitted { job_id, .. }) => {
                let events = VecDeque::from([JobState::Queued]);
                let job = Job { state: JobState::Queued, attempt: 0, events, sending: false };
                assert!(self.jobs.insert(job_id.clone(), job).is_none());
                self.order.push(job_id);
            }
            Told::Taken(Some(taken)) => {
                let job = self.jobs.get_mut(&taken.job_id).unwrap();
                assert_eq!((&job.state, job.attempt, taken.attempt), (&JobState::Queued, 0, 1));
                job.becomes(JobState::Running);
                job.attempt = 1;
                self.runs.push((taken.job_id.clone(), 1));
            }
            Told::Restarted(job_id, attempt, taken) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                assert_eq!(taken.is_some(), job.state == JobState::Running && job.attempt == attempt);
                if taken.is_some() {
                    job.attempt += 1;
                    self.runs.push((job_id, attempt + 1));
                }
            }
            Told::Finished(job_id, attempt, is) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                assert_eq!(is, job.state == JobState::Running && job.attempt == attempt);
                if is {
                    job.becomes(JobState::Done);
                }
            }
            Told::Cancelled(job_id, cancelled) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                match cancelled {
                    Cancelled::Ended(_) if !job.state.is_terminal() => job.becomes(JobState::Failed),
                    Cancelled::Terminal(state) if job.state == state => {}
                    other => panic!("{other:?}, and it is {:?}", job.state),
                }
            }
            Told::Claimed(Claim::Now(mail)) => {
                let job = self.jobs.get_mut(&mail.job_id).unwrap();
                assert!(!job.sending, "one at a time");
                assert_eq!(Some(&mail.status.state), job.events.front());
                job.sending = true;
            }
            Told::Settled(job_id, verdict) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                job.sending = false;
                match verdict {
                    Verdict::Delivered => _ = job.events.pop_front(),
                    Verdict::Behind => job.events.rotate_left(1),
                    _ => {}
                }
            }
            Told::Broken => self.broken += 1,
            Told::Taken(None) | Told::Claimed(_) | Told::Sabotaged => {}
        }
    }

    /// Whether file and index are as was told.
    fn is_kept(&self, store: &Sqlite, when: &str) {
        let held = store.writer.run(|db| {
            let sending = db.index().sending.clone();
            let (file, jobs) = (
                Index::load(db, sending)?.held(),
                db.connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get::<_, i64>(0))?,
            );
            Ok((db.index().held(), file, jobs))
        });
        let (index, file, jobs) = block_on(held).unwrap();
        assert_eq!(index, file, "{when}");
        assert_eq!(usize::try_from(jobs).unwrap(), self.jobs.len(), "{when}");
        assert_eq!(index.2.len(), self.jobs.values().filter(|job| job.sending).count(), "{when}");
        for (job_id, job) in &self.jobs {
            let status = block_on(store.status(Owner::ANONYMOUS, job_id)).unwrap().unwrap();
            assert_eq!((&status.state, status.attempt), (&job.state, job.attempt), "{when}");
        }
    }
}

/// Has the changes done in one group.
fn together<'a>(store: &'a Sqlite, world: &mut World, mut changes: Vec<Change<'a>>) {
    let (go, waits) = channel::<()>();
    let first = store.writer.run(move |_| {
        let _ = waits.recv();
        Ok(())
    });
    changes.insert(
        0,
        Box::pin(async {
            // A group may be lost with its first.
            let _ = first.await;
            Told::Sabotaged
        }),
    );
    changes.push(Box::pin(async move {
        drop(go);
        Told::Sabotaged
    }));
    for told in block_on(join_all(changes)) {
        world.is_told(told);
    }
}

#[test]
fn what_was_told_is_kept_and_nothing_else_whatever_fails() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        block_on(store.writer.run(|db| db.connection.execute_batch(FUSE))).unwrap();
        let mut world = World::default();
        for step in 0..40 {
            let changes = changes(&store, &world, &mut random);
            together(&store, &mut world, changes);
            world.is_kept(&store, &format!("after step {step} of seed {seed}"));
        }
        assert!(world.broken > 5 && world.jobs.len() > 5, "{} {}", world.broken, world.jobs.len());

        // Nothing is lost: every job is run, and every event told.
        block_on(store.writer.run(|db| db.connection.execute_batch("UPDATE fuse SET n = 1000000"))).unwrap();
        let sent: Vec<_> = world.order.iter().filter(|job_id| world.jobs[*job_id].sending).cloned().collect();
        for job_id in sent {
            block_on(store.settle(&job_id, Verdict::Delivered)).unwrap();
            world.is_told(Told::Settled(job_id, Verdict::Delivered));
        }
        while let Some(NextJob::Run(taken)) = block_on(store.take()).unwrap() {
            world.is_told(Told::Taken(Some(taken)));
        }
        for (job_id, attempt) in world.runs.clone() {
            let is = block_on(store.finish(&job_id, attempt, done())).unwrap();
            world.is_told(Told::Finished(job_id, attempt, is));
        }
        while let Claim::Now(mail) = block_on(store.claim()).unwrap() {
            let job_id = mail.job_id.clone();
            world.is_told(Told::Claimed(Claim::Now(mail)));
            block_on(store.settle(&job_id, Verdict::Delivered)).unwrap();
            world.is_told(Told::Settled(job_id, Verdict::Delivered));
        }
        world.is_kept(&store, &format!("at the end of seed {seed}"));
        assert!(world.jobs.values().all(|job| job.state.is_terminal() && job.events.is_empty()), "seed {seed}");
    }
}
