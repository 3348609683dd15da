use axum::RequestPartsExt as _;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::Rejection;
use crate::JobId;

/// The job id in a path. An invalid id is rejected like that of an unknown job.
pub(super) struct JobPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let path = parts.extract::<Path<String>>().await;
        let id = path.ok().and_then(|Path(id)| JobId::new(id).ok());
        id.map(Self).ok_or_else(Rejection::unknown_job)
    }
}
