//! The command with a terminal on stdin and stderr.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use foreman_client::JobState;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;

use crate::support::{Gate, TestDaemon, foreman, foreman_in_shell, printed_job_id, run, send_signal};

/// The command on a terminal.
struct Session {
    child: Child,
    terminal: File,
    /// The output so far.
    screen: String,
}

impl Session {
    fn start(mut command: Command) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let stdio = |slave: &OwnedFd| Stdio::from(slave.try_clone().unwrap());
        // indicatif draws only if it knows the terminal, whatever the test's own environment is.
        command.env("TERM", "xterm").stdin(stdio(&slave)).stderr(stdio(&slave));
        let child = command.spawn().unwrap();
        Self { child, terminal: master.into(), screen: String::new() }
    }

    /// Reads until the output contains `wanted`.
    async fn wait_for(&mut self, wanted: &str) {
        self.read_until(wanted, |screen| screen.contains(wanted).then_some(())).await;
    }

    /// Reads the rest of the line after a text.
    async fn line_after(&mut self, text: &str) -> String {
        let line = |screen: &str| {
            let (_, rest) = screen.split_once(text)?;
            rest.split_once("\r\n").map(|(line, _)| line.to_owned())
        };
        self.read_until(text, line).await
    }

    async fn read_until<T>(&mut self, wanted: &str, find: impl Fn(&str) -> Option<T>) -> T {
        loop {
            if let Some(found) = find(&self.screen) {
                return found;
            }
            let mut terminal = self.terminal.try_clone().unwrap();
            let read = spawn_blocking(move || {
                let mut buffer = [0; 1024];
                // An error means that the other side is closed.
                let read = terminal.read(&mut buffer).unwrap_or(0);
                buffer[..read].to_vec()
            });
            let read = read.await.unwrap();
            assert!(!read.is_empty(), "{wanted:?} is not printed: {:?}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&read));
        }
    }

    fn interrupt(&self) {
        send_signal(&self.child, Signal::SIGINT);
    }

    fn write(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    async fn code(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }
}

/// A job that runs until its gate opens, and a command that shows the prompt after Ctrl-C.
async fn interrupted() -> (Gate, TestDaemon, Session) {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let mut session = Session::start(daemon.foreman(&["submit", "--model", "m", "hi"]));
    session.wait_for("foreman wait").await;
    session.interrupt();
    session.wait_for("Leave the job running or cancel it? [L/c]").await;
    (gate, daemon, session)
}

#[tokio::test]
async fn spinner_shows_state_and_position() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    daemon.submit("m").await;
    daemon.submit("m").await;
    let mut session = Session::start(daemon.foreman(&["submit", "--model", "m", "hi"]));
    session.wait_for("queued, position 2").await;
    for _ in 0..3 {
        gate.open();
    }
    assert_eq!(session.code().await, Some(0));
}

#[tokio::test]
async fn spinner_shows_unreachable_daemon() {
    let mut session = Session::start(foreman(&["wait", "--url", "http://127.0.0.1:1", "7"]));
    session.wait_for("the daemon does not respond").await;
    session.interrupt();
    session.wait_for("[L/c]").await;
    session.write("l\n");
    session.wait_for("foreman: the job was not cancelled; resume with: foreman wait --url http://127.0.0.1:1 7").await;
    assert_eq!(session.code().await, Some(130));
}

#[tokio::test]
async fn terminal_without_url_uses_embedded_daemon() {
    let mut session = Session::start(foreman(&["submit", "--model", "m", "hi"]));
    session.wait_for("foreman: no --url or FOREMAN_URL; using an embedded daemon with the echo backend").await;
    assert_eq!(session.code().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_prompts_and_c_cancels_job() {
    let (_gate, daemon, mut session) = interrupted().await;
    session.write("c\n");
    session.wait_for("foreman: job cancelled").await;
    assert_eq!(session.code().await, Some(130));
    assert_eq!(daemon.handle.stats().cancelled, 1);
}

#[tokio::test]
async fn second_ctrl_c_leaves_job_running() {
    let (_gate, daemon, mut session) = interrupted().await;
    session.interrupt();
    session.wait_for("foreman: the job was not cancelled").await;
    assert_eq!(session.code().await, Some(130));
    let job_id = foreman_client::JobId::new(printed_job_id(&session.screen).unwrap()).unwrap();
    let client = foreman_client::Client::builder(daemon.handle.url()).polling().build().await.unwrap();
    assert_eq!(client.status(&job_id).await.unwrap().state, JobState::Running);
}

#[tokio::test]
async fn printed_command_works_in_another_shell() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.token("secret").backend(gate.backend())).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("my token");
    std::fs::write(&file, "secret\n").unwrap();
    let args = ["submit", "--token-file", file.to_str().unwrap(), "--model", "m", "hi"];
    let mut session = Session::start(daemon.foreman(&args));
    session.wait_for("foreman wait").await;
    session.interrupt();
    session.wait_for("[L/c]").await;
    session.write("l\n");
    let printed = session.line_after("foreman: the job was not cancelled; resume with: ").await;
    assert_eq!(session.code().await, Some(130));

    gate.open();
    let outcome = run(foreman_in_shell(&printed)).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "the gate is open\n"), "{printed} {outcome:?}");
}

#[tokio::test]
async fn job_that_ends_during_prompt_needs_no_reply() {
    let (gate, _bench, mut session) = interrupted().await;
    gate.open();
    assert_eq!(session.code().await, Some(0));
}
