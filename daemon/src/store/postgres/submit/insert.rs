use deadpool_postgres::Client;
use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use super::group::owned_key;
use crate::JobId;
use crate::store::postgres::connection::execute;
use crate::store::{Destination, NewJob, StoreError};

pub(super) const INSERT: &str = "INSERT INTO jobs (id, owner, model, body, webhook, destination, traceparent, key, digest, event_stream,
        priority, start_by)
    SELECT id, owner, model, body, webhook, destination, traceparent, key, digest, event_stream, priority,
        least(to_timestamp(deadline::double precision / 1000000), clock_timestamp() + ttl * interval '1 microsecond')
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::bytea[],
        $10::text[], $11::smallint[], $12::bigint[], $13::bigint[]) WITH ORDINALITY
        AS new (id, owner, model, body, webhook, destination, traceparent, key, digest, event_stream, priority, deadline, ttl, nth)
    ORDER BY nth";

/// Inserts the jobs with these indexes and ids, in their order.
pub(super) async fn insert(client: &Client, jobs: &[&NewJob], added: &[(usize, JobId)]) -> Result<(), StoreError> {
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
