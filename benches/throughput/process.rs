use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use foreman_client::BoxError;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The daemon, which is this program as a process of its own. It ends when its standard input closes.
pub(crate) struct DaemonProcess {
    child: Child,
    url: String,
}

impl DaemonProcess {
    pub(crate) const ARGUMENT: &str = "--daemon";

    pub(crate) fn start(millis: u64, event_first: bool) -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([Self::ARGUMENT, &millis.to_string(), &event_first.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        Ok(Self { child, url: url.trim_end().to_owned() })
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
