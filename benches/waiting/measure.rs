//! One measurement, in a process of its own, so that it does not reuse the memory of another one.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use foreman_client::{BoxError, Client, SubmitRequest};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::support::SECRET;
use super::support::floor::Floor;
use super::support::process::{DaemonOptions, DaemonProcess, cpu_time, pin, resident};
use super::support::rounds::median;

pub(super) const ARGUMENT: &str = "--measure";

/// How many submissions are under way at once, and how many jobs the warm-up has. Few, so that their memory, which the jobs use again,
/// is little.
const SUBMITTING: usize = 32;

/// The least number of finished jobs that processor time is measured over.
const FINISHED: usize = 20_000;

/// Without its event, a job among very many waits long for a poll.
const FINISH_LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Floor,
    Webhooks,
    Polling,
    /// Submits jobs and drops the waits. Measures after `few` and after all.
    Cycles {
        few: usize,
    },
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Resident bytes of each job, or of the process.
    pub(super) resident: f64,
    /// The same, after the first cycles.
    pub(super) before: f64,
    /// Processor time of this process to finish a job.
    pub(super) micros: f64,
}

impl Measured {
    pub(super) fn median(runs: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| median(runs.iter().map(value).collect());
        Self { resident: of(|run| run.resident), before: of(|run| run.before), micros: of(|run| run.micros) }
    }
}

pub(super) fn measure_in_child(kind: Kind, jobs: usize) -> Result<Measured, BoxError> {
    let (name, few) = match kind {
        Kind::Floor => ("floor", 0),
        Kind::Webhooks => ("webhooks", 0),
        Kind::Polling => ("polling", 0),
        Kind::Cycles { few } => ("cycles", few),
    };
    let output = Command::new(std::env::current_exe()?)
        .args([ARGUMENT, name, &jobs.to_string(), &few.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the measurement of {name}, {jobs} jobs, failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub(super) fn child(arguments: &[String]) -> Result<(), BoxError> {
    let [name, jobs, few, ..] = arguments else { return Err("usage: --measure KIND JOBS FEW".into()) };
    let (jobs, few) = (jobs.parse()?, few.parse()?);
    pin(0);
    let daemon = DaemonProcess::start(DaemonOptions::held())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        match name.as_str() {
            "floor" => waits(&Starter::Floor(Floor::start(daemon.url()).await?), daemon, jobs, true).await,
            "webhooks" => {
                let client = Client::builder(daemon.url()).webhook_secret(SECRET).build().await?;
                waits(&Starter::Client(Box::new(client)), daemon, jobs, true).await
            }
            "polling" => {
                let client = Client::builder(daemon.url()).polling().build().await?;
                waits(&Starter::Client(Box::new(client)), daemon, jobs, false).await
            }
            "cycles" => {
                let client = Client::builder(daemon.url()).webhook_secret(SECRET).build().await?;
                cycles(&client, jobs, few).await
            }
            other => Err(format!("no such kind: {other}").into()),
        }
    })?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

enum Starter {
    Floor(Floor),
    Client(Box<Client>),
}

/// The jobs that have finished.
#[derive(Default)]
struct Finished {
    count: AtomicUsize,
    notify: Notify,
}

impl Finished {
    fn add(&self) {
        self.count.fetch_add(1, Relaxed);
        self.notify.notify_one();
    }

    async fn wait_for(&self, count: usize) -> Result<(), BoxError> {
        let all = async {
            while self.count.load(Relaxed) < count {
                self.notify.notified().await;
            }
        };
        let ended = timeout(FINISH_LIMIT, all).await;
        ended.map_err(|_| format!("{} of {count} jobs finished in time", self.count.load(Relaxed)).into())
    }
}

impl Starter {
    /// Starts `jobs` jobs, each in a task of its own, and waits until the daemon has accepted them.
    async fn start(&self, jobs: usize, finished: &Arc<Finished>) -> Result<(), BoxError> {
        match self {
            Self::Floor(floor) => {
                for started in 0..jobs {
                    let (floor_of_job, finished) = (floor.clone(), Arc::clone(finished));
                    tokio::spawn(async move {
                        floor_of_job.job().await.expect("a job of the floor finishes");
                        finished.add();
                    });
                    if started >= SUBMITTING {
                        floor.accepted().await;
                    }
                }
                for _ in 0..SUBMITTING.min(jobs) {
                    floor.accepted().await;
                }
            }
            Self::Client(client) => {
                let mut submitting = VecDeque::with_capacity(SUBMITTING);
                for _ in 0..jobs {
                    if submitting.len() == SUBMITTING
                        && let Some(first) = submitting.pop_front()
                    {
                        accepted(first).await?;
                    }
                    let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
                    submitting.push_back(request.submission());
                    let finished = Arc::clone(finished);
                    tokio::spawn(client.jobs().oneshot(request).map(move |result| {
                        result.expect("a job of the client finishes");
                        finished.add();
                    }));
                }
                for submission in submitting {
                    accepted(submission).await?;
                }
            }
        }
        Ok(())
    }
}

async fn accepted(submission: foreman_client::Submission) -> Result<(), BoxError> {
    submission.accepted().await?;
    Ok(())
}

/// The memory of `jobs` waiting jobs, and with `finish` the processor time to finish each.
async fn waits(starter: &Starter, mut daemon: DaemonProcess, jobs: usize, finish: bool) -> Result<Measured, BoxError> {
    let finished = Arc::<Finished>::default();
    // Opens the connections in both directions.
    starter.start(SUBMITTING, &finished).await?;
    daemon.finish()?;
    finished.wait_for(SUBMITTING).await?;
    let mut expected = SUBMITTING;
    let mut measured = Measured::default();
    let mut cpu = Duration::ZERO;
    let before = resident();
    let rounds = if finish { (FINISHED / jobs).max(1) } else { 1 };
    for round in 0..rounds {
        starter.start(jobs, &finished).await?;
        if round == 0 {
            // The last responses are read, and their buffers freed.
            sleep(Duration::from_millis(200)).await;
            measured.resident = resident().saturating_sub(before) as f64 / jobs as f64;
        }
        if finish {
            expected += jobs;
            let start = cpu_time();
            daemon.finish()?;
            finished.wait_for(expected).await?;
            cpu += cpu_time() - start;
        }
    }
    if let Starter::Client(client) = starter
        && finish
    {
        let waits = client.stats().waits;
        if waits.finished_by_poll * 100 > waits.finished_by_webhook {
            eprintln!("{} of {expected} jobs finished by poll", waits.finished_by_poll);
        }
    }
    measured.micros = cpu.as_secs_f64() * 1e6 / (jobs * rounds) as f64;
    Ok(measured)
}

/// Submits `jobs` jobs and drops each wait once the daemon has accepted the job.
async fn cycles(client: &Client, jobs: usize, few: usize) -> Result<Measured, BoxError> {
    let mut measured = Measured::default();
    let mut waiting: VecDeque<(foreman_client::Submission, JoinHandle<_>)> = VecDeque::with_capacity(SUBMITTING);
    for started in 0..jobs {
        if started == few {
            measured.before = resident() as f64;
        }
        if waiting.len() == SUBMITTING
            && let Some((submission, task)) = waiting.pop_front()
        {
            accepted(submission).await?;
            task.abort();
        }
        let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
        waiting.push_back((request.submission(), tokio::spawn(client.jobs().oneshot(request))));
    }
    for (submission, task) in waiting {
        accepted(submission).await?;
        task.abort();
    }
    sleep(Duration::from_millis(200)).await;
    measured.resident = resident() as f64;
    Ok(measured)
}
