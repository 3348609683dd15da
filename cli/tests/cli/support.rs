use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;

use foreman_client::{BoxError, Client, JobId, SubmitRequest};
use foreman_daemon::{Backend, Builder, Chat, ChatResponse, Daemon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tower::{ServiceExt as _, service_fn};

/// The command, without the settings of the machine's environment.
pub(crate) fn foreman(args: &[&str]) -> Command {
    isolated(Command::new(env!("CARGO_BIN_EXE_foreman")), args)
}

/// The command, after a command of the shell that sets its limits.
#[cfg(unix)]
pub(crate) fn foreman_after(shell: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"{shell} && exec "$0" "$@""#), env!("CARGO_BIN_EXE_foreman")]);
    isolated(command, args)
}

/// A command line that calls `foreman`, in a shell that finds it by its name.
#[cfg(unix)]
pub(crate) fn foreman_in_shell(line: &str) -> Command {
    let directory = std::path::Path::new(env!("CARGO_BIN_EXE_foreman")).parent().unwrap();
    let mut command = isolated(Command::new("/bin/sh"), &["-c", line]);
    command.env("PATH", directory);
    command
}

fn isolated(mut command: Command, args: &[&str]) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FOREMAN_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("RUST_LOG")
        // Nothing listens there, so that an embedded daemon uses the echo backend.
        .env("OLLAMA_HOST", "127.0.0.1:1")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Exit status and output of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// The job id that the command printed.
    pub(crate) fn job_id(&self) -> &str {
        printed_job_id(&self.stderr).unwrap_or_else(|| panic!("no job id is printed: {self:?}"))
    }
}

pub(crate) fn printed_job_id(stderr: &str) -> Option<&str> {
    let (_, rest) = stderr.split_once("foreman: job ")?;
    rest.split_once([';', '\n', '\r']).map(|(job_id, _)| job_id)
}

pub(crate) async fn run(mut command: Command) -> Outcome {
    command.spawn().unwrap().wait_with_output().await.unwrap().into()
}

/// Serves a router on a loopback port until the test ends.
pub(crate) async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The URL of a server that closes the connection of each submission without a response, and responds 404 to everything else.
pub(crate) async fn losing_submissions() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            if !request[..read].starts_with(b"POST") {
                let response = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                _ = stream.write_all(response).await;
            }
        }
    });
    format!("http://{address}")
}

/// Sends a signal to a child process.
#[cfg(unix)]
pub(crate) fn send_signal(child: &tokio::process::Child, signal: nix::sys::signal::Signal) {
    let pid = child.id().expect("a running process").try_into().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// A pipe whose read end is closed.
pub(crate) fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A double of Ollama that responds to each chat with `it is`.
pub(crate) fn ollama() -> axum::Router {
    let chat = r#"{"model":"m","message":{"role":"assistant","content":"it is"},"done":true}"#;
    axum::Router::new()
        .route("/api/tags", axum::routing::get(async || r#"{"models":[]}"#))
        .route("/api/chat", axum::routing::post(async move || format!("{chat}\n")))
}

/// A pipe that is full, and nobody reads it while the reader is not dropped.
#[cfg(unix)]
pub(crate) fn full_pipe() -> (std::io::PipeReader, Stdio) {
    use std::io::Write as _;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(b"x").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer.into())
}

/// The command, with a stderr that cannot be written.
pub(crate) fn with_closed_stderr(mut command: Command) -> Command {
    command.stderr(closed_pipe());
    command
}

pub(crate) async fn run_with_stdin(mut command: Command, stdin: impl AsRef<[u8]>) -> Outcome {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(stdin.as_ref()).await.unwrap();
    drop(pipe);
    child.wait_with_output().await.unwrap().into()
}

/// A daemon in the test's process, and commands that use it.
pub(crate) struct TestDaemon {
    pub(crate) handle: Daemon,
}

impl TestDaemon {
    pub(crate) async fn new(set: impl FnOnce(Builder) -> Builder) -> Self {
        Self { handle: set(Daemon::builder()).start().await.unwrap() }
    }

    pub(crate) fn foreman(&self, args: &[&str]) -> Command {
        let mut command = foreman(args);
        command.env("FOREMAN_URL", self.handle.url());
        command
    }

    /// Submits a job without waiting for it.
    pub(crate) async fn submit(&self, model: &str) -> JobId {
        let client = Client::builder(self.handle.url()).polling().build().await.unwrap();
        let request = SubmitRequest::builder(model).user("hi").build().unwrap();
        client.api().oneshot(request).await.unwrap().job_id
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Outcome {
        run(self.foreman(args)).await
    }
}

/// A backend that finishes one job for each call of [`open`](Self::open).
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
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
                chat_answer(&chat, "the gate is open")
            }
        }))
    }
}

/// A chat response in Ollama's format.
pub(crate) fn chat_answer(chat: &Chat, content: &str) -> Result<ChatResponse, BoxError> {
    Ok(ChatResponse::from_value(&serde_json::json!({
        "model": chat.model(), "message": { "role": "assistant", "content": content }, "done": true,
    }))?)
}
