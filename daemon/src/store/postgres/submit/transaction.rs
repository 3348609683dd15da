use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::Client;
use futures_util::future::{join, join5};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::JobId;
use crate::store::fresh_id::fresh_id;
use crate::store::key_column::key_column;
use crate::store::postgres::connection::{execute, query};
use crate::store::postgres::store::State;
use crate::store::{Destination, NewJob, QueueLimits, StoreError, SubmitError, Submitted};

const ADD_OWNERS: &str = "INSERT INTO owners (owner) SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING";
const LOCK_OWNERS: &str = "SELECT owner, queued FROM owners WHERE owner = ANY($1) ORDER BY owner FOR UPDATE";
/// Also the number of this transaction.
const QUEUED: &str = "SELECT coalesce(sum(queued), 0)::bigint, pg_current_xact_id()::text FROM owners";
const USED_KEYS: &str = "SELECT key, id, digest FROM jobs WHERE key = ANY($1)";
const INSERT: &str = "INSERT INTO jobs (id, owner, model, body, webhook, destination, traceparent, key, digest, event_stream,
        priority, start_by)
    SELECT id, owner, model, body, webhook, destination, traceparent, key, digest, event_stream, priority,
        least(to_timestamp(deadline::double precision / 1000000), clock_timestamp() + ttl * interval '1 microsecond')
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::bytea[],
        $10::text[], $11::smallint[], $12::bigint[], $13::bigint[]) WITH ORDINALITY
        AS new (id, owner, model, body, webhook, destination, traceparent, key, digest, event_stream, priority, deadline, ttl, nth)
    ORDER BY nth";
const MOVE: &str = "WITH moved AS (UPDATE jobs SET webhook = $2, destination = $3 WHERE id = $1 RETURNING number)
    UPDATE outbox SET destination = $3 FROM moved WHERE outbox.number = moved.number";
const SET_STREAM: &str = "UPDATE jobs SET event_stream = $2 WHERE id = $1";

pub(super) type Outcome = Result<Submitted, SubmitError>;

/// How long a transaction waits for the lock of a token.
#[derive(Debug, Clone, Copy)]
pub(super) enum LockTimeout {
    /// So long that the other submissions of a group hardly notice: locks are held for milliseconds, unless somebody else holds one.
    Short,
    OfSession,
}

impl LockTimeout {
    fn begin(self) -> &'static str {
        match self {
            Self::Short => "BEGIN; SET LOCAL lock_timeout = '200ms'",
            Self::OfSession => "BEGIN",
        }
    }
}

/// A transaction whose commit was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) transaction: String,
    /// The jobs that it adds.
    pub(super) added: Vec<JobId>,
    /// If it is committed.
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was added.
    Store(StoreError),
    /// The commit was sent, and has failed or had no answer.
    InDoubt { error: StoreError, sent: Sent },
}

/// Adds jobs, in their order.
pub(super) async fn add(
    shared: &State,
    jobs: Vec<Arc<NewJob>>,
    lock_timeout: LockTimeout,
) -> Result<Vec<Outcome>, Failure> {
    let (limits, sent) = (shared.options.max_queue, Arc::<Mutex<_>>::default());
    let committing = Arc::clone(&sent);
    let done = shared.database.run(move |client| {
        Box::pin(async move {
            let jobs: Vec<&NewJob> = jobs.iter().map(|new| &**new).collect();
            transaction(client, &jobs, limits, lock_timeout, &committing).await
        })
    });
    let done = done.await;
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (done, sent) {
        (Ok(()), Some(sent)) => Ok(sent.outcomes),
        (Ok(()), None) => Err(Failure::Store(StoreError::closed())),
        (Err(error), None) => Err(Failure::Store(error)),
        (Err(error), Some(sent)) => Err(Failure::InDoubt { error, sent }),
    }
}

