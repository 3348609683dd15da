use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::Empty;
use jiff::Timestamp;
use tokio::time::Instant;
use tower::Service;

use super::answer;
use super::body::ReadBody;
use super::builder::{Limits, WebhookReceiverBuilder};
use super::future::ReceiverFuture;
use crate::source::{RefusalReason, Registered};
use crate::submission::{CallbackToken, EventOutcome, Trust};
use crate::webhook::verify::Verifier;
use crate::{BoxError, JobStatus, Notifier};

/// Takes the daemon's events and hands them to the jobs that wait in a [`Notifier`].
///
/// A `tower::Service` for HTTP requests with any body, which is always ready and never fails: mount it in a server of yours, or
/// give it to a [`WebhookListener`](crate::webhook::WebhookListener). See the [module](crate::webhook) for how, and for what
/// it answers.
///
/// Cloning is cheap, and clones are the same receiver. Its futures need a tokio runtime with time enabled.
#[derive(Clone)]
pub struct WebhookReceiver(Arc<Inner>);

struct Inner {
    notifier: Notifier,
    /// `None` where there is no secret.
    verifier: Option<Verifier>,
    limits: Limits,
    closed: AtomicBool,
}

impl WebhookReceiver {
    /// A receiver without a secret, to which events are no more than hints.
    #[must_use]
    pub fn new(notifier: Notifier) -> Self {
        Self::with(notifier, None, Limits::default())
    }

    /// A receiver with secrets, or with limits of its own.
    pub fn builder(notifier: Notifier) -> WebhookReceiverBuilder {
        WebhookReceiverBuilder::new(notifier)
    }

    pub(super) fn with(notifier: Notifier, verifier: Option<Verifier>, limits: Limits) -> Self {
        Self(Arc::new(Inner { notifier, verifier, limits, closed: AtomicBool::new(false) }))
    }

    /// Answers all that comes from now on with 503 and `Retry-After`, on every clone, for good. What is being read already
    /// is still taken.
    pub fn close(&self) {
        self.0.closed.store(true, Relaxed);
    }

    /// The registry that it feeds.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.0.notifier
    }

    /// Takes an event whose body must be there by `until`, or within the read time-out if that is sooner.
    pub(in crate::webhook) fn receive<B: Body>(
        &self,
        request: Request<B>,
        until: Option<Instant>,
    ) -> ReceiverFuture<B> {
        let registered = match self.admit(&request) {
            Ok(registered) => registered,
            Err(why) => return ReceiverFuture::answered(self.answer(Err(why), request.version())),
        };
        let (head, body) = request.into_parts();
        let limits = self.0.limits;
        let until = [Instant::now().checked_add(limits.read_timeout), until].into_iter().flatten().min();
        ReceiverFuture::reading(
            self.clone(),
            registered,
            head.headers,
            head.version,
            ReadBody::new(body, limits.max_body, until),
        )
    }

    /// All that can be refused by the head alone, cheapest first.
    fn admit<B: Body>(&self, request: &Request<B>) -> Result<Registered, RefusalReason> {
        if self.0.closed.load(Relaxed) {
            return Err(RefusalReason::Overload);
        }
        if request.method() != Method::POST {
            return Err(RefusalReason::Method);
        }
        let token = request.uri().path().rsplit('/').next().and_then(CallbackToken::parse);
        let registered = token.and_then(|token| self.0.notifier.find(token)).ok_or(RefusalReason::UnknownToken)?;
        // A few bytes of gzip can be gigabytes of JSON.
        let encodings = request.headers().get_all(CONTENT_ENCODING);
        if !encodings.iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(RefusalReason::MediaType);
        }
        // A layer between the server and this may have lost the size that the body knew.
        let header = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let declared = request.body().size_hint().lower().max(header.unwrap_or(0));
        if usize::try_from(declared).is_ok_and(|bytes| bytes <= self.0.limits.max_body) {
            Ok(registered)
        } else {
            Err(RefusalReason::TooLarge)
        }
    }

    /// All that needs the body: is it the daemon's, is it an event, is it this job's.
    pub(super) fn judge(
        &self,
        registered: &Registered,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<EventOutcome, RefusalReason> {
        let trust = match &self.0.verifier {
            None => Trust::TokenOnly,
            Some(verifier) => {
                verifier.verify(headers, body, Timestamp::now().as_second())?;
                Trust::Signed
            }
        };
        let status: JobStatus = serde_json::from_slice(body).map_err(|_| RefusalReason::Json)?;
        match registered.event(status, trust) {
            EventOutcome::WrongJob => Err(RefusalReason::WrongJob),
            delivered => Ok(delivered),
        }
    }

    pub(super) fn answer(
        &self,
        judged: Result<EventOutcome, RefusalReason>,
        version: Version,
    ) -> Response<Empty<Bytes>> {
        match judged {
            Ok(delivered) => {
                tracing::debug!(?delivered, "took a webhook");
                answer::accepted()
            }
            Err(why) => {
                self.refused(why);
                answer::refused(why, version)
            }
        }
    }

    /// Counts and logs a refusal; not the path, which ends in the token.
    pub(in crate::webhook) fn refused(&self, why: RefusalReason) {
        self.0.notifier.refused(why);
        tracing::debug!(reason = ?why, "refused a webhook");
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
        self.receive(request, None)
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
