//! What the daemon knows: jobs, their queue, the keys they were submitted with, and the events that are to be told.
//!
//! Each method of [`Store`] is one transaction: what it changes, it changes together. It is synchronous and knows nothing of
//! tasks, sockets or backends, so that another place to keep jobs needs these methods and no more.

mod job;
mod memory;
mod outbox;
mod queue;

pub(crate) use self::job::{Cancelled, Key, NewJob, Outcome, Page, Query, Refusal, Submitted, Taken};
pub(crate) use self::memory::Store;
pub(crate) use self::outbox::{Address, Claim, Mail, Verdict};
