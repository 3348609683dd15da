//! The endpoints of the daemon as tower services: [`Api`], and one [`Call`] for each endpoint.
//!
//! Use it directly for a single request without waiting, or as the innermost part of a stack of your own. [`Api<T>`](Api) is a leaf
//! over any HTTP service. A layer for HTTP requests (tracing, decompression, a proxy, a test double) goes below it; a layer for
//! submissions or polls goes above it. It is a `Service` of every [`Call`]:
//!
//! | call | endpoint | response |
//! |---|---|---|
//! | [`SubmitRequest`](crate::SubmitRequest) | `POST /jobs` | [`Accepted`] |
//! | [`GetJob`] | `GET /jobs/{id}` | [`Polled`] |
//! | [`CancelJob`] | `DELETE /jobs/{id}` | [`JobStatus`](crate::JobStatus) |
//! | [`ListJobs`] | `GET /jobs` | [`JobPage`] |
//! | [`ListModels`] | `GET /api/tags` | a list of [`ModelInfo`](crate::ModelInfo) |
//! | [`ListBoxes`] | `GET /api/boxes` | a list of [`BoxInfo`](crate::BoxInfo) |
//! | [`DrainBox`], [`UndrainBox`] | `PUT` and `DELETE /api/boxes/{id}/drain` | [`BoxInfo`](crate::BoxInfo) |
//! | [`EmbedRequest`](crate::EmbedRequest) | `POST /api/embed` | [`EmbedResponse`](crate::EmbedResponse) |
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::api::{Api, BaseUrl, ListModels, Transport};
//! use tower::ServiceExt;
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let base: BaseUrl = url.parse()?;
//! let api = Api::new(base.clone(), Transport::new(&base)?);
//! let models = api.oneshot(ListModels).await?;
//! # assert_eq!(models[0].name, "echo");
//! # Ok(()) }
//! ```
//!
//! Every status other than the success status of the endpoint is an error. Redirects are not followed. Each request has a timeout
//! ([`Api::request_timeout`]) and each response a size limit ([`Api::max_response_size`]).

mod call;
mod calls;
mod cancel;
mod event_stream;
mod failover;
mod future;
mod http_service;
mod response;
mod service;
mod transport;

#[doc(inline)]
pub use foreman_protocol::BaseUrl;

pub use self::call::Call;
pub use self::calls::{
    Accepted, CancelJob, DrainBox, GetJob, JobPage, ListBoxes, ListJobs, ListModels, Polled, UndrainBox,
};
pub(crate) use self::cancel::cancel_job;
pub(crate) use self::event_stream::{EventStreamBody, NoEventStream, OpenEventStream};
pub(crate) use self::failover::{Addresses, Tried};
pub use self::failover::{Failover, FailoverFuture, FailoverLayer};
pub use self::future::ApiFuture;
pub use self::http_service::HttpService;
pub use self::service::Api;
pub(crate) use self::service::REQUEST_TIMEOUT;
pub use self::transport::{Transport, TransportBuilder, TransportFuture};
