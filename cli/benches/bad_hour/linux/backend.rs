//! A double of Ollama on a socket that goes down in three ways.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::prompt::answer;
use super::server::Server;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Up,
    /// Responds with 503.
    Unavailable,
    /// Responds when the mode changes.
    Hangs,
}

#[derive(Clone)]
struct Shared {
    mode: watch::Receiver<Mode>,
    /// How often each prompt was received.
    runs: Arc<Mutex<HashMap<String, u64>>>,
}

pub(crate) struct FakeOllama {
    mode: watch::Sender<Mode>,
    shared: Shared,
    server: Server,
}

impl FakeOllama {
    pub(crate) fn start() -> Self {
        let (mode, receiver) = watch::channel(Mode::Up);
        let shared = Shared { mode: receiver, runs: Arc::default() };
        let router = axum::Router::new()
            .route("/api/tags", get(tags))
            .route("/api/chat", post(chat))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(shared.clone());
        Self { mode, shared, server: Server::start("127.0.0.3", router) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Closes the listener and all connections, so that further ones are refused.
    pub(crate) fn stop(&mut self) {
        self.server.stop();
    }

    pub(crate) fn start_again(&mut self) {
        self.server.start_again();
    }

    pub(crate) fn runs(&self, prompt: &str) -> u64 {
        self.shared.runs.lock().unwrap().get(prompt).copied().unwrap_or_default()
    }

    /// The number of chats received.
    pub(crate) fn chats(&self) -> u64 {
        self.shared.runs.lock().unwrap().values().sum()
    }
}

impl Shared {
    /// An error to respond with, if the backend is unavailable.
    async fn unavailable(&mut self) -> Option<Response> {
        let mode = *self.mode.wait_for(|mode| *mode != Mode::Hangs).await.ok()?;
        (mode == Mode::Unavailable).then(|| (StatusCode::SERVICE_UNAVAILABLE, "loading").into_response())
    }
}

async fn tags(State(mut shared): State<Shared>) -> Response {
    match shared.unavailable().await {
        Some(error) => error,
        None => Json(json!({ "models": [] })).into_response(),
    }
}

async fn chat(State(mut shared): State<Shared>, Json(chat): Json<Value>) -> Response {
    let prompt = chat["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
    *shared.runs.lock().unwrap().entry(prompt.clone()).or_default() += 1;
    if let Some(error) = shared.unavailable().await {
        return error;
    }
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..8))).await;
    let message = json!({ "role": "assistant", "content": answer(&prompt) });
    let response = json!({ "model": chat["model"], "message": message, "done": true, "done_reason": "stop" });
    format!("{response}\n").into_response()
}
