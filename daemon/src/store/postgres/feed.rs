use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::boxes;
use super::connection::connect_limit;
use super::listener::Listener;
use super::row::{STATUS, status};
use super::store::Shared;
use crate::JobId;
use crate::failure::failure;
use crate::owner::Owner;
use crate::store::StoreError;

/// How often the feed reads without a notification, which may be lost.
const POLL: Duration = Duration::from_secs(1);

/// The pause before the connection is opened again.
const RECONNECT: Duration = Duration::from_secs(1);

/// How long a read may take.
const READ: Duration = Duration::from_secs(15);

/// The longest time from the start of a transaction of a daemon to its end, which the limits of its session ensure.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(60);

/// How many changes one read returns.
const MAX_CHANGES: i64 = 10_000;

/// The changes since a transaction, in one snapshot, whose limits are returned too: all transactions before the first have ended, and no
/// one after the second has begun. The hash is of the daemons that have a lease.
pub(super) const CHANGES: &str =
    "SELECT pg_snapshot_xmin(snapshot)::text::bigint, pg_snapshot_xmax(snapshot)::text::bigint,
    (SELECT coalesce(sum(queued), 0)::bigint FROM owners),
    (SELECT coalesce(hashtextextended(string_agg(version::text, ' ' ORDER BY version), 0), 0) FROM boxes
        WHERE leased_until > clock_timestamp()),
    number, id, owner, event_stream, state, changed, webhook IS NOT NULL
    FROM pg_current_snapshot() AS snapshot
    LEFT JOIN (SELECT * FROM jobs WHERE changed >= $1 ORDER BY changed, number LIMIT $2) AS jobs ON true
    ORDER BY changed, number";

/// The oldest transaction in progress.
pub(super) const OLDEST: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

/// A feed of the changes of all daemons.
///
/// A transaction that began before another may commit after it, so that a position in the order of the transactions is not enough to find
/// all changes. The feed reads again all changes since the oldest transaction that was in progress, and leaves out those that it has seen.
#[derive(Debug, Default)]
struct Position {
    /// All changes of earlier transactions were seen.
    seen_before: Option<i64>,
    /// The changes since then that were seen.
    seen: HashSet<(i64, i64)>,
    /// When which transactions had not begun yet.
    begun: VecDeque<(Instant, i64)>,
    /// The hash of the daemons that were read last.
    boxes: Option<i64>,
}

/// Reads the changes for ever. It opens its connection again when it fails.
///
/// `since`: the oldest transaction in progress when the store was opened, so that no later change is missed.
pub(super) async fn follow(shared: &Shared, config: &Config, tls: &MakeRustlsConnect, since: i64) {
    let mut position = Position { seen_before: Some(since), ..Position::default() };
    loop {
        if let Err(error) = follow_connection(shared, config, tls, &mut position).await {
            tracing::warn!(error = %failure(&error), "the changes of other daemons cannot be read");
        }
        sleep(RECONNECT).await;
    }
}

async fn follow_connection(
    shared: &Shared,
    config: &Config,
    tls: &MakeRustlsConnect,
    position: &mut Position,
) -> Result<(), StoreError> {
    let limit = connect_limit(config).saturating_add(READ);
    let listener = timeout(limit, Listener::open(shared, config, tls)).await;
    let Listener { client, mut driver, notified, channel, changes, notify } =
        listener.unwrap_or_else(|_| Err(StoreError::database_silent()))?;
    // Other daemons may have queued jobs and recorded events meanwhile.
    wake_all_workers(shared);
    shared.options.notifications.event_due.notify_one();
    loop {
        let read = timeout(READ, read(shared, &client, &changes, position)).await;
        read.unwrap_or_else(|_| Err(StoreError::database_silent()))?;
        tokio::select! {
            () = shared.feed.notified() => {
                let id = shared.lease.id().to_string();
                let values: [&(dyn ToSql + Sync); 2] = [&channel, &id];
                let notified = timeout(READ, client.execute(&notify, &values)).await;
                notified.map_err(|_| StoreError::database_silent())??;
            }
            () = notified.notified() => {}
            () = sleep(POLL) => {
                if shared.queued.load(Ordering::Relaxed) > 0 {
                    wake_all_workers(shared);
                }
                shared.options.notifications.event_due.notify_one();
            }
            ended = driver.join_next() => {
                return ended.and_then(Result::ok).flatten().map_or(Ok(()), |error| Err(error.into()));
            }
        }
    }
}

/// A worker that has found no job for it may find one for another token or daemon.
fn wake_all_workers(shared: &Shared) {
    shared.options.notifications.work.iter().for_each(Notify::notify_waiters);
}

struct Change {
    number: i64,
    job_id: JobId,
    owner: Owner,
    stream: Option<String>,
    is_queued: bool,
    has_webhook: bool,
}

