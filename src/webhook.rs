//! Receives the daemon's webhooks, so that a wait ends as soon as its job does.
//!
//! # Why webhooks?
//!
//! A client that only polls has to choose between load and latency. Short intervals cost the daemon many requests for
//! each waiting job, and long intervals delay each result. With webhooks, the daemon reports each state change when it
//! happens, and polls can be rare: while webhooks work, every 30 s by default
//! ([`slow_interval`](crate::source::PollPolicyBuilder::slow_interval)).
//!
//! Webhooks cannot replace polls. A webhook can be lost, late, duplicated, reordered or forged, and a wait that
//! depended on it could hang. The polls therefore continue, and a fault of the webhooks delays a result, but does not
//! lose it. The module [`wait`](crate::wait) describes how a wait uses both.
//!
//! # Mount a receiver or bind a listener?
//!
//! [`Client::builder`](crate::Client::builder) binds a listener by default, so many programs do not need this module.
//! Use it directly to receive webhooks in an existing server, or to set limits.
//!
//! ```text
//!           POST {public URL}/{callback token}
//!  daemon ────────► WebhookListener or your server
//!                              │
//!                              ▼
//!                      WebhookReceiver ──► Notifier ──► submission ──► JobWait
//! ```
//!
//! - A [`Notifier`](crate::Notifier) is the webhook registry. It maps each callback token to a submission. Clients can
//!   share one.
//! - A [`WebhookReceiver`] verifies requests and passes their events to a notifier. It is a [`tower::Service`] that
//!   never fails.
//! - A [`WebhookListener`] serves a receiver on its own socket.
//!
//! | | mount a receiver | bind a listener |
//! |---|---|---|
//! | choose it if | the process has an HTTP server that the daemon can reach | it has none, or the daemon must not reach it |
//! | ports | that of the server | one more |
//! | TLS and HTTP/2 | if the server has them | no: HTTP/1.1 without TLS |
//! | limits on the body | by the receiver | by the receiver |
//! | limits on headers and connections | by the server | by the listener |
//!
//! If the daemon cannot reach the process at all, for example through NAT, turn
//! [webhooks off](crate::ClientBuilder::polling): the client then uses the event stream.
//!
//! # Example: a receiver mounted in axum
//!
//! The receiver takes the callback token from the last segment of the path, so it can be mounted at any path. The
//! client needs the same notifier, and the URL at which the daemon reaches that path:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::webhook::WebhookReceiver;
//! use foreman_client::{Client, Notifier};
//!
//! let notifier = Notifier::new();
//! let receiver = WebhookReceiver::builder(notifier.clone())
//!     .secret("It's a Secret to Everybody")
//!     .build()?;
//! let router: axum::Router = axum::Router::new()
//!     .route_service("/foreman/{token}", receiver);
//! let client = Client::builder("http://gpu-box:11435")
//!     .notifier(notifier)
//!     .public_url("http://gateway:3000/foreman")
//!     .build()
//!     .await?;
//! # let _ = router;
//! assert_eq!(client.webhook_url(), Some("http://gateway:3000/foreman"));
//! # Ok(()) }
//! ```
//!
//! With the feature `axum08`, the function `axum08::webhooks` of this crate makes such a router.
//!
//! The receiver limits the body in size and in time. The server must limit what comes before the body: it needs a
//! timeout for the headers, a maximum number of headers, and a maximum number of connections. `axum::serve` sets none
//! of them.
//!
//! # Example: a listener with its own limits
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::webhook::{WebhookListener, WebhookReceiver};
//! use foreman_client::{Client, Notifier};
//!
//! let notifier = Notifier::new();
//! let receiver = WebhookReceiver::builder(notifier.clone())
//!     .secrets(["the new secret", "the old secret"])
//!     .max_body(32 << 20)
//!     .build()?;
//! let listener = WebhookListener::builder(receiver)
//!     .max_connections(64)
//!     .request_timeout(Duration::from_secs(30))
//!     .bind(([127, 0, 0, 1], 0).into())
//!     .await?;
//! let client = Client::builder("http://127.0.0.1:11435")
//!     .notifier(notifier)
//!     .public_url(format!("http://{}", listener.local_addr()))
//!     .build()
//!     .await?;
//! # let _ = client;
//! // Submit jobs and wait for them. Then:
//! listener.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # Example: several daemons, one listener
//!
//! All clients of a [`Pool`](crate::Pool), or any others, share one listener and one notifier. A
//! [`WebhookEndpoint`](crate::wait::WebhookEndpoint) is both, and each client has the secret of its daemon:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::wait::WebhookEndpoint;
//! use foreman_client::{Client, Pool};
//!
//! let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await?;
//! let mut clients = Vec::new();
//! for (url, secret) in [
//!     ("http://127.0.0.1:11435", "the secret of gpu-1"),
//!     ("http://127.0.0.1:11436", "the secret of gpu-2"),
//! ] {
//!     let client = Client::builder(url)
//!         .webhooks(webhooks.clone())
//!         .webhook_secret(secret);
//!     clients.push(client.build().await?);
//! }
//! let pool = Pool::from_clients(clients)?;
//! # let _ = pool;
//! # Ok(()) }
//! ```
//!
//! The listener closes when the last clone of the endpoint and the last client that uses it are gone. A receiver mounted in your router
//! works in the same way: give each client the same [`notifier`](crate::ClientBuilder::notifier) and the secret of its daemon.
//!
//! # Wire format
//!
//! The daemon sends a `POST` to the callback URL for each state change of a job. The callback URL is the field
//! `state_webhook_url` of the submission (`POST /jobs`). It consists of the public URL, `/` and the callback token, which is 48
//! lower-case hexadecimal digits: an id of 64 bits, and 128 bits of its HMAC-SHA256. The id is the number of the client's
//! secrets, 16 bits, and 48 random bits. The body is the JSON that `GET
//! /jobs/{id}` returns, a [`JobStatus`](crate::JobStatus).
//!
//! | header | defined by | value |
//! |---|---|---|
//! | `X-Foreman-Signature` | foreman | `sha256=` and the HMAC-SHA256 of the body, in lower-case hexadecimal |
//! | `webhook-id` | [Standard Webhooks] | id of the event, the same in each delivery attempt, without `.` |
//! | `webhook-timestamp` | [Standard Webhooks] | time of the attempt, in seconds since the Unix epoch |
//! | `webhook-signature` | [Standard Webhooks] | list of signatures, separated by spaces: `v1,` and the HMAC-SHA256 of `{id}.{timestamp}.{body}`, in base64 |
//!
//! With a secret, an event must have a valid signature in one of the schemes, and in each scheme that it uses. A signed
//! event with a terminal state is the result of the job. Without a secret, the callback token is the only proof. The
//! event is then a hint: it causes a poll, and its state and result are ignored. Its job id is used only if the
//! response to the submission was lost.
//!
//! # Which secret
//!
//! | the client of the submission has | an event must be signed with |
//! |---|---|
//! | a [`webhook_secret`](crate::ClientBuilder::webhook_secret), or several | one of these |
//! | none, and the receiver has a [secret](WebhookReceiverBuilder::secret), or several | one of those |
//! | none, and the receiver has none | nothing: the event is a hint |
//!
//! So clients of different daemons may share a receiver, and no daemon can end the wait of another one's job: its signature
//! gets a 401, as any wrong one. The rule is the same for a late event, whose submission is over or whose client is gone,
//! because the callback token identifies the secrets. The notifier stores each list of secrets once, for as long as it exists.
//!
//! # Responses
//!
//! | status | case | counted in [`WebhookStats`] as |
//! |---|---|---|
//! | 204 | the event is accepted: it is new, a duplicate, late, or a hint; or its submission is no longer in use | finished, hint, duplicate or late |
//! | 400 | the body is not the JSON of a job | `Json` |
//! | 401 | no valid signature, a timestamp outside the tolerance, or an event of another job | `Signature`, `Timestamp`, `WrongJob` |
//! | 404 | the callback token was not made by this notifier | `UnknownToken` |
//! | 405 | the method is not `POST` | `Method` |
//! | 408 | the body was cut off or timed out | `Body` |
//! | 413 | the body is larger than the limit | `TooLarge` |
//! | 415 | the body is compressed | `MediaType` |
//! | 503 | too many connections, too many bytes in other bodies, or the receiver is closed | `Overload` |
//!
//! All responses have an empty body. A 405 has `Allow`, a 503 has `Retry-After`, and a 408 over HTTP/1 closes the
//! connection. The causes of a 401 are not distinguished, so that an attacker cannot learn which check failed. For 404,
//! 405, 415, 503 and a 413 by `Content-Length`, the receiver does not read the body. It ignores `Content-Type`, because
//! the signature and the JSON are stricter checks.
//!
//! A signed event that is not the JSON of a job gets a 400 too. A 2xx would confirm an event that had no effect, and a
//! 5xx would ask the daemon to repeat bytes that will fail again.
//!
//! A listener refuses some requests before they reach the receiver: malformed HTTP with 400, and headers that are too
//! many or too large with 431. These two are not counted. [`Notifier::stats`](crate::Notifier::stats) returns the
//! counts; the refusals are counted by [`RefusalReason`].
//!
//! # What not to do
//!
//! - Do not give the client another notifier than the receiver. Each webhook would get a 404.
//! - Do not put a layer in front of the receiver that decompresses or changes the body: the signature covers the bytes
//!   as they were sent.
//! - Do not put a layer in front of the receiver that requires credentials. The daemon sends none.
//! - Do not log the callback URL. The callback token in it is a secret, and the only protection without a
//!   [secret](WebhookReceiverBuilder::secret).
//! - Do not serve a mounted receiver with `axum::serve` on a network with untrusted hosts. It has no timeout for the
//!   headers.
//! - Do not shut down the listener or the server before the waits have ended. Their results would
//!   come by polls only.
//!
//! [`RefusalReason`]: crate::source::RefusalReason
//! [`WebhookStats`]: crate::WebhookStats
//! [Standard Webhooks]: https://www.standardwebhooks.com

mod listener;
mod receiver;
mod route;
mod verify;

#[doc(inline)]
pub use foreman_protocol::webhook::Secret;

pub use self::listener::{WebhookListener, WebhookListenerBuilder};
pub use self::receiver::{ReceiverFuture, WebhookReceiver, WebhookReceiverBuilder};
pub(crate) use self::route::local_address_towards;
