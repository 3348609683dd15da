use std::sync::Arc;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use crate::{BoxError, JobId, JobState, JobStatus};

/// The columns that [`status`] reads, in order. Times are in microseconds since 1970.
pub(super) const STATUS: &str = "jobs.number, jobs.id, jobs.state, model,
    (extract(epoch FROM jobs.created_at) * 1000000)::bigint, (extract(epoch FROM jobs.started_at) * 1000000)::bigint,
    (extract(epoch FROM jobs.completed_at) * 1000000)::bigint, jobs.attempt, error, result, artifacts,
    (SELECT name FROM boxes WHERE boxes.id = jobs.box)";

/// The same without the result and the artifacts, which may be large.
pub(super) const STATUS_WITHOUT_OUTPUT: &str = "jobs.number, jobs.id, jobs.state, model,
    (extract(epoch FROM jobs.created_at) * 1000000)::bigint, (extract(epoch FROM jobs.started_at) * 1000000)::bigint,
    (extract(epoch FROM jobs.completed_at) * 1000000)::bigint, jobs.attempt, error, NULL::text, NULL::text,
    (SELECT name FROM boxes WHERE boxes.id = jobs.box)";

/// How many columns [`STATUS`] has.
pub(super) const COLUMNS: usize = 12;

/// Reads the number and the status of a job.
pub(super) fn status(row: &Row) -> Result<(i64, JobStatus), BoxError> {
    let state: &str = row.try_get(2)?;
    let mut status = JobStatus::new(JobId::new(row.try_get::<_, String>(1)?)?, JobState::from(state));
    status.model = row.try_get(3)?;
    status.created_at = time(row, 4)?;
    status.started_at = time(row, 5)?;
    status.completed_at = time(row, 6)?;
    status.attempt = count(row, 7)?;
    // The column has the error of the last attempt until the job ends.
    *if status.state.is_terminal() { &mut status.error } else { &mut status.last_error } = row.try_get(8)?;
    status.result = row.try_get::<_, Option<String>>(9)?.map(RawValue::from_string).transpose()?;
    if let Some(artifacts) = row.try_get::<_, Option<&str>>(10)? {
        status.artifacts = serde_json::from_str(artifacts)?;
    }
    status.box_name = row.try_get(11)?;
    Ok((row.try_get(0)?, status))
}

/// Reads the ids of jobs in the first column. One that is damaged is left out, so that it does not stop others.
pub(super) fn job_ids(rows: &[Row]) -> Vec<JobId> {
    let job_id = |row: &Row| -> Result<_, BoxError> { Ok(JobId::new(row.try_get::<_, String>(0)?)?) };
    let valid = |row| job_id(row).inspect_err(|error| tracing::error!(%error, "the id of a job does not decode"));
    rows.iter().filter_map(|row| valid(row).ok()).collect()
}

/// Reads a number that is never negative.
pub(super) fn count(row: &Row, column: usize) -> Result<u64, BoxError> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?)?)
}

/// Reads a time, in microseconds since 1970.
pub(super) fn time(row: &Row, column: usize) -> Result<Option<Timestamp>, BoxError> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(Timestamp::from_microsecond).transpose()?)
}

pub(super) fn shared(row: &Row) -> Result<Arc<JobStatus>, BoxError> {
    Ok(Arc::new(status(row)?.1))
}