/// `committing`: set before the commit is sent.
async fn transaction(
    client: &mut Client,
    jobs: &[&NewJob],
    limits: QueueLimits,
    lock_timeout: LockTimeout,
    committing: &Mutex<Option<Sent>>,
) -> Result<(), StoreError> {
    // In order, so that two daemons that add the same tokens do not wait for each other.
    let owners: BTreeSet<&[u8]> = jobs.iter().map(|new| &new.owner.as_bytes()[..]).collect();
    let owners: Vec<&[u8]> = owners.into_iter().collect();
    let keys: Vec<OwnedKey> = jobs.iter().filter_map(|new| owned_key(new)).collect();
    // A statement that is prepared is sent when its future is first polled, so that all of them arrive in this order.
    for sql in [ADD_OWNERS, LOCK_OWNERS, QUEUED, USED_KEYS, INSERT] {
        client.prepare_cached(sql).await?;
    }
    // The tokens are added before the transaction, and without a lock where they are known.
    let (added, begun, locked, queued, used) = join5(
        execute(client, ADD_OWNERS, &[&owners]),
        client.batch_execute(lock_timeout.begin()),
        query(client, LOCK_OWNERS, &[&owners]),
        query(client, QUEUED, &[]),
        query(client, USED_KEYS, &[&keys]),
    )
    .await;
    added?;
    begun?;
    // The first failure is the cause of those after it.
    let (locked, queued, used) = (locked?, queued?, used?);
    let queued = queued.first().ok_or_else(StoreError::database_silent)?;
    let count = |row: &Row, column| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let mut group = Group {
        queued: locked.iter().map(|row| (row.get(0), count(row, 1))).collect(),
        all: count(queued, 0),
        used: HashMap::new(),
        limits,
        added: Vec::new(),
    };
    for row in used {
        let job_id = JobId::new(row.get::<_, String>(1)).map_err(|error| StoreError::damaged_row(error.into()))?;
        group.used.insert(row.get(0), (job_id, row.get(2)));
    }
    let outcomes: Vec<Outcome> = jobs.iter().enumerate().map(|(index, new)| group.add(index, new)).collect();
    let replayed: Vec<_> = jobs
        .iter()
        .zip(&outcomes)
        .filter_map(|(new, outcome)| {
            let submitted = outcome.as_ref().ok()?;
            submitted.replayed.then(|| (*new, submitted.job_id.clone()))
        })
        .collect();
    let sent = Sent {
        transaction: queued.get(1),
        added: group.added.iter().map(|(_, job_id)| job_id.clone()).collect(),
        outcomes,
    };
    let is_sent = || *committing.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
    if replayed.is_empty() {
        // If the jobs cannot be added, the transaction is rolled back by this commit.
        is_sent();
        let (inserted, committed) = join(insert(client, jobs, &group.added), client.batch_execute("COMMIT")).await;
        inserted?;
        committed?;
    } else {
        insert(client, jobs, &group.added).await?;
        for (new, job_id) in replayed {
            replay(client, new, &job_id).await?;
        }
        is_sent();
        client.batch_execute("COMMIT").await?;
    }
    Ok(())
}

/// A token and its key, as a column.
type OwnedKey = Vec<u8>;

fn owned_key(new: &NewJob) -> Option<OwnedKey> {
    let key = key_column(&new.key.as_ref()?.text);
    Some([&new.owner.as_bytes()[..], &key].concat())
}

/// The job of a key, and the digest of its submission.
type UsedKey = (JobId, Vec<u8>);

/// What decides about the submissions of a group.
struct Group {
    /// How many jobs each token has in the queue.
    queued: HashMap<Vec<u8>, usize>,
    all: usize,
    used: HashMap<OwnedKey, UsedKey>,
    limits: QueueLimits,
    /// The jobs to be added, by their indexes.
    added: Vec<(usize, JobId)>,
}

