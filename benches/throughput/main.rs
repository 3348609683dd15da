//! What a whole job costs: the default client beside a floor of raw hyper that does the same without abstraction and without features.
//!
//! `cargo bench --bench throughput` runs a daemon of raw hyper as a process of its own. Client and daemon have a core each, where the
//! system lets them choose it. Each round runs the floor and the client one after the other, and the table has the medians of three
//! rounds: processor time of the client process for 1,000 jobs, and jobs a second, each beside the floor of the same round.
//! `-- ROUNDS` sets another number, `-- --quick` is a smoke run. The settings are the defaults, except that the rate of polls is
//! not limited where polls are the only source: otherwise that rate, 200 a second, would be the result.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use foreman_client::source::PollPolicy;
use foreman_client::{BoxError, Client, SubmitRequest};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use self::support::figures::{Figure, Target};
use self::support::floor::Floor;
use self::support::process::{DaemonOptions, DaemonProcess, cpu_time, pin};
use self::support::rounds::median;
use self::support::{SECRET, arguments_of, daemon, quick};

/// How the daemon runs a job.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    /// The duration of a job in milliseconds.
    millis: u64,
    /// The event of the end comes before the response to the submission.
    event_first: bool,
}

impl Work {
    fn daemon(self) -> DaemonOptions {
        DaemonOptions { millis: self.millis, event_first: self.event_first, ..DaemonOptions::default() }
    }
}

const WORK: [Work; 3] = [
    Work { name: "no work, event after the 202", millis: 0, event_first: false },
    Work { name: "no work, event before the 202", millis: 0, event_first: true },
    Work { name: "50 ms", millis: 50, event_first: false },
];

const IN_FLIGHT: [usize; 3] = [1, 16, 256];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Floor,
    Webhooks,
    Polling,
}

/// One run.
#[derive(Clone, Copy)]
struct Cost {
    /// Processor time for a job.
    cpu: Duration,
    jobs_per_second: f64,
    median: Duration,
}

fn main() -> Result<(), BoxError> {
    if DaemonProcess::is_this() {
        return daemon::main();
    }
    pin(0);
    if let Some(arguments) = arguments_of("--run") {
        return run_alone(&arguments);
    }
    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(if quick() { 1 } else { 3 });
    println!(
        "| work | in flight | floor: CPU µs a job, jobs/s, p50 | webhooks: CPU ×, jobs/s ×, p50 | polling: CPU ×, jobs/s ×, p50 |"
    );
    println!("|---|---|---|---|---|");
    for work in WORK {
        for in_flight in IN_FLIGHT {
            let rounds: Vec<_> = (0..rounds).map(|_| round(work, in_flight)).collect::<Result<_, _>>()?;
            report(work, in_flight, &rounds)?;
        }
    }
    Ok(())
}

/// One run for a profiler: `floor`, `webhooks` or `polling`, the index of the work, and how many jobs are in flight.
fn run_alone(arguments: &[String]) -> Result<(), BoxError> {
    let [kind, work, in_flight, ..] = arguments else { return Err("usage: --run KIND WORK IN_FLIGHT".into()) };
    let kind = match kind.as_str() {
        "floor" => Kind::Floor,
        "webhooks" => Kind::Webhooks,
        "polling" => Kind::Polling,
        other => return Err(format!("no such kind: {other}").into()),
    };
    let (work, in_flight) = (*WORK.get(work.parse::<usize>()?).ok_or("no such work")?, in_flight.parse()?);
    let daemon = DaemonProcess::start(work.daemon())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cost = runtime.block_on(run(kind, daemon.url(), work, in_flight))?;
    println!("{:.1} µs of processor time a job, {:.0} jobs/s", cost.cpu.as_secs_f64() * 1e6, cost.jobs_per_second);
    Ok(())
}

fn round(work: Work, in_flight: usize) -> Result<[Cost; 3], BoxError> {
    let mut costs = Vec::new();
    for kind in [Kind::Floor, Kind::Webhooks, Kind::Polling] {
        // Each has a daemon and a runtime of its own, so that none inherits connections or late events.
        let daemon = DaemonProcess::start(work.daemon())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        costs.push(runtime.block_on(run(kind, daemon.url(), work, in_flight))?);
    }
    costs.try_into().map_err(|_| "three runs".into())
}

