use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Row, ToSql};
use serde_json::value::RawValue;

use crate::job_spec::JobSpec;
use crate::owner::Owner;
use crate::store::JobProgress;
use crate::store::queue::QueuedJob;
use crate::{BoxError, JobId, JobState, JobStatus};

/// The columns that [`status`] reads, in order.
pub(super) const STATUS: &str =
    "number, id, state, model, created_at, started_at, completed_at, attempt, result, error, artifacts";

/// The same without the result and the artifacts, which may be large.
pub(super) const STATUS_WITHOUT_OUTPUT: &str =
    "number, id, state, model, created_at, started_at, completed_at, attempt, NULL, error, NULL";

/// The columns that [`queued`] reads, in order. The deadline of a job that has been started does not matter.
pub(super) const QUEUED: &str = "model, owner, priority, CASE WHEN spent = 0 THEN start_by END";

/// How many columns [`STATUS`] has.
pub(super) const COLUMNS: usize = 11;

/// Reads the number and the status of a job. The position is not in the file.
pub(super) fn status(row: &Row<'_>) -> rusqlite::Result<(i64, JobStatus)> {
    let mut status = JobStatus::new(job_id(row, 1)?, JobState::from(row.get_ref(2)?.as_str()?));
    status.model = row.get(3)?;
    status.created_at = time(row, 4)?;
    status.started_at = time(row, 5)?;
    status.completed_at = time(row, 6)?;
    status.attempt = count(row, 7)?;
    let result: Option<String> = row.get(8)?;
    status.result = result.map(RawValue::from_string).transpose().map_err(|error| damaged(8, error))?;
    // The column has the error of the last attempt until the job ends.
    let error = row.get(9)?;
    *if status.state.is_terminal() { &mut status.error } else { &mut status.last_error } = error;
    let artifacts: Option<String> = row.get(10)?;
    if let Some(artifacts) = artifacts {
        status.artifacts = serde_json::from_str(&artifacts).map_err(|error| damaged(10, error))?;
    }
    Ok((row.get(0)?, status))
}

/// Reads the state and the attempt of a job.
pub(super) fn progress(row: &Row<'_>) -> rusqlite::Result<JobProgress> {
    Ok(JobProgress { state: JobState::from(row.get_ref(0)?.as_str()?), attempt: count(row, 1)? })
}

/// Parses the request body in `column`.
pub(super) fn submission(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<JobSpec>> {
    let body = row.get_ref(column)?.as_blob()?;
    serde_json::from_slice(body).map(Arc::new).map_err(|error| damaged(column, error))
}

pub(super) fn job_id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    let id: String = row.get(column)?;
    JobId::new(id).map_err(|error| damaged(column, error))
}

pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|error| damaged(column, error))
}

/// Reads what the queue has to know of a job, from four columns from `column` on: `model`, `owner`, `priority` and its deadline.
pub(super) fn queued(row: &Row<'_>, job_id: JobId, column: usize) -> rusqlite::Result<(String, QueuedJob)> {
    let owner = Owner::from_bytes(row.get(column + 1)?);
    let (priority, start_by) = (row.get(column + 2)?, time(row, column + 3)?);
    Ok((row.get(column)?, QueuedJob { owner, priority, start_by, job_id }))
}

/// Reads a time, in microseconds since 1970.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let time: Option<i64> = row.get(column)?;
    time.map(Timestamp::from_microsecond).transpose().map_err(|error| damaged(column, error))
}

/// The error for a value that does not decode.
pub(super) fn damaged(column: usize, error: impl Into<BoxError>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

/// Whether a row was read but does not decode.
pub(super) fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..))
}

/// The error for a value that cannot be stored.
pub(super) fn not_storable(error: impl Into<BoxError>) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

/// Converts a number for a column.
pub(super) fn column(number: u64) -> impl ToSql {
    i64::try_from(number).unwrap_or(i64::MAX)
}