impl Group {
    fn add(&mut self, index: usize, new: &NewJob) -> Outcome {
        let owner = new.owner.as_bytes().to_vec();
        let key = owned_key(new);
        if let Some((job_id, digest)) = key.as_ref().and_then(|key| self.used.get(key)) {
            let is_same = new.key.as_ref().is_some_and(|key| key.digest[..] == digest[..]);
            return if is_same {
                Ok(Submitted { job_id: job_id.clone(), replayed: true })
            } else {
                Err(SubmitError::KeyReused)
            };
        }
        let of_owner = self.queued.entry(owner).or_default();
        if self.all >= self.limits.all {
            return Err(SubmitError::Full);
        }
        if *of_owner >= self.limits.of_owner {
            return Err(SubmitError::TooManyOfOwner);
        }
        *of_owner += 1;
        self.all += 1;
        let job_id = fresh_id();
        if let (Some(key), Some(used)) = (key, &new.key) {
            self.used.insert(key, (job_id.clone(), used.digest.to_vec()));
        }
        self.added.push((index, job_id.clone()));
        Ok(Submitted { job_id, replayed: false })
    }
}

/// A client that was restarted gets its events elsewhere.
async fn replay(client: &Client, new: &NewJob, job_id: &JobId) -> Result<(), StoreError> {
    if let Some(url) = &new.webhook {
        execute(client, MOVE, &[&job_id.as_str(), &url.to_string(), &Destination::of(url).to_string()]).await?;
    }
    if let Some(name) = &new.submission.event_stream {
        execute(client, SET_STREAM, &[&job_id.as_str(), name]).await?;
    }
    Ok(())
}

async fn insert(client: &Client, jobs: &[&NewJob], added: &[(usize, JobId)]) -> Result<(), StoreError> {
    if added.is_empty() {
        return Ok(());
    }
    fn column<'a, T>(jobs: &[&'a NewJob], added: &[(usize, JobId)], of: impl Fn(&'a NewJob) -> T) -> Vec<T> {
        added.iter().map(|(index, _)| of(jobs[*index])).collect()
    }
    let ids: Vec<&str> = added.iter().map(|(_, job_id)| job_id.as_str()).collect();
    let owners = column(jobs, added, |new| &new.owner.as_bytes()[..]);
    let models = column(jobs, added, |new| new.submission.model.as_str());
    let bodies = column(jobs, added, |new| &new.body[..]);
    let webhooks = column(jobs, added, |new| new.webhook.as_ref().map(ToString::to_string));
    let destinations = column(jobs, added, |new| new.webhook.as_ref().map(|url| Destination::of(url).to_string()));
    let traceparents = column(jobs, added, |new| new.traceparent.as_ref().map(http::HeaderValue::as_bytes));
    let keys = column(jobs, added, owned_key);
    let digests = column(jobs, added, |new| new.key.as_ref().map(|key| &key.digest[..]));
    let streams = column(jobs, added, |new| new.submission.event_stream.as_deref());
    let priorities = column(jobs, added, |new| i16::from(new.priority));
    let deadlines = column(jobs, added, |new| start_by(new).0);
    let ttls = column(jobs, added, |new| start_by(new).1);
    let values: [&(dyn ToSql + Sync); 13] = [
        &ids,
        &owners,
        &models,
        &bodies,
        &webhooks,
        &destinations,
        &traceparents,
        &keys,
        &digests,
        &streams,
        &priorities,
        &deadlines,
        &ttls,
    ];
    execute(client, INSERT, &values).await.map(drop)
}

/// The beginning of the year 1, in microseconds.
const FIRST_YEAR: i64 = -62_135_596_800_000_000;

/// When the job fails if it has not been started: at a time, and after a time, in microseconds. The database counts the second by its own
/// clock, since the daemon's may differ.
fn start_by(new: &NewJob) -> (Option<i64>, Option<i64>) {
    // A time that is too far away never comes.
    let ttl = new.submission.ttl.filter(|ttl| Timestamp::now().checked_add(*ttl).is_ok());
    let at = if ttl.is_some() { new.submission.deadline } else { new.start_by };
    // The database has no earlier years.
    let at = at.map(|at| at.as_microsecond().max(FIRST_YEAR));
    (at, ttl.and_then(|ttl| i64::try_from(ttl.as_micros()).ok()))
}
