//! For servers written with axum (feature `axum`).
//!
//! - [`Error`] is a response: problem details (RFC 9457) with `Retry-After`, by the table in
//!   [`crate::error`]. Handlers return `Result<_, Error>` and use `?`.
//! - [`webhooks`] mounts a [`WebhookReceiver`] in a router.
//! - [`Foreman`] is a state from which handlers extract a [`Client`] or its [`Jobs`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
//! use axum::extract::State;
//! use axum::routing::post;
//! use foreman_client::axum::{Foreman, webhooks};
//! use foreman_client::webhook::WebhookReceiver;
//! use foreman_client::{Client, Error, Notifier, SubmitRequest};
//!
//! async fn chat(State(client): State<Client>, prompt: String) -> Result<String, Error> {
//!     let request = SubmitRequest::builder("llama3.2").user(prompt).build()?;
//!     let result = client.submit(request).await?.into_success()?;
//!     Ok(result.content().unwrap_or_default().into_owned())
//! }
//!
//! let notifier = Notifier::new();
//! let receiver = WebhookReceiver::builder(notifier.clone()).secret("a secret").build()?;
//! let client = Client::builder("http://gpu-box:8080")
//!     .notifier(notifier)
//!     .public_url("http://gateway:3000/foreman")
//!     .build()
//!     .await?;
//! let router = axum::Router::new()
//!     .route("/chat", post(chat))
//!     .merge(webhooks("/foreman", receiver))
//!     .with_state(Foreman::new(client));
//! # let _: axum::Router = router;
//! # Ok(()) }
//! ```
//!
//! `axum::serve` bounds neither how slowly a peer may send its headers nor how many connections there are. The receiver bounds
//! the body that it reads, in size and time; the rest is to be set where the router is served: behind a proxy that does it, or
//! with hyper's `header_read_timeout` and a cap on connections, as `examples/gateway_axum` does, which is a whole gateway.
//!
//! Keep the listener open while a stop waits for the jobs that are waited for: their events come in there.

use ::axum::Router;
use ::axum::extract::FromRef;

use crate::api::Transport;
use crate::client::Jobs;
use crate::webhook::WebhookReceiver;
use crate::{Client, Error};

/// A router with the one route that events come to: `{path}/{token}`.
///
/// The client's [`public_url`](crate::ClientBuilder::public_url) is the URL of `path`.
pub fn webhooks<S>(path: &str, receiver: WebhookReceiver) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let path = format!("{}/{{token}}", path.trim_end_matches('/'));
    Router::new().route_service(&path, receiver)
}

/// A state that shares one client: handlers extract `State<Client>`, or `State<Jobs>` to stack layers on.
#[derive(Debug, Clone)]
pub struct Foreman<T = Transport> {
    client: Client<T>,
}

impl<T> Foreman<T> {
    /// Shares `client`.
    pub fn new(client: Client<T>) -> Self {
        Self { client }
    }
}

impl<T: Clone> FromRef<Foreman<T>> for Client<T> {
    fn from_ref(state: &Foreman<T>) -> Self {
        state.client.clone()
    }
}

impl<T: Clone> FromRef<Foreman<T>> for Jobs<T> {
    fn from_ref(state: &Foreman<T>) -> Self {
        state.client.jobs()
    }
}

/// For `HandleErrorLayer`: what the layers above a service box, taken out of its box, is a response too.
pub async fn handle_error(error: crate::BoxError) -> Error {
    Error::from_boxed(error)
}
