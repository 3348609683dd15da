//! What a waiting job takes: resident memory, and the processor time to finish it by webhook, beside the floor.
//!
//! `cargo bench --bench waiting` measures 1,000, 10,000 and 100,000 waits at the same time, `-- --million` also 1,000,000, and `-- --quick`
//! only the first two. Each measurement is a process of its own, whose daemon, another process, holds the jobs until all of them wait.
//! The clients have their default settings. The last figure is the resident memory after many jobs were submitted and dropped.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

mod measure;
#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;

use foreman_client::BoxError;

use self::measure::{Kind, Measured, child, measure_in_child};
use self::support::figures::{Figure, Target};
use self::support::process::DaemonProcess;
use self::support::{arguments_of, daemon, flag, quick};

/// The limit of resident bytes for a waiting job.
const BYTES: f64 = 800.0;

/// The figures are medians of so many runs, except those of 1,000,000 jobs, which are of one.
const RUNS: usize = 3;

fn main() -> Result<(), BoxError> {
    if DaemonProcess::is_this() {
        return daemon::main();
    }
    if let Some(arguments) = arguments_of(measure::ARGUMENT) {
        return child(&arguments);
    }
    let mut sizes = vec![1_000, 10_000];
    if !quick() {
        sizes.push(100_000);
    }
    if flag("--million") {
        sizes.push(1_000_000);
    }
    let mut smallest = None;
    for jobs in sizes {
        let runs = if quick() || jobs == 1_000_000 { 1 } else { RUNS };
        let mut of_kinds = [const { Vec::new() }; 3];
        for _ in 0..runs {
            for (runs, kind) in of_kinds.iter_mut().zip([Kind::Floor, Kind::Webhooks, Kind::Polling]) {
                runs.push(measure_in_child(kind, jobs)?);
            }
        }
        let [floor, webhooks, polling] = of_kinds.map(|runs| Measured::median(&runs));
        for (source, measured) in [("webhook", webhooks), ("polling", polling)] {
            Figure::new(format!("memory of a job waiting by {source}, {jobs} jobs"), measured.resident, "bytes")
                .beside(floor.resident)
                .target(Target::Value(BYTES))
                .record()?;
        }
        let finish =
            Figure::new(format!("processor time to finish a job by webhook, {jobs} jobs"), webhooks.micros, "µs")
                .beside(floor.micros);
        let finish = if jobs == 100_000 { finish.target(Target::Ratio(1.3)) } else { finish };
        finish.record()?;
        let smallest: &Measured = smallest.get_or_insert(webhooks);
        if jobs > 1_000 {
            let name = format!("processor time to finish a job by webhook, {jobs} jobs beside 1000");
            let growth = Figure::new(name, webhooks.micros, "µs").beside(smallest.micros);
            let growth = if jobs == 1_000_000 { growth.target(Target::Ratio(1.2)) } else { growth };
            growth.record()?;
        }
    }
    let (few, many) = if quick() { (1_000, 10_000) } else { (100_000, 1_000_000) };
    let cycles = measure_in_child(Kind::Cycles { few }, many)?;
    Figure::new(
        format!("resident memory after {many} jobs submitted and dropped, beside {few}"),
        cycles.resident,
        "bytes",
    )
    .beside(cycles.before)
    .record()
}
