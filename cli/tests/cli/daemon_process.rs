use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::support::foreman;
#[cfg(unix)]
use crate::support::send_signal;

/// `foreman serve` as a child process.
pub(crate) struct DaemonProcess {
    pub(crate) child: Child,
    pub(crate) url: String,
    _stdout: Lines<BufReader<ChildStdout>>,
    /// The log, if the command did not redirect it.
    stderr: Option<BufReader<ChildStderr>>,
}

impl DaemonProcess {
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::spawn(foreman(&[&["serve", "--listen", "127.0.0.1:0"], args].concat())).await
    }

    pub(crate) async fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = stdout.next_line().await.unwrap().expect("a first line");
        let url = first.strip_prefix("listening on ").unwrap().to_owned();
        let stderr = child.stderr.take().map(BufReader::new);
        Self { child, url, _stdout: stdout, stderr }
    }

    /// The address in the URL.
    pub(crate) fn authority(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn foreman(&self, args: &[&str]) -> Command {
        let mut command = foreman(args);
        command.env("FOREMAN_URL", &self.url);
        command
    }

    /// The next line of the log that contains a text.
    #[cfg(unix)]
    pub(crate) async fn log_line(&mut self, text: &str) -> String {
        let stderr = self.stderr.as_mut().unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).await.unwrap(), 0, "{text:?} is not logged");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Stops the daemon by SIGTERM, and returns its exit status and log.
    #[cfg(unix)]
    pub(crate) async fn stop(mut self) -> (Option<i32>, String) {
        send_signal(&self.child, nix::sys::signal::Signal::SIGTERM);
        let mut log = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            stderr.read_to_string(&mut log).await.unwrap();
        }
        (self.child.wait().await.unwrap().code(), log)
    }
}
