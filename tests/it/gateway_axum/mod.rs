//! The gateway of the axum example, seen from its callers' sockets.

#[path = "../../../examples/gateway_axum/gateway/mod.rs"]
mod gateway;

mod events;
mod faults;
mod limits;
mod stop;
mod unary;

use foreman_client::{Client, JobId};
use foreman_daemon::Daemon;
use serde_json::Value;
use tokio::net::TcpStream;

use self::gateway::{Gateway, Settings};
use crate::gate::Gate;
use crate::raw::{RawResponse, read, request, send};

const SECRET: &str = "a secret that both sides know";
const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

struct Rig {
    gate: Gate,
    daemon: Daemon,
    gateway: Gateway,
}

impl Rig {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let (gate, daemon) = daemon().await;
        let gateway = gateway(&daemon.url(), set).await;
        Self { gate, daemon, gateway }
    }

    async fn send(&self, path: &str, body: &str) -> TcpStream {
        post(&self.gateway, path, body).await
    }

    async fn get(&self, id: &JobId) -> RawResponse {
        get(&self.gateway, id).await
    }

    fn client(&self) -> &Client {
        self.gateway.client()
    }
}

/// A daemon whose jobs end when they are told to.
async fn daemon() -> (Gate, Daemon) {
    let (gate, backend) = Gate::new();
    (gate, Daemon::builder().backend(backend).webhook_secret(SECRET).start().await.unwrap())
}

async fn gateway(url: &str, set: impl FnOnce(&mut Settings)) -> Gateway {
    let mut settings = Settings::new(url);
    settings.webhook_secret = Some(SECRET.to_owned());
    set(&mut settings);
    Gateway::start(settings).await.unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: &str) -> TcpStream {
    send(gateway.address(), request("POST", path, &["Content-Type: application/json"], body)).await
}

async fn get(gateway: &Gateway, id: &JobId) -> RawResponse {
    read(send(gateway.address(), request("GET", &format!("/jobs/{id}"), &[], "")).await).await
}

/// The problem in an answer with that status.
fn problem(answer: &RawResponse, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], status, "{problem}");
    problem
}

/// The result in an answer.
fn passed(answer: &RawResponse, id: &JobId) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), "passed");
    assert_eq!(answer.header("foreman-job-id"), Some(id.as_str()));
}
