use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::encoded;
use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::error::Kind;
use crate::{Error, JobId, JobStatus};

/// Cancels a job (`DELETE /jobs/{id}`), which then ends in state `failed` with the error `cancelled`.
///
/// The daemon returns 409 if the job is terminal already. It returns 404 if it does not know the job, or if it does not support
/// cancelling; [`Client::cancel`](crate::Client::cancel) finds out which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelJob(pub JobId);

impl Endpoint for CancelJob {
    type Output = JobStatus;

    const METHOD: Method = Method::DELETE;

    fn path(&self) -> Cow<'static, str> {
        format!("/jobs/{}", encoded(self.0.as_str())).into()
    }

    fn response(&self, response: Response<Bytes>) -> Result<JobStatus, Error> {
        match response.status() {
            status @ (StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => Err(cannot_cancel(status)),
            _ => json(&response, StatusCode::ACCEPTED),
        }
    }
}

/// The error for a daemon without the endpoint.
pub(crate) fn cannot_cancel(status: StatusCode) -> Error {
    Error::new(Kind::Unsupported { feature: "cancelling jobs", status })
}
