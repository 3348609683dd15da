//! The gateway of the axum example. Callers use raw sockets.

#[path = "../../../examples/gateway_axum/gateway.rs"]
mod gateway;

mod events;
mod limits;
mod outages;
mod stop;
mod unary;

use foreman_client::{Client, JobId};
use foreman_daemon::Daemon;
use serde_json::Value;
use tokio::net::TcpStream;

use self::gateway::{Gateway, Settings};
use crate::raw::{self, RawResponse, request, send};
use crate::support::{BoundedGate, SECRET, bounded, gated_daemon};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

struct AxumHarness {
    gate: BoundedGate,
    daemon: Daemon,
    gateway: Gateway,
}

impl AxumHarness {
    async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    async fn with(configure: impl FnOnce(Settings) -> Settings) -> Self {
        let (gate, daemon) = signing_daemon().await;
        let gateway = start_gateway(&daemon.url(), configure).await;
        Self { gate, daemon, gateway }
    }

    async fn send(&self, path: &str, body: &str) -> TcpStream {
        post(&self.gateway, path, body).await
    }

    async fn get(&self, id: &JobId) -> RawResponse {
        get(&self.gateway, id).await
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }
}

/// A gated daemon that signs its events.
async fn signing_daemon() -> (BoundedGate, Daemon) {
    gated_daemon(Daemon::builder().webhook_secret(SECRET)).await
}

async fn start_gateway(url: &str, configure: impl FnOnce(Settings) -> Settings) -> Gateway {
    let mut settings = Settings::new(Client::builder(url));
    settings.webhook_secret = Some(SECRET.to_owned());
    Gateway::start(configure(settings)).await.unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: &str) -> TcpStream {
    bounded(send(gateway.address, request("POST", path, &["Content-Type: application/json"], body))).await
}

async fn get(gateway: &Gateway, id: &JobId) -> RawResponse {
    let request = request("GET", &format!("/jobs/{id}"), &[], "");
    read(bounded(send(gateway.address, request)).await).await
}

/// Reads the response on a connection.
async fn read(stream: TcpStream) -> RawResponse {
    bounded(raw::read(stream)).await
}

/// The job when it has ended, from the daemon itself.
async fn ended(daemon: &Daemon, id: &JobId) -> Value {
    bounded(raw::ended(daemon, id.as_str())).await
}

/// The problem in a response with that status.
fn problem(response: &RawResponse, status: u16) -> Value {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let problem: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(problem["status"], status, "{problem}");
    problem
}

/// Asserts that a response has the result of that job.
fn assert_result(response: &RawResponse, id: &JobId) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json(), "passed");
    assert_eq!(response.header("foreman-job-id"), Some(id.as_str()));
}
