use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreman_protocol::http1::ByteBudget;
use foreman_protocol::webhook::Secret;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::Empty;
use jiff::Timestamp;
use tokio::time::Instant;
use tower::Service;

use super::body::ReadBody;
use super::builder::{ReceiverLimits, TOLERANCE, WebhookReceiverBuilder};
use super::future::ReceiverFuture;
use super::response;
use crate::source::{Recipient, RefusalReason};
use crate::submission::{EventOutcome, Trust};
use crate::webhook::verify::Verifier;
use crate::{BoxError, JobStatus, Notifier};

/// Accepts webhooks and passes their events to the submissions that are registered in a [`Notifier`].
///
/// It is a [`tower::Service`] for HTTP requests with any type of body. It is always ready and never fails: each request
/// gets a response. Mount it in the router of an existing server, or pass it to a
/// [`WebhookListener`](crate::webhook::WebhookListener). The [module docs](crate::webhook) compare the two, and list
/// the [responses](crate::webhook#responses).
///
/// Cloning is cheap. All clones are the same receiver: they share the notifier and the closed state.
///
/// The response futures need a tokio runtime with time enabled.
#[derive(Clone)]
pub struct WebhookReceiver(Arc<Inner>);

struct Inner {
    notifier: Notifier,
    /// For the clients that have no secrets of their own. `None` without a secret.
    verifier: Option<Verifier>,
    /// Of timestamps, for the clients that have.
    tolerance: Duration,
    limits: ReceiverLimits,
    budget: ByteBudget,
    closed: AtomicBool,
}

impl WebhookReceiver {
    /// Creates a receiver without a secret and with the default limits.
    ///
    /// It treats each event as a hint, unless the client of the submission has a secret. Use [`builder`](Self::builder) to set one for
    /// all clients.
    #[must_use]
    pub fn new(notifier: Notifier) -> Self {
        Self::from_parts(notifier, Vec::new(), TOLERANCE, ReceiverLimits::default())
    }

    /// Returns a builder for a receiver with secrets or with other limits.
    pub fn builder(notifier: Notifier) -> WebhookReceiverBuilder {
        WebhookReceiverBuilder::new(notifier)
    }

    pub(super) fn from_parts(
        notifier: Notifier,
        secrets: Vec<Secret>,
        tolerance: Duration,
        limits: ReceiverLimits,
    ) -> Self {
        let verifier = (!secrets.is_empty()).then(|| Verifier::new(secrets, tolerance));
        let budget = ByteBudget::new(limits.body_budget());
        Self(Arc::new(Inner { notifier, verifier, tolerance, limits, budget, closed: AtomicBool::new(false) }))
    }

    /// Closes the receiver and all its clones, permanently.
    ///
    /// Each later request gets a 503 with `Retry-After`. A request whose body is being read completes, and its event is
    /// delivered.
    ///
    /// The waits go on, and poll as often as without webhooks until an event comes by another receiver of the notifier.
    pub fn close(&self) {
        self.0.closed.store(true, Relaxed);
        self.0.notifier.interrupt();
    }

