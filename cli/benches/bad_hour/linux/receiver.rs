//! A receiver of webhooks that checks the signatures, and records the terminal events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use foreman_client::webhook::Secret;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::SECRET;
use super::server::Server;

#[derive(Default)]
pub(crate) struct Received {
    /// The terminal events of each job.
    ends: HashMap<String, Vec<Value>>,
    events: u64,
    bad_signatures: u64,
}

pub(crate) struct Receiver {
    server: Server,
    received: Arc<Mutex<Received>>,
}

impl Receiver {
    pub(crate) fn start(ip: &str) -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let router = axum::Router::new()
            .route("/hook", post(take))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&received));
        Self { server: Server::start(ip, router), received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.server.address())
    }

    pub(crate) fn stop(&mut self) {
        self.server.stop();
    }

    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
    }

    pub(crate) fn events(&self) -> u64 {
        self.received.lock().unwrap().events
    }

    pub(crate) fn bad_signatures(&self) -> u64 {
        self.received.lock().unwrap().bad_signatures
    }

    /// The different terminal events of a job. Deliveries are at least once, so that equal ones count as one.
    pub(crate) fn ends(&self, job: &str) -> Vec<Value> {
        self.received.lock().unwrap().ends.get(job).cloned().unwrap_or_default()
    }
}

async fn take(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let valid = is_signed(&headers, &body);
    let mut received = received.lock().unwrap();
    received.events += 1;
    if !valid {
        received.bad_signatures += 1;
        return StatusCode::UNAUTHORIZED;
    }
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    if matches!(event["state"].as_str(), Some("done" | "failed")) {
        let job = event["job_id"].as_str().unwrap_or_default().to_owned();
        let ends = received.ends.entry(job).or_default();
        if !ends.contains(&event) {
            ends.push(event);
        }
    }
    StatusCode::NO_CONTENT
}

/// Both signatures are those of the secret.
fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let secret = Secret::new(SECRET).unwrap();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(timestamp) = header("webhook-timestamp").parse() else { return false };
    header("x-foreman-signature") == secret.sign(body)
        && header("webhook-signature") == secret.sign_standard(header("webhook-id"), timestamp, body)
}
