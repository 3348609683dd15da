use uuid::Uuid;

use crate::JobId;

/// Generates a job id: a UUID of version 7 without hyphens, so that ids sort by submission time.
#[expect(clippy::expect_used, reason = "hexadecimal digits are a valid id")]
pub(super) fn fresh_id() -> JobId {
    JobId::new(Uuid::now_v7().simple().to_string()).expect("hexadecimal digits")
}
