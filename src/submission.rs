//! What the clones of one [`SubmitRequest`](crate::SubmitRequest) share: key, callback, job id, states.
//!
//! A [`Cell`] is the shared state. Requests and waits hold it by a [`Hold`], whose last drop frees the callback's slot;
//! a [`Submission`] only observes. The cell knows nothing of HTTP: who sends and who listens is behind [`Home`].

mod cell;
mod drop_policy;
mod handle;
mod history;
mod hold;
mod token;
mod wakers;

pub(crate) use self::cell::{Cell, Claim, Delivered, Trust};
pub use self::drop_policy::DropPolicy;
pub use self::handle::{States, Submission};
pub use self::history::{StateChange, Via};
pub(crate) use self::hold::{Hold, Home, Released};
pub(crate) use self::token::Token;
pub(crate) use self::wakers::Seat;
