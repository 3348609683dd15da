use foreman_client::api::GetJob;
use foreman_client::{BoxError, Client, SubmitRequest};
use stats_alloc::Region;
use tower::ServiceExt as _;

use super::ALLOCATOR;
use super::support::SECRET;
use super::support::events::Events;
use super::support::process::{DaemonOptions, DaemonProcess};

pub(super) const ARGUMENT: &str = "--work";

/// Operations before the counted ones. They open the connections.
const WARM_UP: usize = 100;
const COUNTED: usize = 1_000;
const EVENT_BYTES: usize = 1 << 10;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Work {
    /// A whole job: submission, event, result.
    Job,
    /// An event through the receiver.
    Event,
    /// A poll by the default transport.
    Poll,
}

/// A run of this program under callgrind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) work: Work,
    count: usize,
    /// Without it, events are prepared and not received.
    receive: bool,
}

impl Work {
    pub(super) const ALL: [Self; 3] = [Self::Job, Self::Event, Self::Poll];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Job => "a job by webhook",
            Self::Event => "an event",
            Self::Poll => "a poll",
        }
    }

    pub(super) fn daemon(self) -> DaemonOptions {
        match self {
            Self::Job | Self::Event => DaemonOptions::default(),
            Self::Poll => DaemonOptions::held(),
        }
    }

    /// Two runs that differ by a number of operations.
    pub(super) fn runs(self) -> (Run, Run, f64) {
        let less = Run { work: self, count: WARM_UP, receive: true };
        let more = Run { count: WARM_UP + COUNTED, ..less };
        match self {
            Self::Job | Self::Poll => (less, more, COUNTED as f64),
            Self::Event => (Run { receive: false, ..more }, more, more.count as f64),
        }
    }

    /// The allocations of one operation, with those that only grow a buffer.
    pub(super) fn allocations(self) -> Result<f64, BoxError> {
        let daemon = DaemonProcess::start(self.daemon())?;
        let run = |count| Run { work: self, count, receive: true };
        runtime()?.block_on(async {
            let bench = Bench::new(daemon.url()).await?;
            bench.run(run(WARM_UP)).await?;
            let change = bench.run(run(COUNTED)).await?;
            Ok(change as f64 / COUNTED as f64)
        })
    }
}

impl Run {
    pub(super) fn arguments(self, url: &str) -> [String; 4] {
        [self.work.name().to_owned(), self.count.to_string(), self.receive.to_string(), url.to_owned()]
    }
}

/// The part of the program that callgrind runs.
pub(super) fn run_alone(arguments: &[String]) -> Result<(), BoxError> {
    let [name, count, receive, url, ..] = arguments else { return Err("usage: --work NAME COUNT RECEIVE URL".into()) };
    let work = Work::ALL.into_iter().find(|work| work.name() == name).ok_or("no such work")?;
    let run = Run { work, count: count.parse()?, receive: receive.parse()? };
    runtime()?.block_on(async {
        Bench::new(url).await?.run(run).await?;
        Ok(())
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

struct Bench {
    client: Client,
    events: Events,
}

impl Bench {
    async fn new(url: &str) -> Result<Self, BoxError> {
        let client = Client::builder(url).webhook_secret(SECRET).build().await?;
        Ok(Self { client, events: Events::new().await? })
    }

    /// Does the work, and returns its allocations.
    async fn run(&self, run: Run) -> Result<usize, BoxError> {
        let prepared = match run.work {
            Work::Event => Some(self.events.prepare(EVENT_BYTES, run.count)?),
            Work::Job | Work::Poll => None,
        };
        let job_id = match run.work {
            Work::Poll => Some(self.client.api().oneshot(request()?).await?.job_id),
            Work::Job | Work::Event => None,
        };
        let region = Region::new(ALLOCATOR);
        if let (Some((requests, _waits)), true) = (prepared, run.receive) {
            for request in requests {
                self.events.receive(request, 204);
            }
        } else if let Some(job_id) = job_id {
            for _ in 0..run.count {
                self.client.api().oneshot(GetJob::new(job_id.clone())).await?;
            }
        } else if run.work == Work::Job {
            for _ in 0..run.count {
                self.client.submit(request()?).await?.into_success()?;
            }
        }
        let change = region.change();
        Ok(change.allocations + change.reallocations)
    }
}

fn request() -> Result<SubmitRequest, foreman_client::Error> {
    SubmitRequest::builder("m").user("Why is the sky blue?").build()
}
