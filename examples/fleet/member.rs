//! A daemon of the fleet, as a process of this program.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use foreman_client::BoxError;
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tower::service_fn;

/// The argument that makes this program a daemon.
pub(crate) const SERVE: &str = "--serve";

/// How many jobs a daemon runs at a time.
pub(crate) const WORKERS: usize = 2;

/// How long the jobs of the killed daemon wait until they run again.
const LEASE: Duration = Duration::from_secs(4);

/// Serves until its standard input is closed, and then finishes the jobs that run. Prints its URL, and a line for each execution.
pub(crate) async fn serve(name: &str) -> Result<(), BoxError> {
    let result = name.to_owned();
    let backend = service_fn(move |_: Chat| {
        let result = result.clone();
        async move {
            println!("an execution begins");
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok::<_, BoxError>(ChatResponse::from_value(&result)?)
        }
    });
    let builder = Daemon::builder().postgres(env::var("DATABASE_URL")?).name(name).lease(LEASE);
    let daemon = builder.backend(Backend::new(backend)).workers(WORKERS).start().await?;
    println!("{}", daemon.url());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    daemon.shutdown().await;
    Ok(())
}

pub(crate) struct Member {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    executions: usize,
    pub(crate) url: String,
}

impl Member {
    pub(crate) async fn start(database: &str, name: &str) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        command.args([SERVE, name]).env("DATABASE_URL", database);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let url = lines.next_line().await?.ok_or("the daemon did not start")?;
        Ok(Self { child, lines, executions: 0, url })
    }

    pub(crate) fn executions(&self) -> usize {
        self.executions
    }

    /// Waits until so many more executions have begun.
    pub(crate) async fn begins(&mut self, more: usize) -> Result<(), BoxError> {
        for _ in 0..more {
            self.lines.next_line().await?.ok_or("the daemon has ended")?;
            self.executions += 1;
        }
        Ok(())
    }

    /// Kills the process. Returns how many executions it began.
    pub(crate) async fn kill(mut self) -> Result<usize, BoxError> {
        self.child.start_kill()?;
        self.end().await
    }

    /// Stops the daemon cleanly. Returns how many executions it began.
    pub(crate) async fn stop(mut self) -> Result<usize, BoxError> {
        drop(self.child.stdin.take());
        self.end().await
    }

    async fn end(mut self) -> Result<usize, BoxError> {
        while self.lines.next_line().await?.is_some() {
            self.executions += 1;
        }
        self.child.wait().await?;
        Ok(self.executions)
    }
}