async fn run(kind: Kind, url: &str, work: Work, in_flight: usize) -> Result<Cost, BoxError> {
    // About two seconds by the floor.
    let jobs = match (work.millis, in_flight) {
        (0, 1) => 10_000,
        (0, _) => 40_000,
        (millis, _) => in_flight * 2_000 / usize::try_from(millis)?,
    };
    let jobs = if quick() { jobs / 10 } else { jobs };
    if kind == Kind::Floor {
        let floor = Floor::start(url).await?;
        return measure(jobs, in_flight, || {
            let floor = floor.clone();
            async move { floor.job().await }
        })
        .await;
    }
    let builder = Client::builder(url);
    let builder = match kind {
        Kind::Polling => builder.polling().poll_policy(PollPolicy::builder().max_rate(u32::MAX).build()?),
        _ => builder.webhook_secret(SECRET),
    };
    let client = builder.build().await?;
    let cost = measure(jobs, in_flight, || {
        let client = client.clone();
        async move {
            let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
            client.submit(request).await?.into_success()?;
            Ok(())
        }
    })
    .await?;
    let waits = client.stats().waits;
    if kind == Kind::Webhooks && waits.finished_by_poll * 20 > waits.finished_by_webhook {
        eprintln!("{}, {in_flight} in flight: {} of {jobs} finished by poll", work.name, waits.finished_by_poll);
    }
    Ok(cost)
}

/// Runs `jobs` jobs, `in_flight` at a time, each in a task of its own as in a server, after a tenth of them to warm up.
async fn measure<F>(jobs: usize, in_flight: usize, job: impl Fn() -> F) -> Result<Cost, BoxError>
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let run = async |jobs| {
        let mut times = Vec::with_capacity(jobs);
        let mut results = stream::iter(0..jobs)
            .map(|_| {
                let job = job();
                async { tokio::spawn(timed(job)).await.expect("a job does not panic") }
            })
            .buffer_unordered(in_flight);
        while let Some(time) = results.next().await {
            times.push(time?);
        }
        Ok::<_, BoxError>(times)
    };
    run(jobs / 10 + in_flight).await?;
    let (cpu, start) = (cpu_time(), Instant::now());
    let mut times = run(jobs).await?;
    let (cpu, elapsed) = (cpu_time() - cpu, start.elapsed());
    times.sort_unstable();
    let count = u32::try_from(jobs)?;
    Ok(Cost { cpu: cpu / count, jobs_per_second: f64::from(count) / elapsed.as_secs_f64(), median: times[jobs / 2] })
}

async fn timed(job: impl Future<Output = Result<(), BoxError>>) -> Result<Duration, BoxError> {
    let start = Instant::now();
    job.await?;
    Ok(start.elapsed())
}

fn report(work: Work, in_flight: usize, rounds: &[[Cost; 3]]) -> Result<(), BoxError> {
    let of = |kind: usize, value: fn(&Cost, &Cost) -> f64| {
        median(rounds.iter().map(|round| value(&round[kind], &round[0])).collect())
    };
    let micros = |cost: &Cost, _: &Cost| cost.cpu.as_secs_f64() * 1e6;
    let millis = |cost: &Cost, _: &Cost| cost.median.as_secs_f64() * 1e3;
    let beside = |kind| {
        let cpu = of(kind, |cost, floor| cost.cpu.as_secs_f64() / floor.cpu.as_secs_f64());
        let rate = of(kind, |cost, floor| cost.jobs_per_second / floor.jobs_per_second);
        format!("{cpu:.2}, {rate:.2}, {:.2} ms", of(kind, millis))
    };
    println!(
        "| {} | {in_flight} | {:.1}, {:.0}, {:.2} ms | {} | {} |",
        work.name,
        of(0, micros),
        of(0, |cost, _| cost.jobs_per_second),
        of(0, millis),
        beside(1),
        beside(2)
    );
    let (rate, cpu) = (of(0, |cost, _| cost.jobs_per_second), of(0, micros));
    for (kind, source) in [(1, "webhook"), (2, "polling")] {
        let name = |what| format!("{what}, {}, {in_flight} in flight, by {source}", work.name);
        let (of_rate, of_cpu) = (of(kind, |cost, _| cost.jobs_per_second), of(kind, micros));
        let mut throughput = Figure::new(name("throughput"), of_rate, "jobs/s").beside(rate);
        let mut time = Figure::new(name("processor time"), of_cpu, "µs a job").beside(cpu);
        if source == "webhook" {
            (throughput, time) = (throughput.target(Target::RatioAtLeast(0.9)), time.target(Target::Ratio(1.15)));
        } else if work.millis > 0 {
            let found = of(kind, |cost, _| cost.median.as_secs_f64() * 1e3);
            let latency = Figure::new(name("median time of a job"), found, "ms").beside(of(0, millis));
            latency.target(Target::Value(work.millis as f64 * 1.2)).store()?;
            if in_flight > 1 {
                time = time.target(Target::Ratio(2.5));
            }
        }
        throughput.store()?;
        time.store()?;
    }
    Ok(())
}
