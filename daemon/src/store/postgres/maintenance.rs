use std::time::Duration;

use foreman_protocol::HumanDuration;
use tokio::time::sleep;

use super::clock::NOW;
use super::connection::{execute, query};
use super::row::job_ids;
use super::store::State;
use crate::outage_log::OutageLog;
use crate::store::StoreError;

/// How often each daemon looks for what others have left, unless leases are short.
const INTERVAL: Duration = Duration::from_secs(5);

/// How many expired jobs one statement deletes. It bounds how long it holds locks.
const SWEEP_LIMIT: i64 = 500;

/// How many such statements there are in one pass. It bounds how long the leases of others are not looked at.
const SWEEPS: usize = 20;

/// Ends the leases that have not been renewed.
const END_LEASES: &str = "SELECT end_leases()";

const REQUEUE_ORPHANS: &str = "SELECT requeue_running(NULL, 0, $1, 'daemon lost', false)";

/// Releases the events that daemons were sending that are gone.
const RELEASE_EVENTS: &str = "UPDATE outbox SET box = NULL WHERE number IN
    (SELECT number FROM outbox WHERE box IS NOT NULL AND NOT EXISTS (SELECT FROM boxes WHERE id = box)
     FOR UPDATE SKIP LOCKED)";

/// A job whose event is being sent is deleted later.
const SWEEP: &str = "DELETE FROM jobs WHERE number IN
    (SELECT number FROM jobs WHERE completed_at < clock_timestamp() - make_interval(secs => $1)
        AND NOT EXISTS (SELECT FROM outbox WHERE outbox.number = jobs.number AND box IS NOT NULL)
     ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

const RUNNING_HERE: &str = "SELECT id FROM jobs WHERE box = $1 AND state = 'running'";

const SENDING_HERE: &str = "SELECT number FROM outbox WHERE box = $1";

/// A change whose answer was lost has given this daemon a job that it does not know of. One that is locked is given back later.
const GIVE_BACK: &str = "UPDATE jobs SET state = 'queued', spent = greatest(spent - 1, 0), box = NULL
    FROM (SELECT number, owner FROM jobs JOIN owners USING (owner) WHERE id = $1
        FOR UPDATE OF owners SKIP LOCKED FOR NO KEY UPDATE OF jobs SKIP LOCKED) AS locked
    WHERE jobs.number = locked.number AND state = 'running' AND box = $2";

const GIVE_BACK_EVENTS: &str = "UPDATE outbox SET box = NULL WHERE number IN
    (SELECT number FROM outbox WHERE box = $1 AND number = ANY($2) FOR UPDATE SKIP LOCKED)";

/// Queues the jobs of daemons that are gone, deletes expired jobs, and repairs what lost answers have left, for ever.
pub(super) async fn maintain(shared: &State) {
    let log = OutageLog::new("maintain the store");
    loop {
        // Not all daemons at once.
        sleep(shared.lease.pace().min(INTERVAL).mul_f64(0.5 + fastrand::f64())).await;
        // An error of its own is that of the caller.
        // The log has the error.
        let _ = log.observe(pass(shared), |()| true).await;
    }
}

/// Does it once. A part that fails delays no other.
pub(super) async fn pass(shared: &State) -> Result<(), StoreError> {
    check_clock(shared).await?;
    let ended = if shared.lease.is_steady() { end_leases(shared).await } else { Ok(()) };
    let reconciled = reconcile(shared).await;
    sweep_some(shared).await.and(reconciled).and(ended)
}

/// If the clock of the database was set, all leases may seem to be over. Then each daemon gets the time to renew its own.
async fn check_clock(shared: &State) -> Result<(), StoreError> {
    let now = shared.database.run(|client| Box::pin(async move { Ok(client.query_one(NOW, &[]).await?.get(0)) }));
    let set_by = shared.clock.set_by(now.await?);
    if set_by > shared.lease.length() / 4 {
        tracing::warn!(by = %HumanDuration(set_by), "the clock of the database was set");
        shared.lease.begin_steadiness();
    }
    Ok(())
}

/// Queues the jobs again whose daemons have not renewed their leases. The leases end before that, in a transaction of their own, so that
/// such a daemon can start no job in between.
pub(super) async fn end_leases(shared: &State) -> Result<(), StoreError> {
    let most = i64::try_from(shared.options.attempts).unwrap_or(i64::MAX);
    let (ended, requeued, released) = shared
        .database
        .run(move |client| {
            Box::pin(async move {
                let ended: i64 = client.query_one(END_LEASES, &[]).await?.get(0);
                let requeued: i64 = client.query_one(REQUEUE_ORPHANS, &[&most]).await?.get(0);
                Ok((ended, requeued, execute(client, RELEASE_EVENTS, &[]).await?))
            })
        })
        .await?;
    if released > 0 {
        shared.options.notifications.event_due.notify_one();
    }
    if ended > 0 || requeued > 0 {
        tracing::warn!(daemons = ended, jobs = requeued, "daemons did not renew their leases, their jobs run again");
        shared.feed.notify_one();
    }
    Ok(())
}

/// Gives back the jobs and events that the database has as running or being sent here, and that this daemon does not know of.
pub(super) async fn reconcile(shared: &State) -> Result<(), StoreError> {
    // No job or event is taken meanwhile.
    let _taking = shared.taking.write().await;
    let _claiming = shared.claiming.lock().await;
    let id = shared.lease.id();
    let (running, sending) = shared
        .database
        .run(move |client| {
            Box::pin(async move {
                Ok((query(client, RUNNING_HERE, &[&id]).await?, query(client, SENDING_HERE, &[&id]).await?))
            })
        })
        .await?;
    let unknown = shared.lease.reconcile(&job_ids(&running));
    let known: Vec<i64> = shared.sending().values().map(|sent| sent.number).collect();
    let lost: Vec<i64> = sending.iter().map(|row| row.get(0)).filter(|number| !known.contains(number)).collect();
    if unknown.is_empty() && lost.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        jobs = unknown.len(),
        events = lost.len(),
        "jobs and events are given back whose change had no answer"
    );
    shared
        .database
        .run_locking(move |client| {
            Box::pin(async move {
                for job_id in &unknown {
                    execute(client, GIVE_BACK, &[&job_id.as_str(), &id]).await?;
                }
                execute(client, GIVE_BACK_EVENTS, &[&id, &lost]).await
            })
        })
        .await?;
    shared.feed.notify_one();
    shared.options.notifications.event_due.notify_one();
    Ok(())
}

/// Deletes the expired jobs, or as many as one pass may.
pub(super) async fn sweep_some(shared: &State) -> Result<(), StoreError> {
    for _ in 0..SWEEPS {
        if sweep(shared).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Deletes some expired jobs, with their keys and their remaining events.
pub(super) async fn sweep(shared: &State) -> Result<u64, StoreError> {
    let keep = shared.options.keep.as_secs_f64();
    shared
        .database
        .run(move |client| Box::pin(async move { execute(client, SWEEP, &[&keep, &SWEEP_LIMIT]).await }))
        .await
}
