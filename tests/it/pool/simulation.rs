//! A pool beside the best static split and round robin, on paused time: daemons of unequal speed, loads of 20 s, bursts.
//!
//! `POOL_SEEDS=20 cargo test --test it pool::simulation -- --nocapture` prints the figures of more seeds.

use std::time::Duration;

use foreman_client::Pool;
use tokio::time::{Instant, sleep_until};

use super::{request_for, settle};
use crate::support::PoolDaemon;

/// The time of a job at each daemon, in seconds.
const TIMES: [f64; 3] = [1.0, 2.0, 4.0];
/// The time of a load, in seconds.
const LOAD: f64 = 20.0;
const MODELS: [&str; 2] = ["x", "y"];
const JOBS: usize = 3_000;
/// The part of the speed of all daemons that the jobs take, without loads.
const UTILIZATION: f64 = 0.6;
/// How many seeds are run unless `POOL_SEEDS` says otherwise.
const SEEDS: u64 = 4;

/// A job: when it comes, in seconds, and its model.
type Job = (f64, usize);

/// The jobs of a seed: bursts of one model, of up to 20 jobs.
fn jobs(seed: u64) -> Vec<Job> {
    let mut random = fastrand::Rng::with_seed(seed);
    let rate = UTILIZATION * TIMES.iter().map(|time| 1.0 / time).sum::<f64>();
    let (mut now, mut jobs) = (0.0, Vec::new());
    while jobs.len() < JOBS {
        let (burst, model) = (random.usize(1..=20), random.usize(0..MODELS.len()));
        jobs.extend(std::iter::repeat_n((now, model), burst));
        now -= (burst as f64 / rate) * (1.0 - random.f64()).ln();
    }
    jobs.truncate(JOBS);
    jobs
}

/// The mean time of a job if `place` chooses its daemon, in seconds. Infinite if it is above `limit`.
fn mean(jobs: &[Job], limit: f64, mut place: impl FnMut(usize, usize) -> usize) -> f64 {
    let (mut free, mut loaded, mut total) = ([0.0_f64; 3], [None; 3], 0.0);
    for (at, (arrival, model)) in jobs.iter().copied().enumerate() {
        let daemon = place(at, model);
        let load = if loaded[daemon] == Some(model) { 0.0 } else { LOAD };
        free[daemon] = free[daemon].max(arrival) + load + TIMES[daemon];
        loaded[daemon] = Some(model);
        total += free[daemon] - arrival;
        if total > limit * jobs.len() as f64 {
            return f64::INFINITY;
        }
    }
    total / jobs.len() as f64
}

/// The mean time with these shares of each model, in tenths, as evenly mixed as possible.
fn split(jobs: &[Job], limit: f64, shares: [[i32; 3]; 2]) -> f64 {
    let mut due = [[0; 3]; 2];
    mean(jobs, limit, |_, model| {
        let due = &mut due[model];
        (0..3).for_each(|daemon| due[daemon] += shares[model][daemon]);
        let daemon = (0..3).max_by_key(|daemon| due[*daemon]).unwrap();
        due[daemon] -= 10;
        daemon
    })
}

/// The best of all static splits in tenths.
fn best_split(jobs: &[Job]) -> f64 {
    let shares: Vec<[i32; 3]> = (0..=10).flat_map(|a| (0..=10 - a).map(move |b| [a, b, 10 - a - b])).collect();
    let pairs = shares.iter().flat_map(|x| shares.iter().map(move |y| [*x, *y]));
    pairs.fold(f64::INFINITY, |best, shares| best.min(split(jobs, best, shares)))
}

/// The mean time with a pool, in seconds.
async fn pooled(jobs: &[Job], seed: u64) -> f64 {
    fastrand::seed(seed);
    let daemons = [0, 1, 2].map(|at: usize| {
        let (time, load) = (Duration::from_secs_f64(TIMES[at]), Duration::from_secs_f64(LOAD));
        PoolDaemon::with_load(&format!("d{at}"), time, load).models(&MODELS)
    });
    let mut clients = Vec::new();
    for daemon in &daemons {
        clients.push(daemon.client_with_webhooks().await);
    }
    let pool = Pool::from_clients(clients).unwrap();
    settle().await;
    let start = Instant::now();
    let mut waits = Vec::new();
    for (arrival, model) in jobs.iter().copied() {
        let arrives = start + Duration::from_secs_f64(arrival);
        sleep_until(arrives).await;
        let wait = pool.submit(request_for(MODELS[model]));
        waits.push(tokio::spawn(async move {
            wait.await.unwrap();
            arrives.elapsed().as_secs_f64()
        }));
    }
    let mut total = 0.0;
    for wait in waits {
        total += wait.await.unwrap();
    }
    total / jobs.len() as f64
}

#[tokio::test(start_paused = true)]
async fn pool_is_near_the_best_static_split_and_better_than_round_robin() {
    let seeds = std::env::var("POOL_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut totals = [0.0; 3];
    for seed in 1..=seeds {
        let jobs = jobs(seed);
        let means = [pooled(&jobs, seed).await, best_split(&jobs), mean(&jobs, f64::INFINITY, |at, _| at % 3)];
        print_means(&format!("seed {seed}"), means);
        totals.iter_mut().zip(means).for_each(|(total, mean)| *total += mean);
    }
    let [pool, best, robin] = totals.map(|total| total / seeds as f64);
    print_means(&format!("{seeds} seeds"), [pool, best, robin]);
    assert!(pool <= 1.2 * best, "{:.2} of the best static split", pool / best);
    assert!(robin >= 5.0 * pool, "{:.2} times as good as round robin", robin / pool);
}

fn print_means(of: &str, [pool, best, robin]: [f64; 3]) {
    let (to_best, to_robin) = (pool / best, robin / pool);
    println!(
        "{of}: mean time {pool:.1} s; best static split {best:.1} s ({to_best:.2}); round robin {robin:.1} s ({to_robin:.1})"
    );
}
