//! Random changes in groups, some of which fail alone and some with their whole group. A model tracks every result that the
//! store has returned, and the store must agree with it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::channel;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_test::block_on;

use super::support::{done, new_job, open};
use crate::owner::Owner;
use crate::store::sqlite::db::Db;
use crate::store::sqlite::index::Index;
use crate::store::{
    Cancelled, Claim, NewJob, NextJob, Sqlite, Store as _, StoreError, Submitted, Taken, Verdict, Wanted,
};
use crate::{JobId, JobState};

/// Each write decrements the fuse. At 0 every write fails, until the fuse is set again. A row in `debt` makes the commit fail.
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

/// The result of one change.
enum Reply {
    Submitted(Submitted),
    Taken(Option<Taken>),
    Restarted(JobId, u64, Option<Taken>),
    Finished(JobId, u64, bool),
    Cancelled(JobId, Cancelled),
    Claimed(Claim),
    Settled(JobId, Verdict),
    Sabotaged,
    Failed,
}

type Change<'a> = Pin<Box<dyn Future<Output = Reply> + 'a>>;

fn or_failed<T>(reply: Result<T, StoreError>, then: impl FnOnce(T) -> Reply) -> Reply {
    reply.map_or(Reply::Failed, then)
}

/// The state that follows from all replies.
#[derive(Default)]
struct Expected {
    jobs: HashMap<JobId, ExpectedJob>,
    order: Vec<JobId>,
    runs: Vec<(JobId, u64)>,
    failed: usize,
}

struct ExpectedJob {
    state: JobState,
    attempt: u64,
    /// The states whose events are not delivered yet, and whether the first is being sent.
    events: VecDeque<JobState>,
    sending: bool,
}

impl ExpectedJob {
    fn enter(&mut self, state: JobState) {
        self.state = state.clone();
        self.events.push_back(state);
    }
}

fn job_with_webhook(random: &mut fastrand::Rng) -> NewJob {
    let key = random.bool().then(|| format!("key {}", random.u8(..40)));
    NewJob { webhook: Some("http://h/".parse().unwrap()), ..new_job(key.as_deref(), "go") }
}

/// Random changes that arrive together, sabotage included.
fn changes<'a>(store: &'a Sqlite, expected: &Expected, random: &mut fastrand::Rng) -> Vec<Change<'a>> {
    let mut changes: Vec<Change<'a>> = Vec::new();
    let mut sending: Vec<_> = expected.order.iter().filter(|job_id| expected.jobs[*job_id].sending).cloned().collect();
    for _ in 0..random.usize(1..8) {
        let job_id = random.choice(&expected.order).cloned();
        let run = random.choice(&expected.runs).cloned();
        changes.push(match (random.u8(..12), job_id, run) {
            (2 | 3, ..) => Box::pin(async {
                or_failed(store.take(Wanted::any()).await, |next| {
                    Reply::Taken(next.map(|next| match next {
                        NextJob::Run(taken) => taken,
                        NextJob::Damaged(job_id) => panic!("{job_id}"),
                    }))
                })
            }),
            (4, _, Some((job_id, attempt))) => Box::pin(async move {
                let reply = store.restart(&job_id, attempt, "no").await;
                or_failed(reply, |taken| Reply::Restarted(job_id, attempt, taken))
            }),
            (5, _, Some((job_id, attempt))) => Box::pin(async move {
                let reply = store.finish(&job_id, attempt, done()).await;
                or_failed(reply, |is| Reply::Finished(job_id, attempt, is))
            }),
            (6, Some(job_id), _) => Box::pin(async move {
                let reply = store.cancel(Owner::ANONYMOUS, &job_id).await;
                or_failed(reply, |cancelled| Reply::Cancelled(job_id, cancelled))
            }),
            (7 | 8, ..) => Box::pin(async { or_failed(store.claim().await, Reply::Claimed) }),
            (9 | 10, ..) if !sending.is_empty() => {
                let job_id = sending.swap_remove(random.usize(..sending.len()));
                let verdict = match random.u8(..4) {
                    0 => Verdict::Again(Instant::now()),
                    _ => Verdict::Delivered,
                };
                Box::pin(async move {
                    let reply = store.settle(&job_id, verdict.clone()).await;
                    or_failed(reply, |()| Reply::Settled(job_id, verdict))
                })
            }
            (11, ..) => {
                let (how, new) = (random.i64(0..8), job_with_webhook(random));
                let sabotage = move |db: &mut Db| match how {
                    0 => db.connection.execute_batch("ROLLBACK"),
                    1 => db.connection.execute_batch("INSERT INTO debt VALUES (7)"),
                    // These change the file, and then fail.
                    2 => db.submit(&new).and_then(|_| db.connection.execute_batch("no")),
                    3 => db.take(&Wanted::any()).and_then(|_| db.connection.execute_batch("no")),
                    4 => db.claim().and_then(|_| db.connection.execute_batch("no")),
                    most => db.connection.execute("UPDATE fuse SET n = ?", [(most - 5) * 30]).map(drop),
                };
                Box::pin(async {
                    let _ = store.writer.run(sabotage).await;
                    Reply::Sabotaged
                })
            }
            _ => {
                let new = job_with_webhook(random);
                Box::pin(async { or_failed(store.submit(new).await, |reply| Reply::Submitted(reply.unwrap())) })
            }
        });
    }
    changes
}

