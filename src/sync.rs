//! The locks and atomics of what several tasks share, so that loom can explore their orders (`--cfg foreman_loom`).

#[cfg(not(all(test, foreman_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, foreman_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
