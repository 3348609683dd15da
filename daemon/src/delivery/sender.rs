use std::time::{Duration, SystemTime};

use bytes::Bytes;
use foreman_protocol::webhook::{FOREMAN_SIGNATURE, Secret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;

use super::Policy;
use super::connect::{Connector, is_forbidden};
use crate::BoxError;
use crate::faults::{Faults, Spoilt};
use crate::store::Delivery;

/// How long an attempt may take, from connecting to the answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection is kept for the next event.
const IDLE: Duration = Duration::from_secs(15);
/// How much of an answer is read, in bytes, for its connection to be used again.
const ANSWER: usize = 4 * 1024;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes one attempt.
#[derive(Debug)]
pub(crate) struct Sender {
    secret: Option<Secret>,
    pub(super) faults: Option<Faults>,
    plain: Client<Connector, Full<Bytes>>,
    #[cfg(feature = "tls")]
    secure: super::tls::Secure,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Sent {
    Answered {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    /// No answer, or not in time.
    Broken,
    /// To an address that nothing is sent to.
    Forbidden,
}

impl Sender {
    pub(crate) fn new(secret: Option<Secret>, policy: Policy, faults: Option<Faults>) -> Self {
        let connector = Connector::new(policy);
        let plain = connections().build(connector.clone());
        Self {
            secret,
            faults,
            plain,
            #[cfg(feature = "tls")]
            secure: super::tls::Secure::new(connector),
        }
    }

    /// The same, which trusts these too.
    #[cfg(feature = "tls")]
    pub(crate) fn with_roots(mut self, roots: super::Roots) -> Self {
        self.secure.roots = roots;
        self
    }

    pub(super) async fn send(&self, mail: &Delivery) -> Sent {
        let Some(faults) = &self.faults else { return self.attempt(mail, Spoilt::default()).await };
        if faults.silences(mail) {
            return Sent::Answered { status: StatusCode::NO_CONTENT, retry_after: None };
        }
        let sent = self.attempt(mail, faults.spoils(mail, self.secret.is_some())).await;
        if matches!(&sent, Sent::Answered { status, .. } if status.is_success()) && faults.duplicates(mail) {
            self.attempt(mail, Spoilt::default()).await;
        }
        sent
    }

    async fn attempt(&self, mail: &Delivery, spoilt: Spoilt) -> Sent {
        match tokio::time::timeout(PATIENCE, self.exchange(mail, spoilt)).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(error)) if is_forbidden(error.as_ref()) => Sent::Forbidden,
            Ok(Err(error)) => {
                tracing::debug!(error, "a webhook found no answer");
                Sent::Broken
            }
            Err(_) => Sent::Broken,
        }
    }

    async fn exchange(&self, mail: &Delivery, spoilt: Spoilt) -> Result<Sent, BoxError> {
        let request = self.event(spoilt.mail(mail)?.as_ref())?;
        let response = self.request(spoilt.request(mail, request)?).await?;
        let status = response.status();
        let retry_after = foreman_protocol::retry_after(response.headers(), SystemTime::now());
        drain(response.into_body()).await;
        Ok(Sent::Answered { status, retry_after })
    }

    async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, BoxError> {
        if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
            #[cfg(feature = "tls")]
            return Ok(self.secure.client()?.request(request).await?);
            // A file has it from a daemon that can.
            #[cfg(not(feature = "tls"))]
            return Err("this daemon cannot send to https".into());
        }
        Ok(self.plain.request(request).await?)
    }

    /// The event as it goes over the wire, signed over these very bytes.
    fn event(&self, mail: &Delivery) -> Result<Request<Full<Bytes>>, BoxError> {
        let body = serde_json::to_vec(&*mail.status)?;
        let timestamp = Timestamp::now().as_second();
        let mut request = Request::post(mail.to.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("foreman/", env!("CARGO_PKG_VERSION")))
            .header(WEBHOOK_ID, &*mail.event_id)
            .header(WEBHOOK_TIMESTAMP, timestamp);
        if let Some(secret) = &self.secret {
            request = request
                .header(FOREMAN_SIGNATURE, secret.sign(&body))
                .header(WEBHOOK_SIGNATURE, secret.sign_standard(&mail.event_id, timestamp, &body));
        }
        if let Some(traceparent) = &mail.to.traceparent {
            request = request.header(TRACEPARENT, traceparent);
        }
        Ok(request.body(Full::from(body))?)
    }
}

/// How connections are kept, over `https` or not.
pub(super) fn connections() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(4);
    builder
}

/// Reads a short answer to its end. What is longer costs its connection, and what breaks off says nothing about the event:
/// the status was there.
async fn drain(mut body: Incoming) {
    let mut left = ANSWER;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}
