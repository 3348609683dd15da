//! One file for each endpoint.

mod cancel_job;
mod drain_box;
mod embed;
mod get_job;
mod list_boxes;
mod list_jobs;
mod list_models;
mod submit;

pub use self::cancel_job::CancelJob;
pub(crate) use self::cancel_job::cannot_cancel;
pub use self::drain_box::{DrainBox, UndrainBox};
pub use self::get_job::{GetJob, Polled};
pub use self::list_boxes::ListBoxes;
pub use self::list_jobs::{JobPage, ListJobs};
pub use self::list_models::ListModels;
pub use self::submit::Accepted;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as one segment of a path, or one value of a query.
fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, ENCODED)
}
