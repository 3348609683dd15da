//! What the clones of one [`SubmitRequest`](crate::SubmitRequest) share: key, callback, job id, states.
//!
//! Requests and waits hold it, and the last that lets go frees the callback's slot; a [`Submission`] only observes.
//! [`DropPolicy`] says what becomes of a job that nobody holds any longer.

mod cell;
mod drop_policy;
mod handle;
mod history;
mod hold;
mod progress;
mod token;
mod wakers;

pub(crate) use self::cell::{Cell, Claim, Delivered, Trust};
pub use self::drop_policy::DropPolicy;
pub use self::handle::{States, Submission};
pub use self::history::{StateChange, Via};
pub(crate) use self::hold::{Hold, Home, Released};
pub(crate) use self::token::Token;
pub(crate) use self::wakers::Seat;
