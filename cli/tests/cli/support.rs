use std::process::{Output, Stdio};
use std::sync::Arc;

use foreman_client::{BoxError, Client, JobId, SubmitRequest};
use foreman_daemon::{Backend, Builder, Chat, ChatResponse, Daemon};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tower::{ServiceExt as _, service_fn};

/// The command, free of what the machine's environment says.
pub(crate) fn foreman(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foreman"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FOREMAN_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("RUST_LOG")
        // Nothing answers there: a daemon that was started for the command echoes.
        .env("OLLAMA_HOST", "127.0.0.1:1")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// The id that the command introduced its job with.
    pub(crate) fn job_id(&self) -> &str {
        introduced(&self.stderr).unwrap_or_else(|| panic!("no job is named: {self:?}"))
    }
}

pub(crate) fn introduced(stderr: &str) -> Option<&str> {
    let (_, rest) = stderr.split_once("foreman: job ")?;
    rest.split_once([';', '\n', '\r']).map(|(job_id, _)| job_id)
}

pub(crate) async fn run(mut command: Command) -> Ended {
    command.spawn().unwrap().wait_with_output().await.unwrap().into()
}

/// A pipe whose reader has left.
pub(crate) fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// What the command says on stderr cannot be written.
pub(crate) fn unheard(mut command: Command) -> Command {
    command.stderr(nobody());
    command
}

pub(crate) async fn run_with_stdin(mut command: Command, stdin: impl AsRef<[u8]>) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(stdin.as_ref()).await.unwrap();
    drop(pipe);
    child.wait_with_output().await.unwrap().into()
}

/// A daemon of the test's own, and the command pointed at it.
pub(crate) struct Bench {
    pub(crate) daemon: Daemon,
}

impl Bench {
    pub(crate) async fn new(set: impl FnOnce(Builder) -> Builder) -> Self {
        Self { daemon: set(Daemon::builder()).start().await.unwrap() }
    }

    pub(crate) fn foreman(&self, args: &[&str]) -> Command {
        let mut command = foreman(args);
        command.env("FOREMAN_URL", self.daemon.url());
        command
    }

    /// Submits a job that nobody waits for.
    pub(crate) async fn submit(&self, model: &str) -> JobId {
        let client = Client::builder(self.daemon.url()).polling().build().await.unwrap();
        let request = SubmitRequest::builder(model).user("hi").build().unwrap();
        client.api().oneshot(request).await.unwrap().job_id
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        run(self.foreman(args)).await
    }
}

/// A backend whose jobs end one for each that is let through.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.add_permits(1);
    }

    pub(crate) fn backend(&self) -> Backend {
        let gate = Arc::clone(&self.0);
        Backend::new(service_fn(move |chat: Chat| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                said(&chat, "the gate is open")
            }
        }))
    }
}

/// An answer in Ollama's shape.
pub(crate) fn said(chat: &Chat, content: &str) -> Result<ChatResponse, BoxError> {
    Ok(ChatResponse::from_value(&serde_json::json!({
        "model": chat.model(), "message": { "role": "assistant", "content": content }, "done": true,
    }))?)
}
