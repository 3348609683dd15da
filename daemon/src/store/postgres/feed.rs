use std::num::ParseIntError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::boxes;
use super::connection::connect_limit;
use super::listener::Listener;
use super::position::Position;
use super::row::{STATUS, status};
use super::snapshot::Snapshot;
use super::store::Shared;
use crate::JobId;
use crate::failure::failure;
use crate::outage_log::OutageLog;
use crate::owner::Owner;
use crate::store::StoreError;

/// How often the feed reads without a notification, which may be lost.
const POLL: Duration = Duration::from_secs(1);

/// The shortest time between two reads, so that a busy queue is not read after each change. A change after a pause is read at once.
const GAP: Duration = Duration::from_millis(5);

/// The pause before the connection is opened again.
const RECONNECT: Duration = Duration::from_secs(1);

/// After so long without a read, the event streams end: their clients would wait here for what they can read from another daemon.
const OUTAGE: Duration = Duration::from_secs(2);

/// How long one answer may take.
const READ: Duration = Duration::from_secs(15);

/// How many changes one read returns.
const MAX_CHANGES: i64 = 10_000;

/// The next changes that an earlier snapshot does not show, up to `$3` of them, with the snapshot that shows them. The hash is of the daemons
/// that have a lease.
///
/// - `$1`, `$2`: the change that was read last.
/// - `$4`: the transactions that were in progress in the earlier snapshot.
/// - `$5`, `$6`: the change that was read last, or the last one of the earlier snapshot, whichever comes later.
/// - `$7`: the snapshot of the first page of this read, for the other pages, so that no change is in two reads.
///
/// After a restore into another server, rows may have the numbers of transactions that have not begun here. Those are no changes.
pub(super) const CHANGES: &str = "SELECT snapshot::text,
    (SELECT coalesce(sum(queued), 0)::bigint FROM owners),
    (SELECT coalesce(hashtextextended(string_agg(version::text, ' ' ORDER BY version), 0), 0) FROM boxes
        WHERE leased_until > clock_timestamp()),
    number, id, owner, event_stream, state, changed, has_webhook, has_deadline
    FROM pg_current_snapshot() AS snapshot
    LEFT JOIN LATERAL (
        (SELECT number, id, owner, event_stream, state, changed, webhook IS NOT NULL AS has_webhook, start_by IS NOT NULL AS has_deadline
        FROM jobs WHERE changed = ANY($4) AND (changed, number) > ($1, $2)
            AND pg_visible_in_snapshot(changed::text::xid8, coalesce($7::text::pg_snapshot, snapshot))
        ORDER BY changed, number LIMIT $3)
        UNION ALL
        (SELECT number, id, owner, event_stream, state, changed, webhook IS NOT NULL, start_by IS NOT NULL
        FROM jobs WHERE (changed, number) > ($5, $6) AND changed < pg_snapshot_xmax(snapshot)::text::bigint
            AND pg_visible_in_snapshot(changed::text::xid8, coalesce($7::text::pg_snapshot, snapshot))
        ORDER BY changed, number LIMIT $3)
        ORDER BY changed, number LIMIT $3) AS changes ON true
    ORDER BY changed, number";

pub(super) const SNAPSHOT: &str = "SELECT pg_current_snapshot()::text";

/// Reads the changes for ever. It opens its connection again when it fails.
///
/// `since`: of when the store was opened, so that no later change is missed.
pub(super) async fn follow(shared: &Shared, config: &Config, tls: &MakeRustlsConnect, since: Snapshot) {
    let (mut position, log) = (Position::new(since), OutageLog::new("read the changes of other daemons"));
    let mut read_at = Instant::now();
    loop {
        if let Err(error) = follow_connection(shared, config, tls, &mut position, &mut read_at, &log).await {
            log.failed(&error);
        }
        if read_at.elapsed() >= OUTAGE {
            shared.options.streams.suspend();
        }
        sleep(RECONNECT).await;
    }
}

async fn follow_connection(
    shared: &Shared,
    config: &Config,
    tls: &MakeRustlsConnect,
    position: &mut Position,
    read_at: &mut Instant,
    log: &OutageLog,
) -> Result<(), StoreError> {
    let limit = connect_limit(config).saturating_add(READ);
    let listener = timeout(limit, Listener::open(shared, config, tls)).await;
    let Listener { client, mut driver, notified, channel, changes, notify } =
        listener.unwrap_or_else(|_| Err(StoreError::database_silent()))?;
    // Other daemons may have queued jobs and recorded events meanwhile.
    wake_all_workers(shared);
    shared.options.notifications.event_due.notify_one();
    // Also while there are changes all the time.
    let mut tick = interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let began = Instant::now();
        read(shared, &client, &changes, position).await?;
        log.worked(began);
        *read_at = Instant::now();
        shared.options.streams.resume();
        tokio::select! {
            () = shared.feed.notified() => {
                let id = shared.lease.id().to_string();
                let values: [&(dyn ToSql + Sync); 2] = [&channel, &id];
                bounded(client.execute(&notify, &values)).await?;
            }
            () = notified.notified() => {}
            _ = tick.tick() => {
                if shared.queued.load(Ordering::Relaxed) > 0 {
                    wake_all_workers(shared);
                }
                shared.options.notifications.event_due.notify_one();
            }
            ended = driver.join_next() => {
                return ended.and_then(Result::ok).flatten().map_or(Ok(()), |error| Err(error.into()));
            }
        }
        sleep_until(began + GAP).await;
    }
}

