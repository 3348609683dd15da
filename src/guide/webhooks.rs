//! Results behind NAT, by webhooks on a port of the client's own, or by a receiver in your router.
//!
//! A webhook needs an address at which the daemon reaches this process. There are three cases.
//!
//! # No such address: the event stream
//!
//! Behind NAT, or in a cluster without ingress, turn webhooks off:
//!
//! ```no_run
//! # async fn example() -> Result<(), foreman_client::Error> {
//! let client = foreman_client::Client::builder("http://gpu-box:11435")
//!     .polling()
//!     .build()
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! The client then binds nothing. From a daemon with event streams (`GET /events`) it reads the events of all jobs that it
//! submits by one outgoing connection, and a result comes as soon as by a webhook. While that stream is open, such a job is
//! polled every five minutes only. A job of another process, attached to by its id, is polled. The stream is silent for at most
//! 15 s at a time. A proxy between client and daemon that holds it back costs speed only: the jobs are polled.
//!
//! [`WaitStats::finished_by_event_stream`](crate::wait::WaitStats::finished_by_event_stream) shows that it works: it grows, and `polls` does
//! not.
//!
//! A daemon without event streams that supports long polls holds each poll until the state changes; other daemons are polled by the
//! [`PollPolicy`](crate::source::PollPolicy). A client sends at most 200 polls a second, whatever the number of its waits:
//! [`WaitStats::poll_backlog`](crate::wait::WaitStats::poll_backlog) shows how long that delays a poll. If it has more short jobs than
//! that, raise [`max_rate`](crate::source::PollPolicyBuilder::max_rate).
//!
//! A client with webhooks uses the event stream too, as long as no webhook has come, and after one was missed. Without a secret each
//! webhook causes a poll, so `polling` is the cheaper choice at a daemon with event streams.
//!
//! # A port of its own: the default
//!
//! [`Client::builder`](crate::Client::builder) binds a listener to a free port of the local address from which the daemon is reached. If it cannot be bound, the client polls, and logs that once at `warn`. Choose the port with
//! [`listen`](crate::ClientBuilder::listen), for a firewall rule for example. If the daemon reaches the port under another address,
//! set [`public_url`](crate::ClientBuilder::public_url).
//!
//! # Mounted in your router
//!
//! A service that is reached through a reverse proxy or an ingress mounts the receiver in its own router, and needs no second port:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::webhook::WebhookReceiver;
//! use foreman_client::{Client, Notifier};
//!
//! let notifier = Notifier::new();
//! let receiver = WebhookReceiver::builder(notifier.clone())
//!     .secret("the secret that the daemon signs with")
//!     .build()?;
//! let client = Client::builder("http://gpu-box:11435")
//!     .notifier(notifier)
//!     .public_url("https://gateway.example/foreman")
//!     .build()
//!     .await?;
//! let app: axum::Router =
//!     axum::Router::new().route_service("/foreman/{token}", receiver);
//! # Ok(()) }
//! ```
//!
//! # One listener for several daemons
//!
//! Each client binds a port of its own unless set otherwise. The clients of a [`Pool`](crate::Pool), or any others of one process, can
//! share one listener, and each has the secret of its daemon:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::Client;
//! use foreman_client::wait::WebhookEndpoint;
//!
//! // An address of this machine that the daemons reach.
//! let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await?;
//! let gpu_1 = Client::builder("http://127.0.0.1:11435")
//!     .webhooks(webhooks.clone())
//!     .webhook_secret("the secret of gpu-1")
//!     .build()
//!     .await?;
//! let gpu_2 = Client::builder("http://127.0.0.1:11436")
//!     .webhooks(webhooks)
//!     .webhook_secret("the secret of gpu-2")
//!     .build()
//!     .await?;
//! # let _ = (gpu_1, gpu_2);
//! # Ok(()) }
//! ```
//!
//! An event is accepted only with the secret of the daemon that the job was submitted to. If one daemon reaches the listener at another
//! address than the others, set [`public_url`](crate::ClientBuilder::public_url) of its client. The listener stays open as long as one of
//! the clients uses it.
//!
//! With a mounted receiver, give all clients its notifier, and each its own
//! [`webhook_secret`](crate::ClientBuilder::webhook_secret). Secrets of the receiver are for the clients without one.
//!
//! # Several replicas
//!
//! Several replicas of a service must not have one public URL: an event that reaches a replica other than the one that waits is refused
//! there, and the wait ends by a poll. Give each replica a public URL of
//! its own, or turn webhooks off: each client has an event stream of its own.
//!
//! # How far a webhook is trusted
//!
//! The last segment of a callback URL is a random token, which identifies the submission and is known only to its daemon. With a
//! secret, an event must also be signed, and then a terminal event is the result. Without a secret an event is a hint: the client
//! polls at once. An event of the event stream is the result, because it comes by a request of the client. Polls continue
//! underneath, every 30 s while webhooks work, so that a lost event delays a result and never loses it. A poll that failed
//! is repeated after 250 ms, then with backoff. If two requests, 200 ms apart, have had no response from the daemon, all waits poll within
//! a second or so, until the daemon responds again.
//!
//! [`Client::stats`](crate::Client::stats) counts the sources and each refused request by its reason. `rescued` counts
//! the jobs whose webhook has not come within 5 s of the poll that found their end: webhooks get lost on their way.
