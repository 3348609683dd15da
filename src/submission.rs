//! A *single-flight* submission: all clones of one [`SubmitRequest`](crate::SubmitRequest) share it, and at most one of their waits
//! sends it at a time. The others wait for the outcome, and then for the same job.
//!
//! ```text
//!  SubmitRequest ─ clone ─ clone     JobWait   JobWait    Submission, States
//!        │           │       │          │         │       (observe only)
//!        └ KeepAlive ┴───────┴──────────┴─────────┘               │
//!              │  the last one dropped: abandon, drop policy      │
//!              ▼                                                  │
//!        SharedSubmission ◄───────────────────────────────────────┘
//!              ▲   idempotency key, registration, wakers;
//!              │   SubmissionState, under one lock
//!              │
//!              └──── events ──── Notifier (callback token → submission)
//!
//!  SubmissionState:
//!
//!          ┌── unsent: surely did not arrive ──┐
//!          ▼                                   │
//!  ─────► Fresh ─── claim: one wait sends ─► InFlight ─── 202 ───► Accepted
//!                                              │    ▲                 ▲
//!                     no response, or dropped  ▼    │ reclaim         │
//!                                             Lost ─┴─ event ─────────┘
//! ```
//!
//! A submission is reclaimed from `Lost` only if the daemon supports idempotency keys. An event that names the job accepts it; it is
//! reclaimed from there too, since only a response confirms the id.
//!
//! A wait that is dropped while it sends moves the submission to `Lost`, unless nothing was sent. From `Lost` there is no way back to
//! `Fresh`: a job may exist. That is why a retry, a hedge or a timeout above a wait attaches to the job and does not submit again.
//!
//! The last holder of a submission that is lost leaves it to its wait service, which becomes the last holder: to apply the drop policy, it
//! has to find the job first. For that, each wait that ends leaves the conversation in the submission.
//!
//! A [`Submission`] is a handle that only observes. [`DropPolicy`] decides what happens to an abandoned job.

mod daemon_id;
mod draft;
mod drop_policy;
mod handle;
mod history;
mod keep_alive;
mod key;
#[cfg(all(test, foreman_loom))]
mod loom_tests;
mod registration;
mod shared;
mod state;
mod token;
mod wakers;

pub use self::daemon_id::DaemonId;
pub(crate) use self::draft::{Draft, LostSubmission};
pub use self::drop_policy::DropPolicy;
pub use self::handle::{States, Submission};
pub use self::history::{StateChange, Via};
pub(crate) use self::keep_alive::{InFlightRequest, KeepAlive, Released, SendingTo, WaitOwner};
pub use self::key::IdempotencyKey;
pub(crate) use self::shared::SharedSubmission;
pub(crate) use self::state::{EventOutcome, SendState, SubmissionState, Trust};
pub(crate) use self::token::{TokenId, TokenKey};
pub(crate) use self::wakers::{WakerSlot, Wakers};
