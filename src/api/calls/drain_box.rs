use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::encoded;
use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::{BoxInfo, Error};

/// Drains a daemon, by its [`BoxInfo::id`] (`PUT /api/boxes/{id}/drain`): it takes no more jobs, and finishes those that it runs. Any daemon
/// that shares its queue takes the request, which needs the admin token of that daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainBox(pub String);

/// Lets a drained daemon take jobs again (`DELETE /api/boxes/{id}/drain`), as [`DrainBox`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndrainBox(pub String);

fn path(id: &str) -> Cow<'static, str> {
    format!("/api/boxes/{}/drain", encoded(id)).into()
}

impl Endpoint for DrainBox {
    type Output = BoxInfo;

    const METHOD: Method = Method::PUT;

    fn path(&self) -> Cow<'static, str> {
        path(&self.0)
    }

    fn response(&self, response: Response<Bytes>) -> Result<BoxInfo, Error> {
        json(&response, StatusCode::OK)
    }
}

impl Endpoint for UndrainBox {
    type Output = BoxInfo;

    const METHOD: Method = Method::DELETE;

    fn path(&self) -> Cow<'static, str> {
        path(&self.0)
    }

    fn response(&self, response: Response<Bytes>) -> Result<BoxInfo, Error> {
        json(&response, StatusCode::OK)
    }
}
