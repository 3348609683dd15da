//! The daemons that share the database. Each has a view of them, which the feed reads again when one has come, gone or changed.

use std::sync::{Arc, PoisonError};

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::connection::execute;
use super::row::{count, time};
use super::shared_options::SharedOptions;
use super::store::State;
use crate::BoxError;
use crate::failure::failure;
use crate::store::{BoxState, Fleet, StoreError};

/// The daemons that have a lease.
const BOXES: &str = "SELECT id, name, (extract(epoch FROM started_at) * 1000000)::bigint,
    extract(epoch FROM leased_until - clock_timestamp())::double precision, draining,
    (SELECT count(*) FROM jobs WHERE jobs.box = boxes.id AND state = 'running'), backends, options
    FROM boxes WHERE leased_until > clock_timestamp() ORDER BY started_at, id";

const SET_DRAINING: &str = "UPDATE boxes SET draining = $2 WHERE id = $1 AND leased_until > clock_timestamp()";

/// Reads the daemons over a connection of the pool.
pub(super) async fn read(shared: &State) -> Result<Arc<Fleet>, StoreError> {
    let (this, name, options) = (shared.lease.id(), shared.lease.name().to_owned(), Arc::clone(shared.lease.options()));
    let fleet =
        shared.database.run(move |client| Box::pin(async move { select(client, this, &name, &options).await })).await?;
    let fleet = Arc::new(fleet);
    let mut first = shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
    if first.is_none() {
        warn_of_differences(&fleet, None);
        *first = Some(Arc::clone(&fleet));
    }
    Ok(fleet)
}

/// Returns `false` if no such daemon has a lease.
pub(super) async fn set_draining(shared: &State, id: Uuid, draining: bool) -> Result<bool, StoreError> {
    let set = shared
        .database
        .run(move |client| Box::pin(async move { execute(client, SET_DRAINING, &[&id, &draining]).await }))
        .await?;
    if set > 0 && draining && id == shared.lease.id() {
        // The row may be gone before the feed has read it. That it takes jobs again is left to the feed, which wakes the workers.
        shared.lease.set_draining(true);
    }
    // Each daemon hears of it by its feed.
    shared.feed.notify_one();
    Ok(set > 0)
}

/// `options`: those of this daemon.
pub(super) async fn select(
    client: &Client,
    this: Uuid,
    name: &str,
    options: &SharedOptions,
) -> Result<Fleet, StoreError> {
    let rows = client.query(BOXES, &[]).await?;
    let boxes: Result<_, _> = rows.iter().map(|row| state(row, options)).collect();
    Ok(Fleet { this, name: name.into(), boxes: boxes.map_err(StoreError::damaged_row)?, gone: Vec::new() })
}

/// Logs once which daemons have other options than this one.
fn warn_of_differences(fleet: &Fleet, before: Option<&Fleet>) {
    for one in fleet.newly_different(before) {
        let options = one.different_options.join(", ");
        let (this, other, other_id) = (fleet.this, &one.name, one.id);
        tracing::warn!(%this, other, %other_id, options, "another daemon of the queue has other values of these options");
    }
}

fn state(row: &Row, options: &SharedOptions) -> Result<BoxState, BoxError> {
    let name: String = row.try_get(1)?;
    // Lists of another version of the daemon are unknown.
    let backends = row.try_get::<_, Option<&str>>(6)?.map(serde_json::from_str).transpose().unwrap_or_else(|error| {
        tracing::warn!(name, error = %failure(&error), "lists of models of another daemon cannot be read");
        None
    });
    // Options that are absent or cannot be read are those of another version of the daemon.
    let different_options = match row.try_get::<_, Option<&str>>(7)?.map(serde_json::from_str) {
        Some(Ok(other)) => options.differences(&other),
        Some(Err(_)) | None => Vec::new(),
    };
    Ok(BoxState {
        id: row.try_get(0)?,
        name,
        started_at: time(row, 2)?,
        lease: row.try_get(3)?,
        draining: row.try_get(4)?,
        running: count(row, 5)?,
        backends,
        different_options,
    })
}

impl State {
    /// The feed has read the daemons. Returns whether this one takes jobs again.
    pub(super) fn set_fleet(&self, mut fleet: Fleet) -> bool {
        // While its lease is lost, it goes on as it was.
        let draining = fleet.boxes.iter().find(|one| one.id == fleet.this).map(|one| one.draining);
        let mut known = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        warn_of_differences(&fleet, known.as_deref());
        fleet.remember_gone(known.as_deref());
        *known = Some(Arc::new(fleet));
        drop(known);
        draining.is_some_and(|draining| self.lease.set_draining(draining) && !draining)
    }
}
