//! The cost of storing jobs: submissions to a daemon with a file, beside PostgreSQL, a daemon in memory, and the bare disk, in the
//! same run and in the same folder.
//!
//! ```text
//! cargo bench -p foreman-daemon --bench store                    # 1, 16 and 256 submitters
//! cargo bench -p foreman-daemon --bench store -- --quick         # the same, shorter: a smoke run
//! cargo bench -p foreman-daemon --bench store -- stored 1000000  # with this many stored jobs: size, memory, start, submissions
//! ```
//!
//! PostgreSQL is the installed one (`postgresql` of Debian), with default settings except for the number of connections. It runs in the
//! bench's folder and listens on a Unix socket there. `pgbench` inserts rows like those of a job, with prepared statements. The folder
//! is below `TMPDIR`, which must not be in memory.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops if it fails")]

mod disk;
mod load;
mod postgres;
mod stored;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use self::postgres::Postgres;

/// How often each measurement is made, in turn with the others. The figure is the median.
const ROUNDS: usize = 3;

/// The numbers of concurrent submitters.
const AT_ONCE: [usize; 3] = [1, 16, 256];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.next().as_deref() {
        Some("stored") => runtime.block_on(stored::stored(arguments.next().unwrap().parse().unwrap())),
        Some("--quick") => runtime.block_on(submitters(Duration::from_secs(1))),
        _ => runtime.block_on(submitters(Duration::from_secs(3))),
    }
}

async fn submitters(span: Duration) {
    // Another user, who runs PostgreSQL, has to pass through.
    let open = std::fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(open).tempdir().unwrap();
    let postgres = Postgres::start(folder.path()).inspect_err(|reason| println!("NO POSTGRESQL: {reason}")).ok();
    println!(
        "{:>10} {:>12} {:>12} {:>15} {:>12} {:>16}",
        "submitters", "file 1/s", "memory 1/s", "PostgreSQL 1/s", "file/memory", "file/PostgreSQL"
    );
    for at_once in AT_ONCE {
        let [mut file, mut memory, mut inserts, mut loops, mut syncs] = [const { Vec::new() }; 5];
        for _ in 0..ROUNDS {
            file.push(load::durable(folder.path(), at_once, span).await);
            memory.push(load::in_memory(at_once, span).await);
            inserts.push(postgres.as_ref().map_or(f64::NAN, |postgres| postgres.inserts(at_once, span)));
            if at_once == 1 {
                loops.push(disk::inserts(folder.path(), span));
                syncs.push(disk::writes(folder.path(), span));
            }
        }
        let [file, memory, inserts] = [file, memory, inserts].map(median);
        println!(
            "{at_once:>10} {file:>12.0} {memory:>12.0} {inserts:>15.0} {:>12.2} {:>16.2}",
            file / memory,
            file / inserts
        );
        if at_once == 1 {
            one_submission(file, memory, median(loops), median(syncs));
        }
    }
}

/// Prints the time of one submission beside that of its parts. The arguments are rates, in 1/s.
fn one_submission(file: f64, memory: f64, loops: f64, syncs: f64) {
    let [file, memory, loops, syncs] = [file, memory, loops, syncs].map(|rate| 1e6 / rate);
    println!(
        "{:>10} {file:.0} µs a submission, {:.2} of insert and sync ({loops:.0} µs) and submission in memory ({memory:.0} µs); \
         write and sync alone: {syncs:.0} µs",
        "",
        file / (loops + memory),
    );
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn fresh(folder: &Path) -> tempfile::TempDir {
    tempfile::tempdir_in(folder).unwrap()
}
