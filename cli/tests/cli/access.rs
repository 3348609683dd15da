//! Who may reach a daemon.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::daemon_process::DaemonProcess;
use crate::support::{foreman, run};

/// The status line of a response to a request that names a host.
async fn status_line(daemon: &DaemonProcess, host: &str) -> String {
    let mut stream = TcpStream::connect(daemon.authority().replace("0.0.0.0", "127.0.0.1")).await.unwrap();
    stream
        .write_all(format!("GET /jobs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn daemon_without_token_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let outcome = run(foreman(&["serve", "--backend", "echo", "--listen", address])).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
        for part in [address, "--token-file", "FOREMAN_TOKEN", "--allow-anonymous"] {
            assert!(outcome.stderr.contains(part), "{part} {outcome:?}");
        }
    }
    let daemon = DaemonProcess::start(&["--backend", "echo"]).await;
    assert_eq!(status_line(&daemon, daemon.authority()).await, "HTTP/1.1 200 OK");
    assert_eq!(status_line(&daemon, "rebound.example").await, "HTTP/1.1 403 Forbidden");
}

#[tokio::test]
async fn anonymous_daemon_serves_every_host() {
    let args = ["serve", "--backend", "echo", "--listen", "0.0.0.0:0", "--allow-anonymous"];
    let daemon = DaemonProcess::spawn(foreman(&args)).await;
    assert!(daemon.url.starts_with("http://0.0.0.0:"), "{}", daemon.url);
    assert_eq!(status_line(&daemon, "jobs.example").await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn empty_secret_variable_exits_with_2() {
    for name in ["FOREMAN_TOKEN", "FOREMAN_ADMIN_TOKEN", "FOREMAN_WEBHOOK_SECRET", "FOREMAN_BACKEND_KEY"] {
        for name in [name.to_owned(), format!("{name}_FILE")] {
            let mut command = foreman(&["serve", "--backend", "openai=http://127.0.0.1:1", "--listen", "127.0.0.1:0"]);
            command.env(&name, "");
            let outcome = run(command).await;
            assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
            assert_eq!(outcome.stderr, format!("foreman: {name} is set but empty; unset it or set a value\n"));
        }
    }
    let mut command = foreman(&["jobs", "--url", "http://127.0.0.1:1"]);
    command.env("FOREMAN_TOKEN", "");
    assert_eq!(run(command).await.code, Some(2));
}

#[tokio::test]
async fn unknown_variable_exits_with_2() {
    for name in ["FOREMAN_TOKENS", "FOREMAN_TOKNE"] {
        let mut command = foreman(&["serve", "--backend", "echo", "--listen", "127.0.0.1:0"]);
        command.env(name, "secret");
        let outcome = run(command).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
        let message = format!("foreman: unknown environment variable {name}; did you mean FOREMAN_TOKEN?\n");
        assert_eq!(outcome.stderr, message);
    }
}
