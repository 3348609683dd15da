//! What makes a job's end known at once: the daemon's state webhooks, their signatures, and where they come in.
//!
//! A [`WebhookReceiver`] takes the events and hands them to the jobs that wait in a [`Notifier`](crate::Notifier). It is a
//! [`tower::Service`] that never fails, so it can be mounted in a server that is there already; a [`WebhookListener`] serves
//! it on a socket of its own, one for all jobs. Neither decides when a wait ends: an event that is lost, late or forged
//! changes at most how soon the daemon is asked.
//!
//! # Mounted in axum
//!
//! The token is the last segment of the path, wherever the receiver is mounted:
//!
//! ```
//! use foreman_client::Notifier;
//! use foreman_client::webhook::WebhookReceiver;
//!
//! let notifier = Notifier::new();
//! let receiver = WebhookReceiver::builder(notifier).secret("It's a Secret to Everybody").build()?;
//! let app: axum::Router = axum::Router::new().route_service("/foreman/{token}", receiver);
//! # Ok::<(), foreman_client::Error>(())
//! ```
//!
//! The receiver bounds the body, in size and in time. All that comes before is the server's: a time-out for the headers, a
//! cap on connections, a cap on headers. `axum::serve` sets none of them; a server that strangers reach needs all.
//!
//! # On a socket of its own
//!
//! ```
//! # tokio_test::block_on(async {
//! use foreman_client::Notifier;
//! use foreman_client::webhook::{WebhookListener, WebhookReceiver};
//!
//! let receiver = WebhookReceiver::new(Notifier::new());
//! let listener = WebhookListener::builder(receiver).bind(([127, 0, 0, 1], 0).into()).await?;
//! assert_ne!(listener.local_addr().port(), 0);
//! listener.shutdown().await;
//! # Ok::<(), foreman_client::Error>(())
//! # }).unwrap();
//! ```
//!
//! # With and without a secret
//!
//! With a secret an event must be signed, and its body is then the job's result. Without one, knowing the token is all that
//! an event shows for itself: it is a hint to ask the daemon, and nothing in it is believed.
//!
//! # What is answered
//!
//! | status | to what |
//! |---|---|
//! | 204 | all that is authentic: news, duplicates, late events, and hints where there is no secret |
//! | 400 | authentic, and not the JSON of a job |
//! | 401 | an event that is not the daemon's, too old, or of another job; the same for every reason |
//! | 404 | a token that leads nowhere; the body is not read |
//! | 405 | anything but POST |
//! | 408 | a body that broke off or took too long |
//! | 413 | a body over the limit, declared or sent |
//! | 415 | a compressed body |
//! | 503 | too many connections, or closed; with `Retry-After` |
//!
//! All answers are empty. A `Content-Type` is not asked for, since the signature and the JSON say more. The 400 also goes to a
//! signed event: a 2xx would tell the daemon that it was understood, and a 5xx that the same bytes could be another time.
//! [`Notifier::stats`](crate::Notifier::stats) counts each refusal by its reason.

mod listener;
mod receiver;
mod route;
mod verify;

#[doc(inline)]
pub use foreman_protocol::webhook::Secret;

pub use self::listener::{WebhookListener, WebhookListenerBuilder};
pub use self::receiver::{ReceiverFuture, WebhookReceiver, WebhookReceiverBuilder};
pub(crate) use self::route::local_address_towards;
