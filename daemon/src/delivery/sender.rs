use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use tower::Service;

use super::connect::{Connector, client_builder, is_forbidden};
use super::{DeliveryOutcome, Policy, Webhook};
use crate::BoxError;
use crate::failure::failure;

/// The timeout of an attempt, from connecting to the end of the response.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest response body that is read so that its connection can be reused, in bytes.
const MAX_RESPONSE_BODY: usize = 4 * 1024;

/// Sends webhooks: a service that makes one attempt. It is always ready.
#[derive(Debug, Clone)]
pub(crate) struct WebhookSender(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    http: Client<Connector, Full<Bytes>>,
    #[cfg(feature = "tls")]
    https: super::tls::HttpsClient,
}

impl WebhookSender {
    pub(crate) fn new(policy: Policy, #[cfg(feature = "tls")] roots: super::Roots) -> Self {
        let connector = Connector::new(policy);
        Self(Arc::new(Clients {
            http: client_builder().build(connector.clone()),
            #[cfg(feature = "tls")]
            https: super::tls::HttpsClient::new(connector, roots),
        }))
    }
}

impl Service<Webhook> for WebhookSender {
    type Response = DeliveryOutcome;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<DeliveryOutcome, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, webhook: Webhook) -> Self::Future {
        let clients = Arc::clone(&self.0);
        Box::pin(async move { Ok(clients.attempt(webhook).await) })
    }
}

impl Clients {
    async fn attempt(&self, webhook: Webhook) -> DeliveryOutcome {
        let job_id = webhook.delivery.job_id;
        match tokio::time::timeout(ATTEMPT_TIMEOUT, self.exchange(webhook.request)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) if is_forbidden(error.as_ref()) => {
                tracing::warn!(%job_id, error = %failure(error.as_ref()), "webhook not sent");
                DeliveryOutcome::Forbidden
            }
            Ok(Err(error)) => {
                tracing::debug!(%job_id, error = %failure(error.as_ref()), "webhook failed");
                DeliveryOutcome::Failed
            }
            Err(_) => {
                tracing::debug!(%job_id, "webhook timed out");
                DeliveryOutcome::Failed
            }
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<DeliveryOutcome, BoxError> {
        let response = self.send(request.map(Full::from)).await?;
        let status = response.status();
        let retry_after = foreman_protocol::retry_after(response.headers(), SystemTime::now());
        drain(response.into_body()).await;
        Ok(DeliveryOutcome::Response { status, retry_after })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, BoxError> {
        if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
            #[cfg(feature = "tls")]
            return Ok(self.https.get()?.request(request).await?);
            // A build with TLS may have stored such a URL.
            #[cfg(not(feature = "tls"))]
            return Err("https needs the feature `tls`".into());
        }
        Ok(self.http.request(request).await?)
    }
}

/// Reads a short response body to its end, so that the connection can be reused. A longer body costs its connection. A body that
/// breaks off changes nothing: the status has arrived.
async fn drain(mut body: Incoming) {
    let mut left = MAX_RESPONSE_BODY;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}
