//! One run: the faults under load, the checks, and the tables.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::check::{Check, check, check_store};
use super::disk::enter_namespace;
use super::faults::FAULTS;
use super::world::World;

/// Bounds the end of the submitters, which finish what they have begun.
const FINISH: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Options {
    quick: bool,
    seed: u64,
}

pub(crate) fn main() -> ExitCode {
    enter_namespace();
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let given = arguments.iter().position(|argument| argument == "--seed");
    let given = given.map(|at| arguments.get(at + 1).and_then(|seed| seed.parse().ok()).expect("--seed NUMBER"));
    let seed = given.unwrap_or_else(|| if quick { 1 } else { fastrand::u64(..1 << 32) });
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let holds = runtime.block_on(run(&Options { quick, seed }, folder.path()));
    if holds {
        return ExitCode::SUCCESS;
    }
    let log = std::env::temp_dir().join(format!("bad-hour-{seed}.log"));
    std::fs::copy(folder.path().join("log"), &log).unwrap();
    println!("\nBROKEN; the log of the daemon is {}", log.display());
    ExitCode::FAILURE
}

async fn run(options: &Options, folder: &Path) -> bool {
    let (rounds, length, pause) = if options.quick { (1, 2, 700) } else { (3, 4, 2_000) };
    let (length, pause) = (Duration::from_secs(length), Duration::from_millis(pause));
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut world = World::start(folder).await;
    println!("seed {}; disk: {}\n", options.seed, world.disk.describe());
    println!("| at, s | fault | for, s | accepted | 429 or 503 | no response |\n|---|---|---|---|---|---|");
    let hooks: Vec<_> = world.receivers.iter().map(|receiver| receiver.url()).collect();
    let load = world.load.clone();
    let begin = Instant::now();
    let mut submitters = load.start(&world.daemon.url(), &hooks, options.seed).await;
    for _ in 0..rounds {
        let mut faults = FAULTS;
        if !options.quick {
            random.shuffle(&mut faults);
        }
        for fault in faults {
            sleep(pause).await;
            fault.run(&mut world, length, begin).await;
        }
    }
    sleep(pause).await;
    load.stop();
    let finished = tokio::time::timeout(FINISH, async { while submitters.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        load.broken.lock().unwrap().push(format!("{} submitters do not finish", submitters.len()));
    }

    let mut checks = check(&world).await;
    let (peak, memory, files) = world.daemon.usage();
    let status = world.daemon.stop(Signal::SIGTERM).await;
    let failures = (status != Some(0)).then(|| format!("exit status {status:?}"));
    checks.push(Check::new("the daemon stops by SIGTERM", 1, failures.into_iter().collect()));
    checks.push(check_store(&world.store, &load.accepted.lock().unwrap()));
    println!("\n| promise | checked | failures | |\n|---|---|---|---|");
    let holds = checks.iter().filter(|check| !check.print()).count() == 0;
    println!(
        "\n{} jobs accepted, {} submissions rejected with 429 or 503, {} without a response, {} waits of the client library called again",
        load.count(),
        load.rejected.load(SeqCst),
        load.lost.load(SeqCst),
        load.waits_again.load(SeqCst)
    );
    println!("{} chats at the backend, {:.0} s", world.backend.chats(), begin.elapsed().as_secs_f64());
    println!(
        "the daemon's memory since its last start: {peak} MiB at most, {memory} MiB at the end; {files} open files"
    );
    for check in &checks {
        check.print_failures();
    }
    holds
}
