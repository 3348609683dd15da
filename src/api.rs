//! The daemon's endpoints as tower services: [`Api`], and one [`Call`] for each endpoint.
//!
//! [`Api<T>`](Api) is a leaf over any HTTP service: whatever should see HTTP requests (tracing, decompression, a proxy, a test
//! double) goes below it, and whatever should see submissions or polls goes above. It is a `Service` of every [`Call`]:
//!
//! | call | endpoint | answers |
//! |---|---|---|
//! | [`SubmitRequest`](crate::SubmitRequest) | `POST /jobs` | [`Accepted`] |
//! | [`GetJob`] | `GET /jobs/{id}` | [`Polled`] |
//! | [`CancelJob`] | `DELETE /jobs/{id}` | [`JobStatus`](crate::JobStatus) |
//! | [`ListJobs`] | `GET /jobs` | [`JobPage`] |
//! | [`ListModels`] | `GET /api/tags` | a list of [`ModelInfo`](crate::ModelInfo) |
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
//! An `Api` answers with an error for everything but the status that its endpoint has for success; redirects are not followed.
//! Each exchange is bounded in time ([`Api::exchange_timeout`]) and in size ([`Api::max_answer`]).

mod answer;
mod call;
mod calls;
mod exchange;
mod http_service;
mod service;
mod transport;

#[doc(inline)]
pub use foreman_protocol::BaseUrl;

pub use self::call::Call;
pub(crate) use self::calls::cannot_cancel;
pub use self::calls::{Accepted, CancelJob, GetJob, JobPage, ListJobs, ListModels, Polled};
pub use self::exchange::Exchange;
pub use self::http_service::HttpService;
pub use self::service::Api;
pub use self::transport::{Sending, Transport, TransportBuilder};
