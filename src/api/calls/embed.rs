use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::{EmbedRequest, EmbedResponse, Error};

impl Endpoint for EmbedRequest {
    type Output = EmbedResponse;

    const METHOD: Method = Method::POST;

    fn path(&self) -> Cow<'static, str> {
        "/api/embed".into()
    }

    fn body(&self) -> Result<Option<Bytes>, Error> {
        let body = serde_json::to_vec(self)
            .map_err(|error| Error::invalid("embed request", "cannot be written as JSON").with_source(error))?;
        Ok(Some(body.into()))
    }

    fn response(&self, response: Response<Bytes>) -> Result<EmbedResponse, Error> {
        let response: EmbedResponse = json(&response, StatusCode::OK)?;
        let (asked, given) = (self.input().texts().len(), response.embeddings.len());
        if asked == given {
            return Ok(response);
        }
        Err(Error::response(format!("{given} embeddings for {asked} texts")))
    }
}
