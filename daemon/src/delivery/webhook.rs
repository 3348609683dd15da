use bytes::Bytes;
use http::Request;

use crate::store::Delivery;

/// One attempt at a delivery, as the HTTP request that makes it.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) delivery: Delivery,
    /// Signed over these bytes of its body.
    pub(crate) request: Request<Bytes>,
}
