use uuid::Uuid;

use crate::JobId;

/// An id for a new job: a UUID of version 7 without hyphens, so that ids sort by the time of the submission.
#[expect(clippy::expect_used, reason = "hexadecimal digits are an id")]
pub(super) fn fresh_id() -> JobId {
    JobId::new(Uuid::now_v7().simple().to_string()).expect("hexadecimal digits")
}