impl Expected {
    fn apply(&mut self, reply: Reply) {
        match reply {
            Reply::Submitted(job) if job.replayed => assert!(self.jobs.contains_key(&job.job_id)),
            Reply::Submitted(Submitted { job_id, .. }) => {
                let events = VecDeque::from([JobState::Queued]);
                let job = ExpectedJob { state: JobState::Queued, attempt: 0, events, sending: false };
                assert!(self.jobs.insert(job_id.clone(), job).is_none());
                self.order.push(job_id);
            }
            Reply::Taken(Some(taken)) => {
                let job = self.jobs.get_mut(&taken.job_id).unwrap();
                assert_eq!((&job.state, job.attempt, taken.attempt), (&JobState::Queued, 0, 1));
                job.enter(JobState::Running);
                job.attempt = 1;
                self.runs.push((taken.job_id.clone(), 1));
            }
            Reply::Restarted(job_id, attempt, taken) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                assert_eq!(taken.is_some(), job.state == JobState::Running && job.attempt == attempt);
                if taken.is_some() {
                    job.attempt += 1;
                    self.runs.push((job_id, attempt + 1));
                }
            }
            Reply::Finished(job_id, attempt, is) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                assert_eq!(is, job.state == JobState::Running && job.attempt == attempt);
                if is {
                    job.enter(JobState::Done);
                }
            }
            Reply::Cancelled(job_id, cancelled) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                match cancelled {
                    Cancelled::Ended(_) if !job.state.is_terminal() => job.enter(JobState::Failed),
                    Cancelled::Terminal(state) if job.state == state => {}
                    other => panic!("{other:?}, and it is {:?}", job.state),
                }
            }
            Reply::Claimed(Claim::Now(delivery)) => {
                let job = self.jobs.get_mut(&delivery.job_id).unwrap();
                assert!(!job.sending, "one at a time");
                assert_eq!(Some(&delivery.status.state), job.events.front());
                job.sending = true;
            }
            Reply::Settled(job_id, verdict) => {
                let job = self.jobs.get_mut(&job_id).unwrap();
                job.sending = false;
                if verdict == Verdict::Delivered {
                    job.events.pop_front();
                }
            }
            Reply::Failed => self.failed += 1,
            Reply::Taken(None) | Reply::Claimed(_) | Reply::Sabotaged => {}
        }
    }

    /// Asserts that file and index agree with the replies.
    fn assert_agrees(&self, store: &Sqlite, when: &str) {
        let contents = store.writer.run(|db| {
            let sending = db.index().sending.clone();
            let (file, jobs) = (
                Index::load(db, sending)?.contents(),
                db.connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get::<_, i64>(0))?,
            );
            Ok((db.index().contents(), file, jobs))
        });
        let (index, file, jobs) = block_on(contents).unwrap();
        assert_eq!(index, file, "{when}");
        assert_eq!(usize::try_from(jobs).unwrap(), self.jobs.len(), "{when}");
        assert_eq!(index.sending.len(), self.jobs.values().filter(|job| job.sending).count(), "{when}");
        for (job_id, job) in &self.jobs {
            let status = block_on(store.status(Owner::ANONYMOUS, job_id)).unwrap().unwrap();
            assert_eq!((&status.state, status.attempt), (&job.state, job.attempt), "{when}");
        }
    }
}

/// Makes the store apply the changes in one group.
fn in_one_group<'a>(store: &'a Sqlite, expected: &mut Expected, mut changes: Vec<Change<'a>>) {
    let (go, waits) = channel::<()>();
    let first = store.writer.run(move |_| {
        let _ = waits.recv();
        Ok(())
    });
    changes.insert(
        0,
        Box::pin(async {
            // Its group may fail.
            let _ = first.await;
            Reply::Sabotaged
        }),
    );
    changes.push(Box::pin(async move {
        drop(go);
        Reply::Sabotaged
    }));
    for reply in block_on(join_all(changes)) {
        expected.apply(reply);
    }
}

#[test]
fn store_agrees_with_its_replies_after_failures() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        block_on(store.writer.run(|db| db.connection.execute_batch(FUSE))).unwrap();
        let mut expected = Expected::default();
        for step in 0..40 {
            let changes = changes(&store, &expected, &mut random);
            in_one_group(&store, &mut expected, changes);
            expected.assert_agrees(&store, &format!("after step {step} of seed {seed}"));
        }
        assert!(expected.failed > 5 && expected.jobs.len() > 5, "{} {}", expected.failed, expected.jobs.len());

        // Nothing is lost: every job runs, and every event is sent.
        block_on(store.writer.run(|db| db.connection.execute_batch("UPDATE fuse SET n = 1000000"))).unwrap();
        let sent: Vec<_> = expected.order.iter().filter(|job_id| expected.jobs[*job_id].sending).cloned().collect();
        for job_id in sent {
            block_on(store.settle(&job_id, Verdict::Delivered)).unwrap();
            expected.apply(Reply::Settled(job_id, Verdict::Delivered));
        }
        while let Some(NextJob::Run(taken)) = block_on(store.take(Wanted::any())).unwrap() {
            expected.apply(Reply::Taken(Some(taken)));
        }
        for (job_id, attempt) in expected.runs.clone() {
            let is = block_on(store.finish(&job_id, attempt, done())).unwrap();
            expected.apply(Reply::Finished(job_id, attempt, is));
        }
        while let Claim::Now(delivery) = block_on(store.claim()).unwrap() {
            let job_id = delivery.job_id.clone();
            expected.apply(Reply::Claimed(Claim::Now(delivery)));
            block_on(store.settle(&job_id, Verdict::Delivered)).unwrap();
            expected.apply(Reply::Settled(job_id, Verdict::Delivered));
        }
        expected.assert_agrees(&store, &format!("at the end of seed {seed}"));
        assert!(expected.jobs.values().all(|job| job.state.is_terminal() && job.events.is_empty()), "seed {seed}");
    }
}