async fn read(
    shared: &Shared,
    client: &Client,
    changes: &Statement,
    position: &mut Position,
) -> Result<(), StoreError> {
    loop {
        let since = position.seen_before.unwrap_or(i64::MAX);
        let rows = client.query(changes, &[&since, &MAX_CHANGES]).await?;
        let Some(first) = rows.first() else { return Ok(()) };
        let (oldest, next): (i64, i64) = (first.try_get(0)?, first.try_get(1)?);
        shared.queued.store(usize::try_from(first.try_get::<_, i64>(2)?).unwrap_or(0), Ordering::Relaxed);
        let boxes = Some(first.try_get(3)?);
        if position.boxes != boxes {
            let fleet = boxes::select(client, shared.lease.id(), shared.lease.name()).await?;
            if shared.set_fleet(fleet) {
                wake_all_workers(shared);
            }
            position.boxes = boxes;
        }
        let mut changes = Vec::new();
        for row in &rows {
            // None if there is no change.
            if let Some(number) = row.try_get::<_, Option<i64>>(4)? {
                changes.push((number, row.try_get(9)?, row));
            }
        }
        let last = changes.last().map(|(_, changed, _)| *changed).filter(|_| changes.len() as i64 == MAX_CHANGES);
        changes.retain(|(number, changed, _)| !position.seen.contains(&(*number, *changed)));
        position.seen.extend(changes.iter().map(|(number, changed, _)| (*number, *changed)));
        for (_, _, row) in changes {
            match change(row) {
                Ok(change) => publish(shared, client, change).await?,
                Err(error) => tracing::warn!(error = %failure(error.as_ref()), "a change cannot be read"),
            }
        }
        let is_complete = last.is_none();
        position.advance(oldest, next, last, Instant::now());
        if is_complete {
            return Ok(());
        }
    }
}

fn change(row: &Row) -> Result<Change, crate::BoxError> {
    Ok(Change {
        number: row.try_get(4)?,
        job_id: JobId::new(row.try_get::<_, String>(5)?)?,
        owner: Owner::from_bytes(row.try_get::<_, &[u8]>(6)?.try_into()?),
        stream: row.try_get(7)?,
        is_queued: row.try_get::<_, &str>(8)? == "queued",
        has_webhook: row.try_get(10)?,
    })
}

async fn publish(shared: &Shared, client: &Client, change: Change) -> Result<(), StoreError> {
    let Change { number, job_id, owner, stream, is_queued, has_webhook } = change;
    let (notifications, streams) = (&shared.options.notifications, &shared.options.streams);
    if streams.are_read(owner, stream.as_deref()) {
        let found = client.query_opt(&format!("SELECT {STATUS} FROM jobs WHERE number = $1"), &[&number]).await?;
        match found.as_ref().map(status).transpose() {
            Ok(Some((_, status))) => streams.publish(owner, stream.as_deref(), &status),
            Ok(None) => {}
            // The job ends for its clients by a poll.
            Err(error) => tracing::warn!(%job_id, %error, "no event on the event streams: the row cannot be read"),
        }
    }
    if is_queued {
        notifications.wake_workers();
    }
    notifications.signals.changed(&job_id);
    if has_webhook {
        notifications.event_due.notify_one();
    }
    Ok(())
}

impl Position {
    /// `oldest` is the oldest transaction in progress, `next` the next one to begin, and `last` that of the last change that was read, if
    /// there may be more.
    fn advance(&mut self, oldest: i64, next: i64, last: Option<i64>, now: Instant) {
        if self.begun.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= POLL) {
            self.begun.push_back((now, next));
        }
        let mut before = oldest;
        // A long transaction of another program keeps `oldest` back.
        while let Some((at, begun)) = self.begun.front().copied()
            && now.saturating_duration_since(at) > LONGEST_TRANSACTION
        {
            before = before.max(begun);
            self.begun.pop_front();
        }
        before = before.max(self.seen_before.unwrap_or(before)).min(last.unwrap_or(i64::MAX)).min(next);
        self.seen.retain(|(_, changed)| *changed >= before);
        self.seen_before = Some(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_again_while_an_older_transaction_is_in_progress() {
        let (mut position, now) = (Position::default(), Instant::now());
        position.seen.extend([(1, 4), (2, 7)]);
        position.advance(5, 9, None, now);
        assert_eq!((position.seen_before, position.seen.len()), (Some(5), 1));
        position.advance(9, 9, None, now);
        assert_eq!((position.seen_before, position.seen.len()), (Some(9), 0));
    }

    #[test]
    fn incomplete_read_continues_at_its_last_change() {
        let (mut position, now) = (Position::default(), Instant::now());
        position.advance(20, 20, Some(12), now);
        assert_eq!(position.seen_before, Some(12));
    }

    #[test]
    fn long_transaction_of_another_program_is_not_waited_for() {
        let (mut position, now) = (Position::default(), Instant::now());
        position.advance(5, 9, None, now);
        position.advance(5, 30, None, now + LONGEST_TRANSACTION);
        assert_eq!(position.seen_before, Some(5));
        position.advance(5, 50, None, now + 2 * LONGEST_TRANSACTION);
        assert_eq!(position.seen_before, Some(9));
    }

    #[test]
    fn database_that_was_set_back_is_followed_from_where_it_is() {
        let (mut position, now) = (Position::default(), Instant::now());
        position.advance(500, 500, None, now);
        position.advance(20, 20, None, now);
        assert_eq!(position.seen_before, Some(20));
    }
}
