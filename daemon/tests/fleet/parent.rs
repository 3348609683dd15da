//! The process that disturbs the fleet and checks its jobs.

use std::sync::Arc;
use std::time::Duration;

use foreman_client::JobStatus;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::killed::{Hooks, Received, start, status, submit};
use super::load::Load;
use super::postgres_server::PostgresServer;

const DAEMONS: usize = 3;

/// Bounds a hang.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A daemon of the fleet, and how often it was started.
struct Member {
    child: Child,
    starts: usize,
}

pub(crate) async fn rounds() {
    let Some(server) = PostgresServer::start() else { return };
    let read = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (count, seed) = (read("FLEET_ROUNDS").unwrap_or(10), read("FLEET_SEED").unwrap_or_else(|| fastrand::u64(..)));
    println!("{count} rounds, FLEET_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let url = server.schema();
    let (hooks, hook) = Hooks::start("127.0.0.1", end).await;
    let load = Arc::new(Load::default());
    let mut fleet = Vec::new();
    for index in 0..DAEMONS {
        let (child, address) = start([url.as_ref(), format!("box-{index}-0").as_ref()]).await;
        load.urls.lock().unwrap().push(address);
        fleet.push(Member { child, starts: 0 });
    }
    let submitters = load.start(&hook);
    let mut faults = [0; 3];
    for round in 0..count {
        load.more(random.usize(1..100)).await;
        let (index, fault) = (random.usize(..DAEMONS), usize::try_from(round % 3).unwrap());
        faults[fault] += 1;
        let disturbed = async {
            match fault {
                0 => replace(&mut fleet[index], &load, &url, index).await,
                1 => freeze(&fleet[index], &server, &url, index).await,
                _ => {
                    server.stop();
                    server.up();
                }
            }
            // The fleet serves.
            load.more(20).await;
        };
        timeout(TIMEOUT, disturbed).await.unwrap_or_else(|_| panic!("round {round}: the fleet serves no more"));
        hooks.look(has_one_end);
    }
    drop(submitters);

    let jobs = load.jobs.lock().unwrap().clone();
    let address = load.urls.lock().unwrap()[0].clone();
    let mut repeated = 0;
    for (key, job) in &jobs {
        let end_of_job = |received: &Received| {
            received.get(job).and_then(|ends| ends.iter().next().cloned()).ok_or_else(|| format!("no end of {job}"))
        };
        let told = hooks.wait(end_of_job).await;
        let stored = status(&address, job).await;
        assert_eq!(Some(&told), end(&stored).as_ref(), "{job}: another end is stored than was sent");
        let attempt = stored.attempt.to_string();
        assert_eq!(told, format!("done {attempt} {attempt}"), "{job}");
        repeated += u64::from(stored.attempt > 1);
        let again = submit(&address, &hook, key).await.unwrap().1;
        assert_eq!(again, *job, "key {key} returns another job");
    }
    hooks.look(has_one_end);
    for member in &mut fleet {
        member.child.kill().await.unwrap();
    }
    let refused = *load.refused.lock().unwrap();
    println!(
        "{} kills, {} freezes, {} restarts of the database; {} jobs, none lost, one end each; {repeated} of them ran again; {refused} submissions repeated",
        faults[0],
        faults[1],
        faults[2],
        jobs.len()
    );
    assert!(count < 10 || repeated > 0, "no fault has interrupted a job: the test has shown nothing");
}

/// Kills a daemon, and starts another one in its place.
async fn replace(member: &mut Member, load: &Load, url: &str, index: usize) {
    member.child.kill().await.unwrap();
    member.starts += 1;
    let (child, address) = start([url.as_ref(), format!("box-{index}-{}", member.starts).as_ref()]).await;
    member.child = child;
    load.urls.lock().unwrap()[index] = address;
}

/// Freezes a daemon until the others have ended its lease.
async fn freeze(member: &Member, server: &PostgresServer, url: &str, index: usize) {
    let pid = member.child.id().unwrap().to_string();
    let name = format!("box-{index}-{}", member.starts);
    let lease = format!("SELECT id FROM boxes WHERE name = '{name}'");
    // A daemon may have lost its lease by an earlier fault and not have one yet.
    let before = eventually(|| Some(server.sql_in(url, &lease)).filter(|id| !id.is_empty())).await;
    signal("-STOP", &pid).await;
    eventually(|| (server.sql_in(url, &lease) != before).then_some(())).await;
    signal("-CONT", &pid).await;
}

async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = tokio::task::block_in_place(&mut look) {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

async fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().await.unwrap().success());
}

/// The state, the attempt and the result of a job that has ended. The result is the number of the attempt.
fn end(status: &JobStatus) -> Option<String> {
    let result = status.result.as_ref().map_or("", |result| result.get());
    status.state.is_terminal().then(|| format!("{} {} {result}", status.state, status.attempt))
}

/// Fails if a job has several ends.
fn has_one_end(received: &Received) {
    for (job, ends) in received {
        assert_eq!(ends.len(), 1, "{job} has several ends: {ends:?}");
    }
}
