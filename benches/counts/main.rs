//! Counts that do not depend on the load of the machine: allocations and instructions of a job by webhook, of an event and of a poll.
//!
//! `cargo bench --bench counts` compares them with `benches/counts.json`, and fails if one is more than a tolerance above or below. With
//! `-- --update` it writes that file. Everything runs on one thread; the daemon is a process of its own and is not counted. Instructions
//! are counted by valgrind's callgrind, where it is installed, as the difference between two runs of this program. Its processor has no SHA
//! instructions, so that HMAC counts for more than it costs. Another compiler or other dependencies change the counts too.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

mod callgrind;
mod kept;
#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;
mod work;

use std::alloc::System;

use foreman_client::BoxError;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::kept::{Counts, Kept};
use self::support::figures::{Figure, number};
use self::support::process::DaemonProcess;
use self::support::{arguments_of, daemon, flag, quick};
use self::work::Work;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), BoxError> {
    if DaemonProcess::is_this() {
        return daemon::main();
    }
    if let Some(arguments) = arguments_of(work::ARGUMENT) {
        return work::run_alone(&arguments);
    }
    let callgrind = !quick() && callgrind::is_installed();
    if !callgrind {
        let why = if quick() { "a quick run" } else { "valgrind is not installed" };
        eprintln!("NOT COUNTED: instructions ({why})");
    }
    let mut kept = Kept::read()?;
    let mut outside = Vec::new();
    for work in Work::ALL {
        let counts = Counts {
            allocations: work.allocations()?,
            instructions: if callgrind { Some(callgrind::instructions(work)?) } else { None },
        };
        let before = kept.get(work.name());
        let values = [
            (Some(counts.allocations), before.map(|counts| counts.allocations), "allocations", kept::ALLOCATIONS),
            (counts.instructions, before.and_then(|counts| counts.instructions), "instructions", kept::INSTRUCTIONS),
        ];
        for (value, before, unit, tolerance) in values {
            let Some(value) = value else { continue };
            let name = format!("{unit} of {}", work.name());
            let figure = Figure::new(&*name, value, unit);
            let figure = if let Some(before) = before { figure.beside(before) } else { figure };
            figure.record()?;
            match before {
                Some(before) if (value - before).abs() <= tolerance * before => {}
                Some(before) => outside.push(format!("{name}: {}, not {}", number(value), number(before))),
                None => outside.push(format!("{name}: {}, not in the file", number(value))),
            }
        }
        kept.set(work.name(), counts);
    }
    if flag("--update") {
        return kept.write();
    }
    if outside.is_empty() {
        return Ok(());
    }
    Err(format!("outside the tolerance; -- --update writes them:\n{}", outside.join("\n")).into())
}
