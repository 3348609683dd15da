//! What must hold in the end.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::load::{Accepted, Http};
use super::prompt::answer;
use super::world::World;

/// How long jobs and events may take after the last fault. The pauses of a circuit breaker are shorter.
const PATIENCE: Duration = Duration::from_secs(60);

/// The failures of one promise.
#[derive(Debug)]
pub(crate) struct Check {
    what: &'static str,
    checked: usize,
    failures: Vec<String>,
}

impl Check {
    pub(crate) fn new(what: &'static str, checked: usize, failures: Vec<String>) -> Self {
        Self { what, checked, failures }
    }

    /// Prints a row of the table, and returns whether the promise holds. A check of nothing is a failure.
    pub(crate) fn print(&self) -> bool {
        let holds = self.failures.is_empty() && self.checked > 0;
        let verdict = if holds { "holds" } else { "BROKEN" };
        println!("| {} | {} | {} | {verdict} |", self.what, self.checked, self.failures.len());
        holds
    }

    pub(crate) fn print_failures(&self) {
        for failure in self.failures.iter().take(10) {
            println!("{}: {failure}", self.what);
        }
    }
}

/// Checks everything that a client can see.
pub(crate) async fn check(world: &World) -> Vec<Check> {
    let load = &world.load;
    let accepted = load.accepted.lock().unwrap().clone();
    let http = Http::new(&world.daemon.url());
    let until = Instant::now() + PATIENCE;
    let (mut states, mut results, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut events, mut with_receiver, mut different) = (Vec::new(), 0, Vec::new());
    for job in &accepted {
        let Some(status) = ended(&http, job, until).await else {
            states.push(format!("{} of {} is lost or has not ended", job.id, job.key));
            continue;
        };
        if status["state"] != "done" {
            states.push(format!("{} of {} is {}: {}", job.id, job.key, status["state"], status["error"]));
            continue;
        }
        if !is_answer(job, &status) {
            results.push(format!("{} of {} has another result", job.id, job.key));
        }
        let (attempts, received) = (status["attempt"].as_u64().unwrap_or_default(), world.backend.runs(&job.prompt));
        if received > attempts {
            runs.push(format!("{}: {attempts} attempts, {received} times at the backend", job.key));
        }
        let Some(receiver) = job.receiver.map(|receiver| &world.receivers[receiver]) else { continue };
        if job.receiver != Some(0) {
            with_receiver += 1;
            while receiver.ends(&job.id).is_empty() && Instant::now() < until {
                sleep(Duration::from_millis(20)).await;
            }
            if receiver.ends(&job.id).is_empty() {
                events.push(format!("{} of {} got no terminal event", job.id, job.key));
            }
        }
        // Also for the receiver that dies: what it got is true.
        if receiver.ends(&job.id).iter().any(|event| *event != status) {
            different.push(format!("{} of {}: {:?} is not {status}", job.id, job.key, receiver.ends(&job.id)));
        }
    }
    let received = world.receivers.iter().map(|receiver| receiver.events()).sum::<u64>();
    let unsigned = world.receivers.iter().map(|receiver| receiver.bad_signatures()).sum::<u64>();
    let unsigned = (0..unsigned).map(|_| "an invalid signature".to_owned()).collect();
    let count = accepted.len();
    let (again, repeated) = submit_again(&http, world, &accepted).await;
    vec![
        Check::new("each accepted job ended as done", count, states),
        Check::new("each has the result of its own prompt", count, results),
        Check::new("the backend got each as often as it was attempted, or less", count, runs),
        Check::new("each webhook of a living receiver got its terminal event", with_receiver, events),
        Check::new("terminal events agree with the stored end", with_receiver, different),
        Check::new("webhooks are signed", usize::try_from(received).unwrap_or_default(), unsigned),
        Check::new("the same key returns the same job", again, repeated),
        Check::new("nothing unexpected on the way", count, load.broken.lock().unwrap().clone()),
    ]
}

/// Checks the file after the daemon has stopped.
pub(crate) fn check_store(store: &Path, accepted: &[Accepted]) -> Check {
    let mut failures = Vec::new();
    let ids: HashSet<_> = accepted.iter().map(|job| &job.id).collect();
    if ids.len() != accepted.len() {
        failures.push(format!("{} keys have {} jobs", accepted.len(), ids.len()));
    }
    let connection = Connection::open(store).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if sound != "ok" {
        failures.push(sound);
    }
    let mut rows = connection.prepare("SELECT id, state FROM jobs").unwrap();
    let stored = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let stored: Vec<_> = stored.map(Result::unwrap).collect();
    for (id, state) in &stored {
        if !ids.contains(id) || state != "done" {
            failures.push(format!("{id}: {state}, accepted: {}", ids.contains(id)));
        }
    }
    if stored.len() != ids.len() {
        failures.push(format!("{} jobs are stored, {} were accepted", stored.len(), ids.len()));
    }
    Check::new("the store has these jobs and no other, each done", stored.len(), failures)
}

/// Waits for the end of a job. `None` if there is no such job, or if it does not end.
async fn ended(http: &Http, job: &Accepted, until: Instant) -> Option<Value> {
    loop {
        let response = http.job(job.token, &job.id).await;
        if let Some((status, _, body)) = response {
            if status == http::StatusCode::NOT_FOUND {
                return None;
            }
            if matches!(body["state"].as_str(), Some("done" | "failed")) {
                return Some(body);
            }
        }
        if Instant::now() > until {
            return None;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_answer(job: &Accepted, status: &Value) -> bool {
    status["result"]["message"]["content"].as_str() == Some(&*answer(&job.prompt))
}

/// Submits each key again. Returns how many, and what went wrong.
async fn submit_again(http: &Http, world: &World, accepted: &[Accepted]) -> (usize, Vec<String>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for job in accepted {
        let Some(body) = &job.body else { continue };
        count += 1;
        let id = world.load.submit(http, job.token, &job.key, body).await;
        if id.as_deref() != Some(&*job.id) {
            failures.push(format!("{}: {} and then {id:?}", job.key, job.id));
        }
    }
    (count, failures)
}
