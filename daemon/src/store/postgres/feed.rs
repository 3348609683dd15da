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

/// How long one answer may take.
const READ: Duration = Duration::from_secs(15);

/// How many changes one read returns.
const MAX_CHANGES: i64 = 10_000;

/// The changes after one, in one snapshot, whose limits are returned too: all transactions before the first have ended, and no one after the
/// second has begun. The hash is of the daemons that have a lease.
///
/// After a restore into another server, rows may have the numbers of transactions that have not begun here. Those are no changes.
pub(super) const CHANGES: &str =
    "SELECT pg_snapshot_xmin(snapshot)::text::bigint, pg_snapshot_xmax(snapshot)::text::bigint,
    (SELECT coalesce(sum(queued), 0)::bigint FROM owners),
    (SELECT coalesce(hashtextextended(string_agg(version::text, ' ' ORDER BY version), 0), 0) FROM boxes
        WHERE leased_until > clock_timestamp()),
    number, id, owner, event_stream, state, changed, webhook IS NOT NULL, start_by IS NOT NULL
    FROM pg_current_snapshot() AS snapshot
    LEFT JOIN LATERAL (SELECT * FROM jobs
        WHERE (changed, number) > ($1, $2) AND changed < pg_snapshot_xmax(snapshot)::text::bigint
        ORDER BY changed, number LIMIT $3) AS jobs ON true
    ORDER BY changed, number";

/// The oldest transaction in progress.
pub(super) const OLDEST: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

/// Reads the changes for ever. It opens its connection again when it fails.
///
/// `since`: the oldest transaction in progress when the store was opened, so that no later change is missed.
pub(super) async fn follow(shared: &Shared, config: &Config, tls: &MakeRustlsConnect, since: i64) {
    let (mut position, log) = (Position::new(since), OutageLog::new("read the changes of other daemons"));
    loop {
        if let Err(error) = follow_connection(shared, config, tls, &mut position, &log).await {
            log.failed(&error);
        }
        sleep(RECONNECT).await;
    }
}

async fn follow_connection(
    shared: &Shared,
    config: &Config,
    tls: &MakeRustlsConnect,
    position: &mut Position,
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
    let (mut after, mut limits, began) = ((position.since(), 0_i64), None, Instant::now());
    loop {
        let values: [&(dyn ToSql + Sync); 3] = [&after.0, &after.1, &MAX_CHANGES];
        let rows = bounded(client.query(changes, &values)).await?;
        let Some(first) = rows.first() else { return Ok(()) };
        // What was in progress when the first page was read may commit changes that come before the later pages.
        let (oldest, next) = *limits.get_or_insert((first.try_get(0)?, first.try_get(1)?));
        shared.queued.store(usize::try_from(first.try_get::<_, i64>(2)?).unwrap_or(0), Ordering::Relaxed);
        read_boxes(shared, client, first.try_get(3)?, position).await?;
        for row in &rows {
            // None if there is no change.
            let Some(number) = row.try_get(4)? else { continue };
            after = (row.try_get(9)?, number);
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
            position.advance(oldest, next, began);
            return Ok(());
        }
    }
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
        number: row.try_get(4)?,
        job_id: JobId::new(row.try_get::<_, String>(5)?)?,
        owner: Owner::from_bytes(row.try_get::<_, &[u8]>(6)?.try_into()?),
        stream: row.try_get(7)?,
        is_queued: row.try_get::<_, &str>(8)? == "queued",
        has_webhook: row.try_get(10)?,
        has_deadline: row.try_get(11)?,
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
