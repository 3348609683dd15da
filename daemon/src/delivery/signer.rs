use bytes::Bytes;
use foreman_protocol::webhook::{FOREMAN_SIGNATURE, Secret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use http::{HeaderName, Request, header};
use jiff::Timestamp;

use super::Webhook;
use crate::BoxError;
use crate::store::Delivery;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Renders deliveries as HTTP requests and signs them. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    /// Without one, webhooks are not signed.
    secret: Option<Secret>,
}

impl Signer {
    pub(crate) fn new(secret: Option<Secret>) -> Self {
        Self { secret }
    }

    /// The webhook of a delivery, with the current time as its timestamp.
    pub(crate) fn sign(&self, delivery: Delivery) -> Result<Webhook, BoxError> {
        let body = serde_json::to_vec(&*delivery.status)?;
        let timestamp = Timestamp::now().as_second();
        let mut request = Request::post(delivery.to.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("foreman/", env!("CARGO_PKG_VERSION")))
            .header(WEBHOOK_ID, &*delivery.event_id)
            .header(WEBHOOK_TIMESTAMP, timestamp);
        if let Some(secret) = &self.secret {
            request = request
                .header(FOREMAN_SIGNATURE, secret.sign(&body))
                .header(WEBHOOK_SIGNATURE, secret.sign_standard(&delivery.event_id, timestamp, &body));
        }
        if let Some(traceparent) = &delivery.to.traceparent {
            request = request.header(TRACEPARENT, traceparent);
        }
        let request = request.body(Bytes::from(body))?;
        Ok(Webhook { delivery, request })
    }
}
