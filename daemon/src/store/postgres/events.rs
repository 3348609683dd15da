use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::connection::{execute, query_opt};
use super::row::{COLUMNS, STATUS, count, status, time};
use super::store::State;
use crate::failure::failure;
use crate::store::{Address, Claim, Delivery, Destination, StoreError, Verdict};
use crate::{BoxError, JobId, JobState};

/// Claims an event that is due, of those whose destination has room. Otherwise the row has in how many microseconds to try again, if any
/// event waits for its time.
const CLAIM: &str = "SELECT claimed, pause FROM claim_event($1, $2, $3)";

const SETTLE: &str = "SELECT settle_event($1, $2, $3, $4, make_interval(secs => $5))";

/// Gives up the events of a job whose row does not decode.
const GIVE_UP: &str =
    "WITH given_up AS (DELETE FROM events WHERE number = $1), gone AS (DELETE FROM outbox WHERE number = $1)
    UPDATE jobs SET webhook = NULL WHERE number = $1";

/// An event that this daemon sends.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: i64,
    event: i64,
    destination: Destination,
}

pub(super) async fn claim(shared: &State) -> Result<Claim, StoreError> {
    let mut last = shared.claiming.lock().await;
    loop {
        let mut counts = HashMap::new();
        for sent in shared.sending().values() {
            *counts.entry(sent.destination.clone()).or_default() += 1;
        }
        let (without_room, probe_at) = shared.options.destinations.without_room(&counts, Instant::now());
        let (id, after) = (shared.lease.id(), last.clone());
        let found = shared
            .database
            .run(move |client| {
                Box::pin(async move {
                    let blocked: Vec<_> = without_room.iter().map(ToString::to_string).collect();
                    let claimed = query_opt(client, CLAIM, &[&id, &blocked, &after]).await?;
                    let Some(number) = claimed.as_ref().and_then(|row| row.get::<_, Option<i64>>(0)) else {
                        return Ok(Err(claimed.and_then(|row| row.get::<_, Option<i64>>(1))));
                    };
                    Ok(Ok((number, query_opt(client, &first_event(), &[&number]).await?)))
                })
            })
            .await?;
        let (number, row) = match found {
            Ok((number, Some(row))) => (number, row),
            // The job has expired.
            Ok((_, None)) => continue,
            Err(next) => {
                let due = next.map(|pause| Duration::from_micros(pause.try_into().unwrap_or(0)));
                let due = due.and_then(|pause| Instant::now().checked_add(pause));
                return Ok(due.into_iter().chain(probe_at).min().map_or(Claim::Nothing, Claim::At));
            }
        };
        match delivery(&row) {
            Ok((event, delivery)) => {
                let destination = Destination::of(&delivery.to.url);
                *last = destination.to_string();
                shared.sending().insert(delivery.job_id.clone(), Sent { number, event, destination });
                return Ok(Claim::Now(delivery));
            }
            // Damage must not stop the events of other jobs.
            Err(error) => {
                tracing::error!(number, error = %failure(error.as_ref()), "events given up: the row of their job does not decode");
                shared
                    .database
                    .run_locking(move |client| Box::pin(async move { execute(client, GIVE_UP, &[&number]).await }))
                    .await?;
            }
        }
    }
}

/// Selects the first event of a job, with the job.
fn first_event() -> String {
    format!(
        "SELECT {STATUS}, webhook, traceparent, events.seq, events.id, events.state, events.attempt,
            (extract(epoch FROM events.started_at) * 1000000)::bigint, outbox.sent
        FROM events JOIN jobs USING (number) JOIN outbox USING (number) WHERE number = $1 ORDER BY seq LIMIT 1"
    )
}

/// The event, with the status at its time. A result belongs to the terminal event only, after which nothing changes.
fn delivery(row: &Row) -> Result<(i64, Delivery), BoxError> {
    let (_, mut status) = status(row)?;
    // That of another attempt, perhaps.
    status.box_name = None;
    let url = row.try_get::<_, &str>(COLUMNS)?.parse()?;
    let traceparent = row.try_get::<_, Option<&[u8]>>(COLUMNS + 1)?.map(HeaderValue::from_bytes).transpose()?;
    let state = JobState::from(row.try_get::<_, &str>(COLUMNS + 4)?);
    if !state.is_terminal() {
        status.completed_at = None;
        status.result = None;
        (status.error, status.last_error) = (None, None);
        status.artifacts = Vec::new();
    }
    status.state = state;
    status.attempt = count(row, COLUMNS + 5)?;
    status.started_at = time(row, COLUMNS + 6)?;
    let delivery = Delivery {
        job_id: status.job_id.clone(),
        event_id: row.try_get::<_, &str>(COLUMNS + 3)?.into(),
        status: Arc::new(status),
        to: Arc::new(Address { url, traceparent }),
        attempt: u32::try_from(count(row, COLUMNS + 7)?).unwrap_or(u32::MAX).saturating_add(1),
    };
    Ok((row.try_get(COLUMNS + 2)?, delivery))
}

pub(super) async fn settle(shared: &State, job_id: &JobId, verdict: &Verdict) -> Result<(), StoreError> {
    let Some((number, event)) = shared.sending().get(job_id).map(|sent| (sent.number, sent.event)) else {
        return Ok(());
    };
    let (verdict, pause) = match verdict {
        Verdict::Again(at) => ("again", at.saturating_duration_since(Instant::now())),
        Verdict::Delivered | Verdict::GiveUp => ("delivered", Duration::ZERO),
        Verdict::Stop => ("stop", Duration::ZERO),
    };
    let (id, pause) = (shared.lease.id(), pause.as_secs_f64());
    shared
        .database
        .run_locking(move |client| {
            Box::pin(async move { execute(client, SETTLE, &[&id, &number, &event, &verdict, &pause]).await })
        })
        .await?;
    shared.sending().remove(job_id);
    Ok(())
}
