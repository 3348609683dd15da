use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use foreman_client::BoxError;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The order to the daemon to end all jobs that are held.
const FINISH: &str = "finish";

/// What the daemon does with a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DaemonOptions {
    /// The duration of a job in milliseconds.
    pub(crate) millis: u64,
    /// The event of the end comes before the response to the submission.
    pub(crate) event_first: bool,
    /// How many jobs run at the same time.
    pub(crate) workers: usize,
    /// A job lasts until [`DaemonProcess::finish`].
    pub(crate) held: bool,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self { millis: 0, event_first: false, workers: Self::UNLIMITED, held: false }
    }
}

impl DaemonOptions {
    /// All jobs run at once.
    pub(crate) const UNLIMITED: usize = 1 << 40;

    pub(crate) fn held() -> Self {
        Self { held: true, ..Self::default() }
    }

    pub(crate) fn work(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    fn arguments(self) -> [String; 4] {
        [self.millis.to_string(), self.event_first.to_string(), self.workers.to_string(), self.held.to_string()]
    }

    pub(super) fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut next = || arguments.next().ok_or("an option is missing");
        Ok(Self {
            millis: next()?.parse()?,
            event_first: next()?.parse()?,
            workers: next()?.parse()?,
            held: next()?.parse()?,
        })
    }
}

/// The daemon, which is this program as a process of its own. It ends when its standard input closes.
pub(crate) struct DaemonProcess {
    child: Child,
    orders: ChildStdin,
    url: String,
}

impl DaemonProcess {
    pub(crate) const ARGUMENT: &str = "--daemon";

    pub(crate) fn start(options: DaemonOptions) -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(Self::ARGUMENT)
            .args(options.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        Ok(Self { child, orders, url: url.trim_end().to_owned() })
    }

    /// Whether this process is to be the daemon.
    pub(crate) fn is_this() -> bool {
        std::env::args().nth(1).as_deref() == Some(Self::ARGUMENT)
    }

    /// Ends all jobs that the daemon holds.
    pub(crate) fn finish(&mut self) -> Result<(), BoxError> {
        writeln!(self.orders, "{FINISH}")?;
        Ok(self.orders.flush()?)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The orders that the parent process gives the daemon by [`DaemonProcess::finish`]. The daemon ends with its parent.
pub(crate) fn finish_orders() -> UnboundedReceiver<()> {
    let (order, orders) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if line == FINISH && order.send(()).is_err() {
                break;
            }
        }
        // The parent has gone if its end of the pipe is closed.
        std::process::exit(0);
    });
    orders
}

/// Runs this thread, and those that it starts, on one processor. Without permission, or on a machine with one, nothing changes.
pub(crate) fn pin(processor: usize) {
    let mut processors = CpuSet::new();
    processors.set(processor);
    let _ = sched_setaffinity(None, &processors);
}

/// The processor time of this process.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The resident memory of this process in bytes, by `/proc`. 0 on other systems.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
