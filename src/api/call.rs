use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use crate::Error;

/// One endpoint: how a request becomes HTTP, and how an answer becomes what the caller gets.
///
/// It is pure: no I/O, no clock. [`Api`](super::Api) adds the base URL, the token, the time-out and the size limit. A request
/// type of your own that implements it can be sent by the same `Api`.
pub trait Call {
    /// What the caller gets.
    type Response;

    /// The method.
    const METHOD: Method;

    /// The path and query below the base URL: begins with `/`, and whatever is not fixed in it is percent-encoded.
    fn path(&self) -> Cow<'static, str>;

    /// Adds headers of its own. `Authorization` and `Content-Type: application/json` (where there is a body) are there already.
    fn headers(&self, headers: &mut HeaderMap) {
        let _ = headers;
    }

    /// The JSON to send, if there is any.
    ///
    /// # Errors
    ///
    /// When the request cannot be written.
    fn body(&self) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    /// For how long the daemon was asked to hold its answer; the exchange may last so much longer.
    fn long_poll(&self) -> Duration {
        Duration::ZERO
    }

    /// Adds what is known of the call to an error of the exchange, such as the key of a submission.
    fn annotate(&self, error: Error) -> Error {
        error
    }

    /// Reads an answer of any status.
    ///
    /// # Errors
    ///
    /// When the answer is not the one for success.
    fn response(&self, response: Response<Bytes>) -> Result<Self::Response, Error>;
}
