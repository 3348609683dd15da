use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{Bench, Gate, foreman, run, unheard};

/// A daemon as a process of its own.
struct Served {
    child: Child,
    url: String,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Served {
    async fn start(args: &[&str]) -> Self {
        Self::spawn(foreman(&[&["serve", "--listen", "127.0.0.1:0"], args].concat())).await
    }

    async fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = stdout.next_line().await.unwrap().expect("a first line");
        let url = first.strip_prefix("listening on ").unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Self { child, url, _stdout: stdout }
    }

    fn foreman(&self, args: &[&str]) -> Command {
        let mut command = foreman(args);
        command.env("FOREMAN_URL", &self.url);
        command
    }

    /// Ends it by SIGTERM, and gives its log.
    #[cfg(unix)]
    async fn end(mut self) -> (Option<i32>, String) {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;

        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).await.unwrap();
        }
        (self.child.wait().await.unwrap().code(), log)
    }
}

#[cfg(unix)]
#[tokio::test]
async fn jobs_kept_in_a_file_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    let args = ["--backend", "echo", "--store", store.to_str().unwrap()];
    let daemon = Served::start(&args).await;
    let submitted = run(daemon.foreman(&["submit", "--model", "m", "hi"])).await;
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let (code, log) = daemon.end().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("job done job_id={}", submitted.job_id())), "{log}");
    assert!(log.contains(" INFO ") && log.contains("ended") && !log.contains("lost when the daemon ends"), "{log}");

    let daemon = Served::start(&args).await;
    let waited = run(daemon.foreman(&["wait", submitted.job_id()])).await;
    assert_eq!(waited.stdout, submitted.stdout);
    // A second daemon on the same file says what is wrong.
    let second = run(foreman(&[&["serve", "--listen", "127.0.0.1:0"], &args[..]].concat())).await;
    assert_eq!((second.code, second.stdout.as_str()), (Some(74), ""));
    assert!(second.stderr.contains("jobs.db is in use by another daemon"), "{second:?}");
    assert_eq!(daemon.end().await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_tells_of_jobs_that_are_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    let gate = Gate::shut();
    let bench =
        Bench::new(|builder| builder.store(&store).drain(Duration::from_millis(1)).backend(gate.backend())).await;
    let job_id = bench.submit("m").await;
    bench.daemon.shutdown().await;

    let daemon = Served::start(&["--backend", "echo", "--store", store.to_str().unwrap()]).await;
    assert_eq!(run(daemon.foreman(&["wait", job_id.as_str()])).await.code, Some(0));
    let (code, log) = daemon.end().await;
    assert_eq!(code, Some(0));
    assert!(log.contains(&format!("job done job_id={job_id}")), "{log}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_is_json_when_it_is_wanted() {
    let (code, log) = Served::start(&["--backend", "echo", "--log", "json"]).await.end().await;
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["message"], "listening");
    assert!(lines.iter().any(|line| line["level"] == "WARN" && line["message"].as_str().unwrap().contains("memory")));
}

#[cfg(unix)]
#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_end_the_daemon() {
    let daemon = Served::spawn(unheard(foreman(&["serve", "--listen", "127.0.0.1:0", "--backend", "echo"]))).await;
    for _ in 0..2 {
        assert_eq!(run(daemon.foreman(&["submit", "--model", "m", "hi"])).await.code, Some(0));
    }
    assert_eq!(daemon.end().await.0, Some(0));
}

#[tokio::test]
async fn several_tokens_may_ask_and_others_may_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "two\nthree\n").unwrap();
    let path = file.path().to_str().unwrap();
    let daemon = Served::start(&["--backend", "echo", "--token", "one", "--token-file", path]).await;
    for (token, code) in [("one", 0), ("two", 0), ("three", 0), ("four", 3)] {
        assert_eq!(run(daemon.foreman(&["models", "--token", token])).await.code, Some(code), "{token}");
    }
}

#[tokio::test]
async fn a_daemon_is_set_by_its_environment() {
    let mut command = foreman(&["serve"]);
    command
        .env("FOREMAN_LISTEN", "127.0.0.1:0")
        .env("FOREMAN_BACKEND", "echo")
        .env("FOREMAN_TOKEN", "one")
        .env("FOREMAN_WEBHOOK_SECRET", "a secret");
    let daemon = Served::spawn(command).await;
    assert_eq!(run(daemon.foreman(&["models"])).await.code, Some(3));
    let args = ["submit", "--token", "one", "--webhook-secret", "a secret", "--model", "m", "hi"];
    let ended = run(daemon.foreman(&args)).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn port_in_use_is_status_74() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(foreman(&["serve", "--backend", "echo", "--listen", &address])).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(74), ""), "{ended:?}");
    assert!(ended.stderr.contains(&format!("cannot listen on {address}: ")), "{ended:?}");
}

#[tokio::test]
async fn store_that_cannot_be_opened_is_status_74() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    std::fs::write(&store, "not a database, but as long as the head of one".repeat(100)).unwrap();
    let args = ["serve", "--backend", "echo", "--listen", "127.0.0.1:0", "--store", store.to_str().unwrap()];
    let ended = run(foreman(&args)).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(74), ""), "{ended:?}");
    assert!(ended.stderr.contains("jobs.db: store file damaged"), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_served_is_status_2_and_says_why() {
    for (args, why) in [
        (&[][..], "--backend"),
        (&["--backend", "llama"], "must be echo, ollama, ollama=URL or openai=URL"),
        (&["--backend", "ollama=nowhere"], "url"),
        (&["--backend", "echo", "--backend-key-file", "/nowhere"], "/nowhere cannot be read"),
        (&["--backend", "echo", "--workers", "0"], "workers: must be at least 1"),
        (&["--backend", "echo", "--token", "a b"], "token: must be visible ASCII"),
        (&["--backend", "echo", "--allow-webhook-hosts", "*"], "webhook"),
        (&["--backend", "echo", "--store", "/nowhere/jobs.db"], "store: cannot be in /nowhere"),
        (&["--backend", "echo", "--keep", "0s"], "longer than no time"),
        (&["--backend", "echo", "--model-batch", "0"], "model_batch: must be at least 1"),
        (&["--backend", "echo", "--webhook-roots", "/nowhere"], "/nowhere cannot be read"),
        (&["--backend", "echo", "--listen", "localhost:80"], "must be an IP address and a port"),
    ] {
        let mut command = foreman(&[&["serve"], args].concat());
        command.env("FOREMAN_LISTEN", "127.0.0.1:0");
        let ended = run(command).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?} {ended:?}");
        assert!(ended.stderr.contains(why), "{args:?} {ended:?}");
    }
}
