use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::{Error, ModelInfo};

/// Lists the models that the daemon can run (`GET /api/tags`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListModels;

impl Endpoint for ListModels {
    type Output = Vec<ModelInfo>;

    const METHOD: Method = Method::GET;

    fn path(&self) -> Cow<'static, str> {
        "/api/tags".into()
    }

    fn response(&self, response: Response<Bytes>) -> Result<Vec<ModelInfo>, Error> {
        #[derive(Deserialize)]
        struct Tags {
            models: Option<Vec<ModelInfo>>,
        }
        let tags: Tags = json(&response, StatusCode::OK)?;
        Ok(tags.models.unwrap_or_default())
    }
}
