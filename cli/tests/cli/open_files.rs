//! The daemon with a low limit of open files.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::daemon_process::DaemonProcess;
use crate::support::{foreman_after, ollama, serve};

/// A connection that stays open between requests.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(daemon: &DaemonProcess) -> Self {
        Self(BufReader::new(TcpStream::connect(daemon.authority()).await.unwrap()))
    }

    async fn send(&mut self, head: &str, body: &str) {
        let length = body.len();
        let request = format!("{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The body of the next response.
    async fn receive(&mut self) -> serde_json::Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

#[tokio::test]
async fn idle_peers_leave_files_for_jobs() {
    let backend = format!("ollama=http://{}", serve(ollama()).await);
    let args = ["serve", "--listen", "127.0.0.1:0", "--backend", &backend];
    let daemon = DaemonProcess::spawn(foreman_after("ulimit -n 256", &args)).await;

    let mut peers = Vec::new();
    for _ in 0..300 {
        let mut peer = Connection::open(&daemon).await;
        peer.send("GET /healthz HTTP/1.1", "").await;
        // Then it is idle, until it makes room for another one.
        peer.receive().await;
        peers.push(peer);
    }
    let mut own = Connection::open(&daemon).await;
    own.send("POST /jobs HTTP/1.1\r\nContent-Type: application/json", r#"{"model":"m","messages":[]}"#).await;
    let job_id = own.receive().await["job_id"].as_str().unwrap().to_owned();
    own.send(&format!("GET /jobs/{job_id} HTTP/1.1\r\nPrefer: wait=60"), "").await;
    assert_eq!(own.receive().await["state"], "done");
}

#[tokio::test]
async fn soft_limit_is_raised_and_limits_connections() {
    for (shell, args, expected) in [
        ("ulimit -n 256", &[][..], "open_files=256 max_connections=127"),
        ("ulimit -n 256", &["--workers", "10", "--webhooks-at-once", "16"], "open_files=256 max_connections=166"),
        ("ulimit -S -n 128 && ulimit -H -n 2048", &[], "open_files=2048 max_connections=1024"),
        ("ulimit -S -n 128 && ulimit -H -n 2048", &["--max-connections", "7"], "open_files=2048 max_connections=7"),
    ] {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--backend", "echo"], args].concat();
        let (code, log) = DaemonProcess::spawn(foreman_after(shell, &args)).await.stop().await;
        assert!(code == Some(0) && log.contains(expected), "{shell} {log}");
    }
}