    /// Returns the notifier that this receiver passes events to.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.0.notifier
    }

    pub(super) fn budget(&self) -> &ByteBudget {
        &self.0.budget
    }

    /// Handles one request. Its body must arrive before `deadline` and within the read timeout. `draining`: its server is about to stop.
    pub(in crate::webhook) fn receive<B: Body>(
        &self,
        request: Request<B>,
        deadline: Option<Instant>,
        draining: bool,
    ) -> ReceiverFuture<B> {
        let recipient = match self.check_head(&request, draining) {
            Ok(recipient) => recipient,
            Err(reason) => return ReceiverFuture::refused(self.respond(Err(reason), request.version())),
        };
        let (head, body) = request.into_parts();
        let limits = self.0.limits;
        ReceiverFuture::reading(
            self.clone(),
            recipient,
            head.headers,
            head.version,
            ReadBody::new(body, limits.max_body, limits.read_timeout, deadline),
        )
    }

    /// Runs the checks that do not need the body, the cheapest first, and finds the submission by its callback token.
    fn check_head<B: Body>(&self, request: &Request<B>, draining: bool) -> Result<Recipient, RefusalReason> {
        if self.0.closed.load(Relaxed) {
            return Err(RefusalReason::Overload);
        }
        if request.method() != Method::POST {
            return Err(RefusalReason::Method);
        }
        let path = request.uri().path();
        let start = path.bytes().rposition(|byte| byte == b'/').map_or(0, |slash| slash + 1);
        let recipient = self.0.notifier.find(&path[start..], draining).ok_or(RefusalReason::UnknownToken)?;
        // A few bytes of gzip can decompress to gigabytes of JSON.
        let encodings = request.headers().get_all(CONTENT_ENCODING);
        if !encodings.iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(RefusalReason::MediaType);
        }
        // The header counts too, because a layer between the server and this service may have lost the size hint of the
        // body.
        let header = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let declared = request.body().size_hint().lower().max(header.unwrap_or(0));
        if usize::try_from(declared).is_ok_and(|bytes| bytes <= self.0.limits.max_body) {
            Ok(recipient)
        } else {
            recipient.oversized_event();
            Err(RefusalReason::TooLarge)
        }
    }

    /// Verifies the signature, parses the event and passes it to the submission, in this order: unverified bytes are
    /// not parsed.
    pub(super) fn deliver(
        &self,
        recipient: &Recipient,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<EventOutcome, RefusalReason> {
        let trust = self.verify(recipient, headers, body)?;
        if recipient.is_over() {
            let outcome = recipient.late_event();
            tracing::debug!(?outcome, "webhook accepted");
            return Ok(outcome);
        }
        let status: JobStatus = serde_json::from_slice(body).map_err(|_| RefusalReason::Json)?;
        // Copied only if somebody reads the log.
        let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| (status.job_id.clone(), status.state.clone()));
        match recipient.event(status, trust) {
            EventOutcome::WrongJob => Err(RefusalReason::WrongJob),
            outcome => {
                if let Some((job_id, state)) = logged {
                    tracing::debug!(%job_id, state = state.as_str(), ?outcome, "webhook accepted");
                }
                Ok(outcome)
            }
        }
    }

    /// Only the secrets of the daemon that the submission was sent to count: the others that share the receiver may be of other owners.
    /// The token names them, so a late event takes the same checks and the same time as one that is waited for.
    fn verify(&self, recipient: &Recipient, headers: &HeaderMap, body: &[u8]) -> Result<Trust, RefusalReason> {
        let of_client = recipient.client_secrets().map(|secrets| Verifier::new(secrets, self.0.tolerance));
        let Some(verifier) = of_client.as_ref().or(self.0.verifier.as_ref()) else { return Ok(Trust::TokenOnly) };
        verifier.verify(headers, body, Timestamp::now().as_second())?;
        Ok(Trust::Signed)
    }

    pub(super) fn respond(
        &self,
        outcome: Result<EventOutcome, RefusalReason>,
        version: Version,
    ) -> Response<Empty<Bytes>> {
        match outcome {
            Ok(_) => response::accepted(),
            Err(reason) => {
                self.record_refusal(reason);
                response::refusal(reason, version)
            }
        }
    }

    /// Counts and logs a refusal. The log does not contain the path, because its last segment is the callback token.
    pub(in crate::webhook) fn record_refusal(&self, reason: RefusalReason) {
        self.0.notifier.refused(reason);
        tracing::debug!(?reason, "webhook refused");
    }
}

impl<B> Service<Request<B>> for WebhookReceiver
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = ReceiverFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ReceiverFuture<B> {
        self.receive(request, None, false)
    }
}

impl fmt::Debug for WebhookReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookReceiver")
            .field("notifier", &self.0.notifier)
            .field("signed", &self.0.verifier.is_some())
            .field("limits", &self.0.limits)
            .field("closed", &self.0.closed)
            .finish()
    }
}
