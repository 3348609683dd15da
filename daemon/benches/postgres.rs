//! The cost of a queue that daemons share, with a PostgreSQL server that syncs.
//!
//! ```text
//! cargo bench -p foreman-daemon --features postgres --bench postgres          # submissions, beside pgbench
//! cargo bench -p foreman-daemon --features postgres --bench postgres -- take  # starts of jobs, with 1,000 and 1,000,000 queued
//! cargo bench -p foreman-daemon --features postgres --bench postgres -- fleet # jobs run to their end, by one daemon and by three
//! ```
//!
//! `fleet` prints how many jobs a second end at one daemon and at three, each on a runtime of its own, and the ratio of the two. A job takes
//! 20 ms and a daemon runs four at a time, so that the backends are the limit (200 jobs a second for each daemon) and not the database.
//! Wanted: a ratio of at least 1.5.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops if it fails"
)]

use std::time::Duration;

use foreman_client::api::{Api, BaseUrl, Transport};
use foreman_client::{BoxError, SubmitRequest};
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{ServiceExt as _, service_fn};

#[path = "../tests/it/postgres_server.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod postgres_server;

use self::postgres_server::PostgresServer;

/// How long each measurement runs.
const SPAN: Duration = Duration::from_secs(5);

/// How long a job of the fleet takes.
const RUN: Duration = Duration::from_millis(20);

/// A table with the columns and indexes of the queue, and without what a queue does.
const PLAIN: &str = "CREATE TABLE plain (LIKE jobs INCLUDING ALL)";

/// A row as a submission adds it.
const INSERT: &str = r#"INSERT INTO plain (id, owner, model, body, changed) VALUES (gen_random_uuid()::text,
    '\x00000000000000000000000000000000', 'm', '{"model":"m","messages":[{"role":"user","content":"Why is the sky blue?"}]}', 1)"#;

/// As a daemon starts a job of a new turn.
const TAKE: &str = "SELECT number FROM take_next((SELECT id FROM boxes LIMIT 1), NULL, NULL, 9223372036854775807, 50)";

/// As in the sessions of a daemon.
const SESSION: &str =
    "ALTER DATABASE postgres SET enable_seqscan = off; ALTER DATABASE postgres SET enable_bitmapscan = off;
    ALTER DATABASE postgres SET enable_sort = off; ALTER DATABASE postgres SET jit = off";

fn main() {
    let server = PostgresServer::start_with("").unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::args().skip(1).find(|argument| argument != "--bench").as_deref() {
        Some("take") => runtime.block_on(takes(&server)),
        Some("fleet") => runtime.block_on(fleet(&server)),
        _ => runtime.block_on(submissions(&server)),
    }
}

/// A daemon that leaves the queue alone: its only job never ends.
async fn daemon(url: &str) -> Daemon {
    let never = service_fn(|_: Chat| std::future::pending::<Result<ChatResponse, BoxError>>());
    Daemon::builder()
        .postgres(url)
        .backend(Backend::new(never))
        .max_queue(usize::MAX)
        .drain(Duration::ZERO)
        .lease(Duration::from_secs(3600))
        .start()
        .await
        .unwrap()
}

async fn submissions(server: &PostgresServer) {
    println!("{:>10} {:>14} {:>12} {:>8}", "submitters", "submissions/s", "pgbench 1/s", "ratio");
    for at_once in [16, 256] {
        let url = server.schema();
        let daemon = daemon(&url).await;
        let ours = rate(&daemon, at_once).await;
        daemon.shutdown().await;
        server.sql_in(&url, PLAIN);
        let clients = at_once.to_string();
        let seconds = SPAN.as_secs().to_string();
        let output = server.pgbench(&url, INSERT, &["-c", &clients, "-j", "2", "-T", &seconds]);
        let theirs = figure(&output, "tps = ");
        println!("{at_once:>10} {ours:>14.0} {theirs:>12.0} {:>8.2}", ours / theirs);
    }
}

/// Submissions per second.
async fn rate(daemon: &Daemon, at_once: usize) -> f64 {
    let base: BaseUrl = daemon.url().parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let until = Instant::now() + SPAN;
    let mut submitters = JoinSet::new();
    let started = Instant::now();
    for _ in 0..at_once {
        let api = api.clone();
        submitters.spawn(async move {
            let mut count = 0_u32;
            while Instant::now() < until {
                let request = SubmitRequest::builder("m").user("Why is the sky blue?").build().unwrap();
                api.clone().oneshot(request).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let total: u32 = submitters.join_all().await.into_iter().sum();
    f64::from(total) / started.elapsed().as_secs_f64()
}

async fn takes(server: &PostgresServer) {
    server.sql(SESSION);
    println!("{:>10} {:>12}", "queued", "ms a start");
    for queued in [1_000, 1_000_000] {
        let url = server.schema();
        let _daemon = daemon(&url).await;
        fill(server, &url, queued);
        let output = server.pgbench(&url, TAKE, &["-c", "1", "-t", "500"]);
        println!("{queued:>10} {:>12.3}", figure(&output, "latency average = "));
    }
}

/// Queues jobs of one token, of four models.
fn fill(server: &PostgresServer, url: &str, jobs: usize) {
    let fill = format!(
        r#"INSERT INTO owners (owner) VALUES ('\x00000000000000000000000000000000') ON CONFLICT DO NOTHING;
        INSERT INTO jobs (id, owner, model, body)
        SELECT gen_random_uuid()::text, '\x00000000000000000000000000000000', 'm' || n % 4, '{{"model":"m","messages":[]}}'
        FROM generate_series(1, {jobs}) AS n; ANALYZE jobs"#
    );
    server.sql_in(url, &fill);
}

async fn fleet(server: &PostgresServer) {
    println!("{:>10} {:>10} {:>8}", "daemons", "jobs/s", "ratio");
    let mut one = None;
    for daemons in [1, 3] {
        let url = server.schema();
        let members = join_all((0..daemons).map(|_| Member::start(&url))).await;
        // More than they can run in the time.
        fill(server, &url, 20_000);
        let ended = || server.sql_in(&url, "SELECT count(*) FROM jobs WHERE state = 'done'").parse::<f64>().unwrap();
        while ended() < 100.0 {}
        let (before, started) = (ended(), Instant::now());
        tokio::time::sleep(SPAN).await;
        let rate = (ended() - before) / started.elapsed().as_secs_f64();
        println!("{daemons:>10} {rate:>10.0} {:>8.2}", rate / *one.get_or_insert(rate));
        join_all(members.into_iter().map(Member::stop)).await;
    }
}

/// A daemon with a runtime of its own.
struct Member {
    runtime: Runtime,
    daemon: Daemon,
}

impl Member {
    async fn start(url: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let backend = service_fn(|_: Chat| async {
            tokio::time::sleep(RUN).await;
            Ok::<_, BoxError>(ChatResponse::from_value("ended")?)
        });
        let builder = Daemon::builder().postgres(url).backend(Backend::new(backend)).workers(4).drain(Duration::ZERO);
        let daemon = runtime.spawn(builder.start()).await.unwrap().unwrap();
        Self { runtime, daemon }
    }

    async fn stop(self) {
        self.daemon.shutdown().await;
        self.runtime.shutdown_background();
    }
}

/// The number after a word of the output.
fn figure(output: &str, word: &str) -> f64 {
    let rest = output.split_once(word).unwrap_or_else(|| panic!("{output}")).1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
