use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::eventually::bounded;
use super::killed::SERVE;
use super::network::Side;
use super::raw::{RawResponse, read, request, send};

/// A daemon in one of the networks.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// The lines that were read.
    seen: Vec<String>,
    address: SocketAddr,
}

impl Member {
    pub(crate) async fn start(side: &Side, url: &str, name: &str) -> Self {
        let program = std::env::current_exe().unwrap().display().to_string();
        let mut child = Command::from(side.command(&program))
            .args([SERVE, url, name, side.address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (commands, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut lines = BufReader::new(stdout).lines();
        let address = bounded(lines.next_line()).await.unwrap();
        let address = address.unwrap_or_else(|| panic!("{name} did not start")).parse().unwrap();
        Self { child, commands, lines, seen: Vec::new(), address }
    }

    /// Waits until the daemon has printed a line.
    pub(crate) async fn has(&mut self, line: &str) {
        self.until(line, |seen| seen.iter().any(|seen| seen == line)).await;
    }

    /// Waits until the attempts of so many jobs have begun. Returns the jobs.
    pub(crate) async fn has_begun(&mut self, jobs: usize) -> Vec<String> {
        self.until("attempts", |seen| begun(seen).len() >= jobs).await;
        begun(&self.seen)
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        while !is_so(&self.seen) {
            let line = bounded(self.lines.next_line()).await.unwrap();
            self.seen.push(line.unwrap_or_else(|| panic!("the daemon ended before {what}: {:?}", self.seen)));
        }
    }

    /// Lets the attempts of a job end.
    pub(crate) async fn end(&mut self, job: &str) {
        self.commands.write_all(format!("{job}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn exchange(&self, method: &str, path: &str, headers: &[&str], body: &str) -> RawResponse {
        let exchanged = async { read(send(self.address, request(method, path, headers, body)).await).await };
        bounded(exchanged).await
    }

    pub(crate) async fn get(&self, path: &str) -> RawResponse {
        self.exchange("GET", path, &[], "").await
    }

    /// Submits a job with an idempotency key.
    pub(crate) async fn submit(&self, hook: &str, key: &str) -> RawResponse {
        let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{hook}"}}"#);
        let headers = ["Content-Type: application/json", &format!("Idempotency-Key: {key}")];
        self.exchange("POST", "/jobs", &headers, &body).await
    }

    /// Waits until the daemon responds to a `GET` with this status.
    pub(crate) async fn until_status(&self, path: &str, status: u16) -> RawResponse {
        let looking = async {
            loop {
                let response = self.get(path).await;
                if response.status == status {
                    return response;
                }
            }
        };
        bounded(looking).await
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The jobs whose attempts have begun.
fn begun(seen: &[String]) -> Vec<String> {
    seen.iter().filter_map(|line| Some(line.strip_prefix("began ")?.split_once(' ')?.0.to_owned())).collect()
}
