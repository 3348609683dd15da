//! With a terminal on stdin and stderr.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use foreman_client::JobState;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;

use crate::support::{Bench, Gate, foreman, introduced};

/// The command at a terminal.
struct Session {
    child: Child,
    terminal: File,
    /// What was shown.
    screen: String,
}

impl Session {
    fn start(mut command: Command) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let stdio = |slave: &OwnedFd| Stdio::from(slave.try_clone().unwrap());
        // Known, so that indicatif draws whatever the test's own environment is.
        command.env("TERM", "xterm").stdin(stdio(&slave)).stderr(stdio(&slave));
        let child = command.spawn().unwrap();
        Self { child, terminal: master.into(), screen: String::new() }
    }

    /// Reads on until it shows that.
    async fn shows(&mut self, wanted: &str) {
        while !self.screen.contains(wanted) {
            let mut terminal = self.terminal.try_clone().unwrap();
            let read = spawn_blocking(move || {
                let mut buffer = [0; 1024];
                // An error is the end: nobody has the other side open.
                let read = terminal.read(&mut buffer).unwrap_or(0);
                buffer[..read].to_vec()
            });
            let read = read.await.unwrap();
            assert!(!read.is_empty(), "{wanted:?} is not shown: {:?}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&read));
        }
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
    }

    fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    async fn code(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }
}

/// A job that runs until its gate opens, and somebody who was asked about it after Ctrl-C.
async fn interrupted() -> (Gate, Bench, Session) {
    let gate = Gate::shut();
    let bench = Bench::new(|builder| builder.backend(gate.backend())).await;
    let mut session = Session::start(bench.foreman(&["submit", "--model", "m", "hi"]));
    session.shows("foreman wait").await;
    session.interrupt();
    session.shows("Leave the job running, or cancel it? [L/c]").await;
    (gate, bench, session)
}

#[tokio::test]
async fn a_spinner_shows_state_and_place() {
    let gate = Gate::shut();
    let bench = Bench::new(|builder| builder.backend(gate.backend())).await;
    bench.submit("m").await;
    bench.submit("m").await;
    let mut session = Session::start(bench.foreman(&["submit", "--model", "m", "hi"]));
    session.shows("queued, number 2 in the queue").await;
    for _ in 0..3 {
        gate.open();
    }
    assert_eq!(session.code().await, Some(0));
}

#[tokio::test]
async fn a_spinner_shows_that_the_daemon_does_not_answer() {
    let mut session = Session::start(foreman(&["wait", "--url", "http://127.0.0.1:1", "7"]));
    session.shows("the daemon does not answer").await;
    session.interrupt();
    session.shows("[L/c]").await;
    session.types("l\n");
    session.shows("foreman: the job goes on; to wait for it again: foreman wait --url http://127.0.0.1:1 7").await;
    assert_eq!(session.code().await, Some(130));
}

#[tokio::test]
async fn ctrl_c_asks_and_c_cancels_the_job() {
    let (_gate, bench, mut session) = interrupted().await;
    session.types("c\n");
    session.shows("foreman: the job is cancelled").await;
    assert_eq!(session.code().await, Some(130));
    assert_eq!(bench.daemon.stats().cancelled, 1);
}

#[tokio::test]
async fn ctrl_c_again_leaves_the_job() {
    let (_gate, bench, mut session) = interrupted().await;
    session.interrupt();
    session.shows("foreman: the job goes on").await;
    assert_eq!(session.code().await, Some(130));
    let job_id = foreman_client::JobId::new(introduced(&session.screen).unwrap()).unwrap();
    let client = foreman_client::Client::builder(bench.daemon.url()).polling().build().await.unwrap();
    assert_eq!(client.status(&job_id).await.unwrap().state, JobState::Running);
}

#[tokio::test]
async fn a_job_that_ends_while_it_is_asked_about_needs_no_answer() {
    let (gate, _bench, mut session) = interrupted().await;
    gate.open();
    assert_eq!(session.code().await, Some(0));
}
