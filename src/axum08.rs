//! Integration with axum 0.8 (feature `axum08`).
//!
//! A gateway that serves HTTP with axum and waits for jobs needs three things from this crate: errors as responses, a
//! route for the daemon's webhooks, and the client in the state of the router. They are the same in each gateway, so
//! this module has them.
//!
//! - [`Error`] implements `IntoResponse`. The response is a problem details document (RFC 9457) with `Retry-After`
//!   where it applies; see the table in [`crate::error`]. Handlers return `Result<_, Error>` and use `?`.
//! - [`webhooks`] mounts a [`WebhookReceiver`].
//! - [`Foreman`] is a router state. Handlers extract a [`Client`] or its [`Jobs`] service from it.
//! - [`JobResult`](crate::JobResult) implements `IntoResponse`: the result as JSON. Both responses have the id of the job in the header
//!   [`JOB_ID`].
//! - [`SubmitRequest`](crate::SubmitRequest) implements `FromRequest`: the JSON of a chat request, and the caller's `Idempotency-Key`.
//! - [`events`] turns the states of a job and its result into server-sent events.
//! - [`handle_error`] turns errors of tower layers into responses.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use axum::extract::State;
//! use axum::routing::post;
//! use axum::response::Response;
//! use foreman_client::axum08::{Foreman, events, webhooks};
//! use foreman_client::webhook::WebhookReceiver;
//! use foreman_client::{Client, Error, JobResult, Notifier, SubmitRequest};
//!
//! async fn chat(
//!     State(client): State<Client>,
//!     request: SubmitRequest,
//! ) -> Result<JobResult, Error> {
//!     client.submit(request).await
//! }
//!
//! async fn stream(
//!     State(client): State<Client>,
//!     request: SubmitRequest,
//! ) -> Result<Response, Error> {
//!     events(client.progress(request)).await
//! }
//!
//! let notifier = Notifier::new();
//! let receiver = WebhookReceiver::builder(notifier.clone())
//!     .secret("a secret")
//!     .build()?;
//! let client = Client::builder("http://gpu-box:11435")
//!     .notifier(notifier)
//!     .public_url("http://gateway:3000/foreman")
//!     .build()
//!     .await?;
//! let router = axum::Router::new()
//!     .route("/chat", post(chat))
//!     .route("/chat/events", post(stream))
//!     .merge(webhooks("/foreman", receiver))
//!     .with_state(Foreman::new(client));
//! # let _: axum::Router = router;
//! # Ok(()) }
//! ```
//!
//! # Example: with layers
//!
//! Layers such as `LoadShed` and `Timeout` box their errors, and axum requires services that do not fail.
//! [`handle_error`] maps the boxed error to a response: here, a request over the limit gets a 503 with `Retry-After`.
//! The webhook route is merged after the layers, so that load from callers cannot block webhooks.
//!
//! ```
//! use axum::error_handling::HandleErrorLayer;
//! use axum::routing::get;
//! use foreman_client::Notifier;
//! use foreman_client::axum08::{handle_error, webhooks};
//! use foreman_client::webhook::WebhookReceiver;
//! use tower::ServiceBuilder;
//! use tower::limit::GlobalConcurrencyLimitLayer;
//!
//! let layers = ServiceBuilder::new()
//!     .layer(HandleErrorLayer::new(handle_error))
//!     .load_shed()
//!     .layer(GlobalConcurrencyLimitLayer::new(1_024));
//! let receiver = WebhookReceiver::new(Notifier::new());
//! let router: axum::Router = axum::Router::new()
//!     .route("/chat", get(|| async { "hello" }))
//!     .layer(layers)
//!     .merge(webhooks("/foreman", receiver));
//! # let _ = router;
//! ```
//!
//! # Example: logging the causes
//!
//! The body of the response contains neither the causes nor the address of the
//! daemon: they are not for callers. The extensions of the response contain the
//! [`Error`], with its chain of sources. A middleware logs it for all handlers. An error that ends a stream of [`events`] comes after
//! the response has begun: it is the last event, and no middleware sees it. Log it where the stream is made, with
//! [`Client::progress`](crate::Client::progress) and a `map_err`.
//!
//!
//! ```
//! # use std::error::Error as _;
//! use axum::middleware::map_response;
//! use axum::response::Response;
//! use axum::routing::get;
//! use foreman_client::Error;
//!
//! async fn log_error(response: Response) -> Response {
//!     if let Some(error) = response.extensions().get::<Error>() {
//!         tracing::warn!(
//!             job_id = error.job_id().map(AsRef::<str>::as_ref),
//!             // As a `dyn Error`, so that its sources are logged too.
//!             error = error as &dyn std::error::Error,
//!             "request failed",
//!         );
//!     }
//!     response
//! }
//!
//! let router: axum::Router = axum::Router::new()
//!     .route("/chat", get(|| async { "hello" }))
//!     .layer(map_response(log_error));
//! # let _ = router;
//! # let cause = std::io::Error::other("no route to the daemon");
//! # let response = axum::response::IntoResponse::into_response(
//! #     Error::from_boxed(cause.into()),
//! # );
//! # let error = response.extensions().get::<Error>();
//! # assert!(error.is_some_and(|error| error.source().is_some()));
//! ```
//!
//! The middleware must be above every layer whose error becomes a response, such as
//! the `HandleErrorLayer` of the example before.
//!
//! `examples/gateway_axum` is a complete gateway.
//!
//! # What not to do
//!
//! - Do not serve untrusted callers with `axum::serve`. It has no timeout for headers and no limit on
//!   connections, and the receiver only limits the body. Set both in a proxy, or serve the router with hyper and its
//!   `header_read_timeout`, as `examples/gateway_axum` does.
//! - Do not close the server's socket at the start of a graceful shutdown. Webhooks arrive there until the waits have
//!   ended.

mod extract;
mod respond;

use axum::Router;
use axum::extract::FromRef;

use crate::api::Transport;
use crate::client::Jobs;
use crate::webhook::WebhookReceiver;
use crate::{Client, Error};

pub use self::extract::SubmitRequestRejection;
pub use self::respond::events;
pub use crate::error::problem::JOB_ID;

/// Returns a router with one route, `{path}/{token}`, which passes webhooks to `receiver`.
///
/// Set the client's [`public_url`](crate::ClientBuilder::public_url) to the URL at which the daemon reaches `path`. A
/// trailing `/` in `path` is ignored.
///
/// # Panics
///
/// Panics if `path` is not valid for an axum route. It must be empty or start with `/`.
pub fn webhooks<S>(path: &str, receiver: WebhookReceiver) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let path = format!("{}/{{token}}", path.trim_end_matches('/'));
    Router::new().route_service(&path, receiver)
}

/// A router state with one client.
///
/// Handlers extract `State<Client>`, or `State<Jobs>` for the service, to which more layers can be added. See the
/// [module docs](crate::axum08) for an example. Cloning is as cheap as cloning the client.
#[derive(Debug, Clone)]
pub struct Foreman<T = Transport> {
    client: Client<T>,
}

impl<T> Foreman<T> {
    /// Creates a state with `client`.
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

/// Converts an error that tower layers have boxed into an [`Error`], which is a response. Pass it to axum's
/// `HandleErrorLayer`.
///
/// An [`Error`] in the box is kept. Errors of tower, hyper and `std::io` are classified; see [`Error::from_boxed`]. The
/// extensions of the response contain the [`Error`]; its sources contain the error that was in the box.
///
/// # Cancel safety
///
/// The future completes at the first poll.
pub async fn handle_error(error: crate::BoxError) -> Error {
    Error::from_boxed(error)
}
