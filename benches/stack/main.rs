//! What layers add to a wait, and what they do under overload.
//!
//! `cargo bench --bench stack`; `-- --quick` is a smoke run. The stack is the one of README.md: `JobErrorsLayer`, `load_shed`,
//! `concurrency_limit`, `retry(Reattach)`.
//!
//! - Overhead: calls through the stack beside calls of the wait alone. The daemon is in memory, and ends each job before it answers the
//!   submission. Batches alternate, and the figures are medians of the processor time.
//! - Pool: calls of a pool of three daemons beside calls of one of its clients alone, in the same way.
//! - Overload: the daemon is a process that runs 16 jobs of 10 ms at the same time. The peak is its throughput with as many jobs in
//!   flight as the stack allows; then four times the peak is offered to the stack, which refuses the rest.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

mod overhead;
mod overload;
mod pool;
#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;

use std::alloc::System;

use foreman_client::BoxError;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::support::daemon;
use self::support::process::{DaemonProcess, pin};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), BoxError> {
    if DaemonProcess::is_this() {
        return daemon::main();
    }
    pin(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(overhead::measure())?;
    runtime.block_on(pool::measure())?;
    runtime.block_on(overload::measure())
}