/// A worker that has found no job for it may find one for another token or daemon.
fn wake_all_workers(shared: &Shared) {
    shared.options.notifications.wake_all_workers();
}

struct Change {
    number: i64,
    job_id: JobId,
    owner: Owner,
    stream: Option<String>,
    is_queued: bool,
    has_webhook: bool,
    has_deadline: bool,
}

/// Reads all changes since the last read, page by page, and publishes them. One that is not published is read again.
async fn read(
    shared: &Shared,
    client: &Client,
    changes: &Statement,
    position: &mut Position,
) -> Result<(), StoreError> {
    let (since, mut after, mut snapshot) = (position.snapshot().clone(), (i64::MIN, 0), None::<Snapshot>);
    loop {
        // The numbers of the transactions in progress come before those of later ones.
        let late = after.max((since.next - 1, i64::MAX));
        let of_first = snapshot.as_ref().map(|snapshot| &snapshot.text);
        let values: [&(dyn ToSql + Sync); 7] =
            [&after.0, &after.1, &MAX_CHANGES, &since.in_progress, &late.0, &late.1, &of_first];
        let rows = bounded(client.query(changes, &values)).await?;
        let Some(first) = rows.first() else { return Ok(()) };
        if snapshot.is_none() {
            snapshot = Some(snapshot_of(first)?);
        }
        shared.queued.store(usize::try_from(first.try_get::<_, i64>(1)?).unwrap_or(0), Ordering::Relaxed);
        read_boxes(shared, client, first.try_get(2)?, position).await?;
        for row in &rows {
            // None if there is no change.
            let Some(number) = row.try_get(3)? else { continue };
            after = (row.try_get(8)?, number);
            if position.has_seen(after) {
                continue;
            }
            match change(row) {
                Ok(change) => publish(shared, client, change).await?,
                Err(error) => tracing::warn!(error = %failure(error.as_ref()), "a change cannot be read"),
            }
            position.see(after);
        }
        if (rows.len() as i64) < MAX_CHANGES {
            snapshot.into_iter().for_each(|snapshot| position.advance(snapshot));
            return Ok(());
        }
    }
}

/// The snapshot that is the first column.
pub(super) fn snapshot_of(row: &Row) -> Result<Snapshot, StoreError> {
    row.try_get::<_, &str>(0)?.parse().map_err(|error| StoreError::damaged_row(Box::<ParseIntError>::new(error)))
}

/// Reads the daemons, if their hash has changed.
async fn read_boxes(shared: &Shared, client: &Client, hash: i64, position: &mut Position) -> Result<(), StoreError> {
    if position.boxes != Some(hash) {
        let read =
            timeout(READ, boxes::select(client, shared.lease.id(), shared.lease.name(), shared.lease.options())).await;
        let fleet = read.unwrap_or_else(|_| Err(StoreError::database_silent()))?;
        if shared.set_fleet(fleet) {
            wake_all_workers(shared);
        }
        position.boxes = Some(hash);
    }
    Ok(())
}

/// Waits for one answer of the database.
async fn bounded<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    Ok(timeout(READ, answer).await.map_err(|_| StoreError::database_silent())??)
}

fn change(row: &Row) -> Result<Change, crate::BoxError> {
    Ok(Change {
        number: row.try_get(3)?,
        job_id: JobId::new(row.try_get::<_, String>(4)?)?,
        owner: Owner::from_bytes(row.try_get::<_, &[u8]>(5)?.try_into()?),
        stream: row.try_get(6)?,
        is_queued: row.try_get::<_, &str>(7)? == "queued",
        has_webhook: row.try_get(9)?,
        has_deadline: row.try_get(10)?,
    })
}

async fn publish(shared: &Shared, client: &Client, change: Change) -> Result<(), StoreError> {
    let Change { number, job_id, owner, stream, is_queued, has_webhook, has_deadline } = change;
    let (notifications, streams) = (&shared.options.notifications, &shared.options.streams);
    if streams.are_read(owner, stream.as_deref()) {
        let sql = format!("SELECT {STATUS} FROM jobs WHERE number = $1");
        let found = bounded(client.query_opt(&sql, &[&number])).await?;
        match found.as_ref().map(status).transpose() {
            Ok(Some((_, status))) => streams.publish(owner, stream.as_deref(), &status),
            Ok(None) => {}
            // The job ends for its clients by a poll.
            Err(error) => tracing::warn!(%job_id, %error, "no event on the event streams: the row cannot be read"),
        }
    }
    if is_queued {
        notifications.wake_workers();
        if has_deadline {
            notifications.deadline.notify_one();
        }
    }
    notifications.signals.changed(&job_id);
    if has_webhook {
        notifications.event_due.notify_one();
    }
    Ok(())
}
