use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use crate::Error;
use crate::submission::{InFlightRequest, SendingTo};

/// A request to one endpoint: one of the types in the table of the [module](super).
///
/// It is sealed. For an endpoint that this crate does not have, call the HTTP service below [`Api`](super::Api).
pub trait Call: Endpoint<Output = <Self as Call>::Response> {
    /// The result of the call.
    type Response;
}

impl<C: Endpoint> Call for C {
    type Response = C::Output;
}

/// Converts a request to HTTP, and an HTTP response to the result of the call.
///
/// It has no I/O and no clock. [`Api`](super::Api) adds the base URL, the token, the timeout and the size limit.
pub trait Endpoint {
    /// The result of the call.
    type Output;

    /// The HTTP method.
    const METHOD: Method;

    /// The path and query below the base URL. It begins with `/`; variable parts are percent-encoded.
    fn path(&self) -> Cow<'static, str>;

    /// Adds headers. `Authorization`, and `Content-Type: application/json` if there is a body, are set already.
    fn headers(&self, headers: &mut HeaderMap) {
        let _ = headers;
    }

    /// The JSON body, if there is one.
    ///
    /// # Errors
    ///
    /// If the request cannot be written as JSON.
    fn body(&self) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    /// How long the daemon is asked to hold the response. The timeout is extended by it.
    fn long_poll(&self) -> Duration {
        Duration::ZERO
    }

    /// Adds facts about the call to an error, such as the idempotency key of a submission.
    fn annotate(&self, error: Error) -> Error {
        error
    }

    /// Parses a response of any status.
    ///
    /// # Errors
    ///
    /// If the status is not the success status of the endpoint, or the body is not valid.
    fn response(&self, response: Response<Bytes>) -> Result<Self::Output, Error>;

    /// The call is about to be sent. Returns what follows it until the response.
    ///
    /// # Errors
    ///
    /// If it must not be sent to this daemon.
    fn send_to(&self, daemon: &SendingTo) -> Result<Option<InFlightRequest>, Error> {
        let _ = daemon;
        Ok(None)
    }

    /// The response to what [`send_to`](Self::send_to) returned.
    fn sent(&self, send: InFlightRequest, result: &Result<Self::Output, Error>) {
        let _ = (send, result);
    }
}
