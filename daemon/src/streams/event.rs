use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::{InvalidValue, JobStatus};

/// The longest name of a stream, in bytes.
const MAX_NAME: usize = 128;

/// Above this size, in bytes, an event has no result and no artifacts: a client gets them by a poll.
const MAX_DATA: usize = 64 << 10;

/// Checks the name of a stream.
///
/// # Errors
///
/// If it is empty, too long, or not visible ASCII.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), InvalidValue> {
    let valid = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(()) } else { Err(InvalidValue::new(field, "must be 1 to 128 visible ASCII characters")) }
}

/// The position after an event: the start of this process and a number. Clients do not look into it.
pub(super) fn id(boot: &str, number: u64) -> String {
    format!("{boot}-{number}")
}

/// The number of a position of this process.
pub(super) fn number(boot: &str, id: &str) -> Option<u64> {
    id.strip_prefix(boot)?.strip_prefix('-')?.parse().ok()
}

/// The data of the event of a job's state. `None` if it cannot be written as JSON.
pub(super) fn data(status: &JobStatus) -> Option<String> {
    #[derive(Serialize)]
    struct Truncated<'a> {
        #[serde(flatten)]
        status: &'a JobStatus,
        truncated: bool,
    }
    let large = status.result.as_ref().is_some_and(|result| result.get().len() > MAX_DATA);
    let data = if large { None } else { Some(serde_json::to_string(status).ok()?) };
    if let Some(data) = data.filter(|data| data.len() <= MAX_DATA) {
        return Some(data);
    }
    let mut short = JobStatus::new(status.job_id.clone(), status.state.clone());
    short.model.clone_from(&status.model);
    (short.created_at, short.started_at, short.completed_at) =
        (status.created_at, status.started_at, status.completed_at);
    (short.attempt, short.position) = (status.attempt, status.position);
    short.error.clone_from(&status.error);
    serde_json::to_string(&Truncated { status: &short, truncated: true }).ok()
}

/// The event of a job's state.
pub(super) fn job(boot: &str, number: u64, data: &str) -> Bytes {
    let mut event = format!("id: {}\nevent: job\n", id(boot, number));
    // A result is JSON as the backend has written it, and may have line ends between its tokens.
    for line in data.split(['\n', '\r']) {
        event.extend(["data: ", line, "\n"]);
    }
    event.push('\n');
    event.into()
}

/// The first block of a stream, so that the client knows its position before the first event.
pub(super) fn position(boot: &str, number: u64) -> Bytes {
    format!("id: {}\n\n", id(boot, number)).into()
}

/// Events may be missing before this position.
pub(super) fn reset(boot: &str, number: u64) -> Bytes {
    format!("id: {}\nevent: reset\ndata: {{}}\n\n", id(boot, number)).into()
}

pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// A key of the map of channels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) owner: crate::owner::Owner,
    /// `None`: all jobs of the owner.
    pub(super) name: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::{JobId, JobState};

    #[test]
    fn names_are_visible_ascii() {
        for name in ["a", "0123-_:.~", &"x".repeat(MAX_NAME)] {
            assert!(check_name("stream", name).is_ok(), "{name}");
        }
        for name in ["", " ", "a b", "ä", "a\n", &"x".repeat(MAX_NAME + 1)] {
            assert!(check_name("stream", name).is_err(), "{name}");
        }
    }

    #[test]
    fn only_positions_of_this_process_have_a_number() {
        assert_eq!(number("b7", &id("b7", 12)), Some(12));
        for other in ["", "12", "b7", "b7-", "b7-x", "b7--1", "b8-12", "b712", "b7-99999999999999999999"] {
            assert_eq!(number("b7", other), None, "{other}");
        }
    }

    #[test]
    fn large_results_are_left_out() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Done);
        let result = |length: usize| RawValue::from_string(format!("\"{}\"", "x".repeat(length))).unwrap();
        for (length, truncated) in [(10, false), (MAX_DATA / 2, false), (MAX_DATA - 20, true), (MAX_DATA * 9, true)] {
            status.result = Some(result(length));
            let event = String::from_utf8(job("b", 1, &data(&status).unwrap()).to_vec()).unwrap();
            assert_eq!(event.contains("\"truncated\":true"), truncated, "{length}");
            assert_eq!(event.contains("\"result\":null"), truncated, "{length}");
            assert!(event.len() <= MAX_DATA + 100, "{length}");
        }
    }

    #[test]
    fn data_with_line_ends_has_a_line_for_each() {
        let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Done);
        status.result = Some(RawValue::from_string("{\n\"a\":\r\n1}".to_owned()).unwrap());
        let event = String::from_utf8(job("b", 1, &data(&status).unwrap()).to_vec()).unwrap();
        let (head, lines) = event.strip_suffix("\n\n").unwrap().split_at("id: b-1\nevent: job\n".len());
        assert_eq!(head, "id: b-1\nevent: job\n");
        let json: String = lines.split('\n').map(|line| line.strip_prefix("data: ").unwrap()).collect();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["result"]["a"], 1);
    }
}
