use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The maximum time of one write at the end of the daemon.
const LIMIT: Duration = Duration::from_secs(2);

/// Runs a function that may block, such as a write to a full pipe, on a thread of its own, and waits for it for 2 seconds.
pub(crate) fn run(function: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel::<()>();
    let thread = thread::Builder::new().spawn(move || {
        function();
        drop(done);
    });
    if thread.is_ok() {
        // An error also if the function has ended: nothing is sent.
        _ = wait.recv_timeout(LIMIT);
    }
}
