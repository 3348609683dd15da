use std::io;
use std::time::Duration;

use tokio::time::sleep;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::bounded;
use crate::logging::{self, LogFormat};

/// The number of lines that wait for a slow reader of stderr. More are dropped.
const MAX_LINES: usize = 10_000;

/// The pause between two reports of dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The log of the daemon on stderr.
///
/// A thread of its own writes the lines. A write to stderr blocks while the pipe is full, for example because its reader was
/// suspended; on the threads of the runtime, it would stop the daemon. Dropping the log writes the rest of the lines, in bounded time.
pub(super) struct DaemonLog {
    /// Writes the rest of the lines when it is dropped.
    worker: Option<WorkerGuard>,
    dropped: ErrorCounter,
    /// The number of dropped lines that the last report contained.
    reported: usize,
}

impl DaemonLog {
    /// Logs to stderr from now on.
    pub(super) fn start(format: LogFormat) -> Self {
        let (writer, log) = Self::new(io::stderr(), MAX_LINES);
        logging::init_daemon(format, writer);
        log
    }

    fn new(writer: impl io::Write + Send + 'static, max_lines: usize) -> (NonBlocking, Self) {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(max_lines).thread_name("log");
        let (writer, worker) = builder.finish(writer);
        let dropped = writer.error_counter();
        (writer, Self { worker: Some(worker), dropped, reported: 0 })
    }

    /// Reports dropped lines now and then. Never completes.
    pub(super) async fn report_dropped_lines(&mut self) {
        loop {
            sleep(REPORT_INTERVAL).await;
            self.report();
        }
    }

    fn report(&mut self) {
        if let Some(dropped) = self.newly_dropped() {
            tracing::warn!(total = dropped, "log lines dropped because stderr is read too slowly");
        }
    }

    /// The number of lines dropped so far, if it has changed since the last call. A report may be dropped itself, which changes the
    /// number, so that there is another one.
    fn newly_dropped(&mut self) -> Option<usize> {
        let dropped = self.dropped.dropped_lines();
        (std::mem::replace(&mut self.reported, dropped) != dropped).then_some(dropped)
    }
}

impl Drop for DaemonLog {
    fn drop(&mut self) {
        self.report();
        if let Some(worker) = self.worker.take() {
            // The guard waits up to a second for the writes, but prints to stdout, which may block too, if the queue is full.
            bounded::run(move || drop(worker));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use super::*;

    /// A writer that blocks until the sender is dropped.
    struct Blocked(mpsc::Receiver<()>);

    impl io::Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn dropped_lines_are_counted_and_drop_does_not_block() {
        let (_unblock, blocked) = mpsc::channel();
        let (mut writer, mut log) = DaemonLog::new(Blocked(blocked), 1);
        assert_eq!(log.newly_dropped(), None);
        // One is being written and one waits, at most.
        for _ in 0..3 {
            writer.write_all(b"line\n").unwrap();
        }
        let dropped = log.newly_dropped().unwrap();
        assert!((1..=2).contains(&dropped), "{dropped}");
        assert_eq!(log.newly_dropped(), None);
        for _ in 0..3 {
            writer.write_all(b"line\n").unwrap();
        }
        assert!(log.newly_dropped().unwrap() > dropped);
        drop(log);
    }
}
