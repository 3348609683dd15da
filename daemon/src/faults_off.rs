//! The hooks of the module `faults` in a build without that feature: there can be no [`Faults`], so that none of them does
//! anything.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::Router;
use axum::response::Response;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio_util::sync::CancellationToken;

use crate::jobs::Jobs;
use crate::store::Delivery;
use crate::{BoxError, JobId};

#[derive(Debug, Clone)]
pub(crate) enum Faults {}

#[derive(Debug)]
pub(crate) enum Hold {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(dead_code, reason = "nothing is held")]
pub(crate) enum Next {
    Send,
    PutBehind,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spoilt(());

impl Faults {
    pub(crate) async fn begin(&self, _: &Jobs, _: &JobId, _: u64) -> bool {
        match *self {}
    }

    pub(crate) fn hold(&self, _: &Delivery) -> Option<Hold> {
        match *self {}
    }

    pub(crate) fn silences(&self, _: &Delivery) -> bool {
        match *self {}
    }

    pub(crate) fn spoils(&self, _: &Delivery, _: bool) -> Spoilt {
        match *self {}
    }

    pub(crate) fn duplicates(&self, _: &Delivery) -> bool {
        match *self {}
    }
}

impl Hold {
    pub(crate) async fn over(self, _: &Jobs, _: &Delivery, _: &CancellationToken) -> Next {
        match self {}
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as with faults")]
impl Spoilt {
    pub(crate) fn mail(self, mail: &Delivery) -> Result<Cow<'_, Delivery>, BoxError> {
        Ok(Cow::Borrowed(mail))
    }

    pub(crate) fn request(self, _: &Delivery, request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, BoxError> {
        Ok(request)
    }
}

pub(crate) fn around(router: Router, _: Option<Faults>) -> Router {
    router
}

pub(crate) fn unless_lost(answer: Result<Response, Infallible>) -> Result<Response, Infallible> {
    answer
}
