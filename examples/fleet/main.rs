//! Three daemons that share one queue in PostgreSQL. One is killed, and one is stopped cleanly, while jobs run at both.
//!
//! `cargo run --example fleet` starts a PostgreSQL server in a temporary folder (or uses the
//! database of `DATABASE_URL`), and three daemons as processes of this program. The client has
//! the addresses of all. When the daemon that it uses is gone, its waits go on at another one.
//! It prints what became of the jobs.
//!
//! Without an installation of PostgreSQL it does nothing, and fails if `CI` is set.

mod member;
#[path = "../../daemon/tests/it/postgres_server.rs"]
#[allow(dead_code, clippy::panic, clippy::unwrap_used, reason = "a helper of tests")]
mod postgres_server;

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::time::Duration;

use foreman_client::{BoxError, Client, SubmitRequest};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::member::{Member, SERVE, WORKERS, serve};
use self::postgres_server::PostgresServer;

const NAMES: [&str; 3] = ["box-1", "box-2", "box-3"];
const JOBS: usize = 180;

/// Bounds a hang. The example takes about ten seconds.
const LIMIT: Duration = Duration::from_secs(50);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(SERVE) {
        return serve(&arguments.next().ok_or("a daemon needs a name")?).await;
    }
    let server = match env::var("DATABASE_URL") {
        Ok(url) => (None, url),
        Err(_) => match PostgresServer::start() {
            Some(server) => {
                let url = server.schema();
                (Some(server), url)
            }
            // It has said so.
            None => return Ok(()),
        },
    };
    timeout(LIMIT, run(&server.1)).await?
}

async fn run(database: &str) -> Result<(), BoxError> {
    let mut members = Vec::new();
    for name in NAMES {
        members.push(Member::start(database, name).await?);
    }
    // It uses the first one until that one is killed.
    let client = Client::builder(&members[0].url);
    let client = client.other_addresses(members.iter().skip(1).map(|member| &member.url)).build().await?;
    let mut jobs = JoinSet::new();
    let mut submit = |range: std::ops::Range<usize>| {
        for job in range {
            let request = SubmitRequest::builder("m").user(job.to_string()).build()?;
            jobs.spawn(client.submit(request));
        }
        Ok::<_, BoxError>(())
    };

    submit(0..JOBS / 3)?;
    for member in &mut members {
        member.begins(10).await?;
    }
    // In the middle of a job.
    let killed = members.remove(0);
    println!("{} is killed after {} executions", NAMES[0], killed.executions());
    let mut executions = killed.kill().await?;

    submit(JOBS / 3..2 * JOBS / 3)?;
    members[0].begins(10).await?;
    println!("{} stops after {} executions", NAMES[1], members[0].executions());
    executions += members.remove(0).stop().await?;

    submit(2 * JOBS / 3..JOBS)?;
    let (mut ids, mut attempts, mut share) = (HashSet::new(), 0, BTreeMap::<String, usize>::new());
    while let Some(result) = jobs.join_next().await {
        let result = result??.into_success()?;
        assert!(ids.insert(result.job_id().clone()), "two submissions have one job");
        attempts += usize::try_from(result.attempt())?;
        *share.entry(result.deserialize()?).or_default() += 1;
    }
    executions += members.remove(0).stop().await?;

    for name in NAMES {
        println!("{name}: {} results", share.get(name).copied().unwrap_or_default());
    }
    println!("{JOBS} jobs, {} results, {executions} executions, {attempts} attempts", ids.len());
    // Each job has one result. Only what ran at the killed daemon ran twice.
    assert_eq!(ids.len(), JOBS);
    assert!((JOBS..=JOBS + WORKERS).contains(&executions), "{executions} executions");
    // The killed daemon may have stored the start of an attempt that it did not get to run.
    assert!((executions..=JOBS + WORKERS).contains(&attempts), "{attempts} attempts");
    // The last daemon ran on alone.
    assert!(NAMES.iter().skip(1).all(|name| share.contains_key(*name)), "{share:?}");
    Ok(())
}
