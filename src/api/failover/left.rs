use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::BoxError;

/// The address of an event stream is no longer the one in use: in the extensions of its response.
#[derive(Debug, Clone)]
pub(super) struct Left(pub(super) CancellationToken);

/// A body that ends with an error when its address is left.
pub(in crate::api) struct UntilLeft<B> {
    body: Pin<Box<B>>,
    left: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<B> UntilLeft<B> {
    pub(in crate::api) fn new(mut response: Response<B>) -> Self {
        let left = response.extensions_mut().remove::<Left>();
        let left = left.map(|Left(token)| Box::pin(token.cancelled_owned()));
        Self { body: Box::pin(response.into_body()), left }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for UntilLeft<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Some(left) = &mut self.left
            && left.as_mut().poll(cx).is_ready()
        {
            self.left = None;
            return Poll::Ready(Some(Err("another address of the daemon is in use".into())));
        }
        self.body.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
