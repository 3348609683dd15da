//! What an error says about the job.
//!
//! After a failed call, ask in this order:
//!
//! 1. **Did the job itself fail?** [`Error::is_job_failed`](crate::Error::is_job_failed); the reason is in
//!    [`Error::reason`](crate::Error::reason). Only [`into_success`](crate::JobResult::into_success) makes this error.
//! 2. **May a job be running?** [`Error::may_be_running`](crate::Error::may_be_running). If so, do not submit a new request: attach
//!    to the job by [`Error::job_id`](crate::Error::job_id), or, if the id is not known, call again with a clone of the same request.
//!    After [`Error::is_shutting_down`](crate::Error::is_shutting_down) attach from another process.
//! 3. **Is it worth another call?** [`Error::is_retryable`](crate::Error::is_retryable), after
//!    [`Error::retry_after`](crate::Error::retry_after) if the daemon asked for a pause. Above the wait,
//!    [`Reattach`](crate::retry::Reattach) does that for you.
//!
//! ```
//! use foreman_client::{Error, JobId};
//!
//! /// What a service does after a failed call.
//! enum Next {
//!     ReportFailedJob(String),
//!     AttachLater(JobId),
//!     CallAgainWithAClone,
//!     GiveUp(Error),
//! }
//!
//! fn next(error: Error) -> Next {
//!     if error.is_job_failed() {
//!         Next::ReportFailedJob(error.reason().unwrap_or_default().to_owned())
//!     } else if let (true, Some(id)) = (error.may_be_running(), error.job_id()) {
//!         Next::AttachLater(id.clone())
//!     } else if error.is_retryable() {
//!         Next::CallAgainWithAClone
//!     } else {
//!         Next::GiveUp(error)
//!     }
//! }
//! # let _: fn(Error) -> Next = next;
//! ```
//!
//! A call with a clone is always safe. A call with a *new* request is safe only after
//! [`Error::is_safe_to_resubmit`](crate::Error::is_safe_to_resubmit).
//!
//! # Logging
//!
//! `Display` is one phrase without the cause. Print the chain of [`source`](std::error::Error::source)s too, by `anyhow`'s `{:#}`,
//! `tracing`'s `error = &error as &dyn std::error::Error`, or a loop.
//!
//! # Answering your own callers
//!
//! With the feature `axum08`, an `Error` is a response: problem details with the job id and `Retry-After`. With the feature
//! `tonic014`, it converts to a `Status` with the same facts in its metadata. The tables are in [`error`](mod@crate::error).
//! Neither contains the address of the daemon or the causes. The extensions of the response and the source of the `Status` have
//! the error for a middleware that logs it; the docs of the modules `axum08` and `tonic014` show one.
//!
//! # An error of a layer
//!
//! A layer above the wait makes errors of its own. [`Error::from_boxed`](crate::Error::from_boxed) converts any boxed error: it finds this
//! crate's error among the sources, and classifies those of tower, hyper and `std::io`. The error of a `Timeout` layer does not
//! know which job it was about: [`JobErrorsLayer`](crate::wait::JobErrorsLayer) on top of the stack puts the job on it. Without that layer,
//! such an error says that a job may be running, because nothing proves the opposite.
