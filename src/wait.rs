//! Waiting is a layer: [`WaitLayer`] turns a service that submits into one that resolves to the finished job.
//!
//! [`Wait<S, P>`](Wait) is a `Service<SubmitRequest, Response = JobResult>` over `S`, which submits, and `P`, which asks for the
//! state. It is a `Service<JobId, Response = JobResult>` too, which attaches to a job that runs already. Its future is
//! [`JobWait`].

mod abandon;
mod future;
mod layer;
mod machine;
mod push;
mod service;
mod shared;
mod stats;
mod step;

pub use self::future::JobWait;
pub use self::layer::{WaitLayer, WaitLayerBuilder};
pub use self::push::Push;
pub use self::service::Wait;
pub use self::stats::WaitStats;
