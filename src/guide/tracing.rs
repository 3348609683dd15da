//! What the client logs, and how to tell which call it belongs to.
//!
//! The crate emits *events* of the crate [`tracing`](https://docs.rs/tracing), and
//! no spans. The target of an event is a module of `foreman_client`. These fields
//! have the same name in each event:
//!
//! | field | contents |
//! |---|---|
//! | `job_id` | the [`JobId`](crate::JobId), if it is known |
//! | `idempotency_key` | the key of the submission: the same for all clones of a request |
//! | `error` | an error, as a `dyn Error`, so that a subscriber can record its sources |
//!
//! The URLs of callbacks, their tokens, the token of the client and the secrets of
//! webhooks are in no event. Whoever knows a callback URL can send events.
//!
//! # Events
//!
//! Something that needs an operator is a `warn`. All else is a `debug`, because a
//! call that fails returns its error, and the caller decides what that means.
//!
//! | event | level | fields |
//! |---|---|---|
//! | webhooks unavailable … using the event stream or polls | `warn` | `error`, if there is one |
//! | failed to accept a webhook connection | `warn` | `error`, `backoff` |
//! | job accepted | `debug` | `job_id`, `idempotency_key`, `supports_idempotency` |
//! | submission failed | `debug` | `idempotency_key`, `error`, `sending` |
//! | retry budget of submissions exhausted | `debug` | `idempotency_key` |
//! | poll failed | `debug` | `job_id`, `error` |
//! | event stream not opened; polling meanwhile | `debug` | `error` |
//! | the daemon has no event stream; polling | `debug` | |
//! | event stream ended; polling until it is open again | `debug` | `reason` |
//! | webhook accepted | `debug` | `job_id` and `state`, except for a job that is over; `outcome` |
//! | webhook refused | `debug` | `reason` |
//! | webhook connection failed | `debug` | `error` |
//! | no webhook came for finished jobs; polling faster until one does | `debug` | `missing` |
//! | running a failed job again | `debug` | `job_id` |
//! | cannot cancel an abandoned job | `debug` | `job_id` or `idempotency_key`; `error` and `attempts`, if it was tried |
//! | cannot find an abandoned job | `debug` | `idempotency_key`, `error`, `attempts` |
//! | shutting down before all jobs have ended | `debug` | `jobs` |
//! | shutting down before all abandoned jobs are cancelled | `debug` | |
//! | drain timeout elapsed, aborting webhook connections | `debug` | `connections` |
//!
//! The messages and the fields that are not in the first table may change in any
//! release. [`Client::stats`](crate::Client::stats) has counts of the same things,
//! for metrics and alerts.
//!
//! # A span for each call
//!
//! Your service knows what a call belongs to, such as the request of a user, so the
//! span is yours. `.instrument` enters it whenever the future is polled:
//!
//! ```
//! use foreman_client::{Client, Error, JobResult, SubmitRequest};
//! use tracing::Instrument;
//!
//! async fn submit(
//!     client: &Client,
//!     request: SubmitRequest,
//! ) -> Result<JobResult, Error> {
//!     let submission = request.submission();
//!     let span = tracing::info_span!(
//!         "job",
//!         idempotency_key = %submission.idempotency_key(),
//!         job_id = tracing::field::Empty,
//!     );
//!     // Records the id in the span as soon as it is known.
//!     let record = async {
//!         if let Ok(job_id) = submission.accepted().await {
//!             tracing::Span::current().record("job_id", job_id.as_str());
//!         }
//!     };
//!     let both = async { tokio::join!(client.submit(request), record).0 };
//!     both.instrument(span).await
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//! # assert!(submit(&client, request).await?.is_success());
//! # Ok(()) }
//! ```
//!
//! Two kinds of events are outside of such a span, because other tasks emit them:
//! those of the webhook receiver, and those of cancels in the background. Their
//! `job_id` and `idempotency_key` are the link.
//!
//! # HTTP requests
//!
//! For a span for each request to the daemon, put a layer such as tower-http's
//! `TraceLayer` below the client: see
//! [`ClientBuilder::build_with`](crate::ClientBuilder::build_with). Do not log the
//! body of `POST /jobs`, which contains the callback URL, nor the path of requests
//! that reach a mounted webhook receiver, whose last segment is the token.
//!
//! Errors that your own callers receive are logged at the edge of your service:
//! see [`errors`](crate::guide::errors) and the modules `axum08` and `tonic014`.
