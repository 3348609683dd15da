use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full, Limited};
use jiff::Timestamp;
use tower::{Service as _, ServiceExt as _};

use super::*;
use crate::source::RefusalReason;
use crate::submission::KeepAlive;
use crate::webhook::Secret;
use crate::{BoxError, JobId, JobState, Notifier};

const SECRET: &str = "It's a Secret to Everybody";

/// A job that is registered with a notifier of its own.
struct RegisteredJob {
    notifier: Notifier,
    keep_alive: KeepAlive,
    token: String,
}

impl RegisteredJob {
    fn new() -> Self {
        Self::with(KeepAlive::existing_job(JobId::new("7").unwrap()))
    }

    fn with(keep_alive: KeepAlive) -> Self {
        let notifier = Notifier::new();
        let url = notifier.callback_url("", notifier.register(keep_alive.shared(), None).unwrap()).unwrap();
        let token = url[1..].to_owned();
        Self { notifier, keep_alive, token }
    }

    fn receiver(&self) -> WebhookReceiver {
        WebhookReceiver::new(self.notifier.clone())
    }

    fn receiver_with_secret(&self) -> WebhookReceiver {
        WebhookReceiver::builder(self.notifier.clone()).secret(SECRET).build().unwrap()
    }

    fn post<B>(&self, body: B) -> Request<B> {
        Request::post(format!("/foreman/{}", self.token)).body(body).unwrap()
    }

    fn post_signed(&self, body: &str) -> Request<Full<Bytes>> {
        let mut request = self.post(full(body));
        let signature = Secret::new(SECRET).unwrap().sign(body.as_bytes());
        request.headers_mut().insert("x-foreman-signature", signature.parse().unwrap());
        request
    }
}

fn full(body: &str) -> Full<Bytes> {
    Full::from(body.to_owned())
}

fn event(id: &str, state: &str) -> String {
    format!(r#"{{"job_id":"{id}","state":"{state}","result":{{"done":true}},"attempt":1}}"#)
}

async fn send<B>(receiver: &WebhookReceiver, request: Request<B>) -> Response<Empty<Bytes>>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    receiver.clone().oneshot(request).await.unwrap()
}

/// A body that panics when it is read.
struct UnreadBody;

impl Body for UnreadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was read");
    }
}

/// A body of several chunks without a size hint. After the last chunk it ends (`Some(Ok)`), fails (`Some(Err)`) or
/// stays pending (`None`).
struct Chunks(VecDeque<&'static str>, Option<Result<(), &'static str>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match (self.0.pop_front(), self.1) {
            (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))))),
            (None, Some(Ok(()))) => Poll::Ready(None),
            (None, Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            (None, None) => Poll::Pending,
        }
    }
}

fn chunks<const N: usize>(chunks: [&'static str; N], end: Option<Result<(), &'static str>>) -> Chunks {
    Chunks(chunks.into(), end)
}

#[tokio::test]
async fn signed_terminal_event_finishes_job_and_later_events_get_204() {
    let job = RegisteredJob::new();
    let receiver = job.receiver_with_secret();
    for state in ["queued", "running", "paused", "done", "done", "failed", "running"] {
        let response = send(&receiver, job.post_signed(&event("7", state))).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{state}");
        assert!(response.headers().is_empty());
    }
    let stats = job.notifier.stats();
    assert_eq!((stats.hints, stats.finished, stats.duplicates, stats.refusals()), (3, 1, 3, 0));
    assert_eq!(job.keep_alive.submission().last_state(), Some(JobState::Done));
}

#[tokio::test]
async fn event_without_secret_is_only_a_hint() {
    let job = RegisteredJob::new();
    let response = send(&job.receiver(), job.post(full(&event("7", "done")))).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let stats = job.notifier.stats();
    assert_eq!((stats.hints, stats.finished), (1, 0));
    assert_eq!(job.keep_alive.submission().last_state(), None);
}

#[tokio::test]
async fn signed_event_of_unknown_job_is_accepted_and_not_believed() {
    let job = RegisteredJob::with(KeepAlive::new_submission(None, None));
    assert_eq!(
        send(&job.receiver_with_secret(), job.post_signed(&event("9", "running"))).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(job.keep_alive.submission().job_id(), None);
}

#[tokio::test]
async fn event_of_abandoned_submission_is_late() {
    let RegisteredJob { notifier, keep_alive, token } = RegisteredJob::new();
    drop(keep_alive);
    let request = Request::post(format!("/{token}")).body(full(&event("7", "done"))).unwrap();
    let response = send(&WebhookReceiver::new(notifier.clone()), request).await;
    assert_eq!((response.status(), notifier.stats().late), (StatusCode::NO_CONTENT, 1));
}

#[tokio::test]
async fn token_is_last_path_segment() {
    let job = RegisteredJob::new();
    let token = &job.token;
    for (path, status) in [
        (format!("/{token}"), 204),
        (format!("/a/b/c/{token}"), 204),
        (format!("/{token}?query"), 204),
        (format!("http://gateway:80/x/{token}"), 204),
        (format!("/{token}/"), 404),
        (format!("/{token}/x"), 404),
        (format!("/x?{token}"), 404),
        (format!("/{}", RegisteredJob::new().token), 404),
        ("/".to_owned(), 404),
        ("*".to_owned(), 404),
    ] {
        let request = Request::post(&path).body(full(&event("7", "running"))).unwrap();
        assert_eq!(send(&job.receiver(), request).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn invalid_head_is_refused_without_reading_body() {
    let job = RegisteredJob::new();
    let with = |name, value: &'static str| {
        let mut request = job.post(UnreadBody);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut get = job.post(UnreadBody);
    *get.method_mut() = http::Method::GET;
    let unknown = Request::post("/foreman/00000000000000000000000000000000").body(UnreadBody).unwrap();
    let mut second = with(CONTENT_ENCODING, "identity");
    second.headers_mut().append(CONTENT_ENCODING, "br".parse().unwrap());
    for (request, status, reason) in [
        (get, 405, RefusalReason::Method),
        (unknown, 404, RefusalReason::UnknownToken),
        (with(CONTENT_ENCODING, "gzip"), 415, RefusalReason::MediaType),
        (with(CONTENT_ENCODING, "identity, gzip"), 415, RefusalReason::MediaType),
        (second, 415, RefusalReason::MediaType),
        (with(CONTENT_LENGTH, "8388609"), 413, RefusalReason::TooLarge),
        (with(CONTENT_LENGTH, "18446744073709551615"), 413, RefusalReason::TooLarge),
    ] {
        let before = job.notifier.stats().refused(reason);
        let response = send(&job.receiver_with_secret(), request).await;
        assert_eq!(response.status(), status, "{reason:?}");
        assert_eq!(job.notifier.stats().refused(reason), before + 1, "{reason:?}");
        assert_eq!(response.headers().get(ALLOW).is_some(), status == 405);
    }
    assert_eq!(job.notifier.stats().refusals(), 7);
}

#[tokio::test]
async fn identity_encoding_is_accepted() {
    let job = RegisteredJob::new();
    let mut request = job.post(full(&event("7", "done")));
    request.headers_mut().insert(CONTENT_ENCODING, "Identity".parse().unwrap());
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&job.receiver(), request).await.status(), 204);
}

#[tokio::test]
async fn body_limit_counts_received_bytes() {
    let job = RegisteredJob::new();
    let whole = r#"{"job_id":"7","state":"done"}"#;
    let halves = [&whole[..10], &whole[10..]];
    for (limit, status) in [(whole.len(), 204), (whole.len() - 1, 413), (5, 413)] {
        let receiver = WebhookReceiver::builder(job.notifier.clone()).max_body(limit).build().unwrap();
        let response = send(&receiver, job.post(chunks(halves, Some(Ok(()))))).await;
        assert_eq!(response.status(), status, "{limit}");
    }
    // The body never ends. The limit applies before its end.
    let receiver = WebhookReceiver::builder(job.notifier.clone()).max_body(5).build().unwrap();
    assert_eq!(send(&receiver, job.post(chunks(["123456"], None))).await.status(), 413);
    // Only the size hint exceeds the limit, there is no `Content-Length`.
    assert_eq!(send(&receiver, job.post(full("123456"))).await.status(), 413);
    assert_eq!(job.notifier.stats().refused(RefusalReason::TooLarge), 4);
}

#[tokio::test]
async fn body_limit_of_outer_layer_is_413() {
    let job = RegisteredJob::new();
    let body = Limited::new(chunks(["1234", "5678"], Some(Ok(()))), 6);
    assert_eq!(send(&job.receiver(), job.post(body)).await.status(), 413);
}

#[tokio::test(start_paused = true)]
async fn stalled_or_broken_body_is_408() {
    let job = RegisteredJob::new();
    for end in [None, Some(Err("reset"))] {
        let response = send(&job.receiver(), job.post(chunks(["{"], end))).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(response.headers()[CONNECTION], "close");
    }
    assert_eq!(job.notifier.stats().refused(RefusalReason::Body), 2);

    let mut request = job.post(chunks([], Some(Err("reset"))));
    *request.version_mut() = Version::HTTP_2;
    assert!(send(&job.receiver(), request).await.headers().is_empty());
}

#[tokio::test]
async fn unrepresentable_read_timeout_means_none() {
    let job = RegisteredJob::new();
    let receiver = WebhookReceiver::builder(job.notifier.clone()).read_timeout(Duration::MAX).build().unwrap();
    assert_eq!(send(&receiver, job.post(full(&event("7", "done")))).await.status(), 204);
}

#[tokio::test]
async fn unverified_events_get_identical_401() {
    let job = RegisteredJob::new();
    let receiver = job.receiver_with_secret();
    let good = event("7", "done");
    let unsigned = job.post(full(&good));
    let mut changed = job.post_signed(&good);
    *changed.body_mut() = full(&event("7", "failed"));
    let foreign = job.post_signed(&event("8", "done"));
    let mut stale = job.post(full(&good));
    let old = Timestamp::now().as_second() - 3600;
    let signature = Secret::new(SECRET).unwrap().sign_standard("id", old, good.as_bytes());
    stale.headers_mut().extend([
        (http::HeaderName::from_static("webhook-id"), "id".parse().unwrap()),
        (http::HeaderName::from_static("webhook-timestamp"), old.to_string().parse().unwrap()),
        (http::HeaderName::from_static("webhook-signature"), signature.parse().unwrap()),
    ]);
    // Neither signed nor JSON: the signature is checked first.
    let invalid = job.post(full("{"));
    for (request, reason) in [
        (unsigned, RefusalReason::Signature),
        (changed, RefusalReason::Signature),
        (invalid, RefusalReason::Signature),
        (stale, RefusalReason::Timestamp),
        (foreign, RefusalReason::WrongJob),
    ] {
        let before = job.notifier.stats().refused(reason);
        let response = send(&receiver, request).await;
        assert_eq!((response.status(), response.headers().len()), (StatusCode::UNAUTHORIZED, 0), "{reason:?}");
        assert_eq!(job.notifier.stats().refused(reason), before + 1, "{reason:?}");
    }
    assert_eq!(job.keep_alive.submission().last_state(), None);
}

#[tokio::test]
async fn wrong_job_is_401_without_secret() {
    let job = RegisteredJob::new();
    assert_eq!(send(&job.receiver(), job.post(full(&event("8", "done")))).await.status(), 401);
}

#[tokio::test]
async fn body_without_job_json_is_400() {
    let job = RegisteredJob::new();
    for body in
        ["", "{", "[]", "{}", r#"{"job_id":"7"}"#, r#"{"job_id":"../7","state":"done"}"#, "{\"job_id\":\"\u{fffd}"]
    {
        assert_eq!(send(&job.receiver(), job.post(full(body))).await.status(), 400, "{body}");
        assert_eq!(send(&job.receiver_with_secret(), job.post_signed(body)).await.status(), 400, "{body}");
    }
    let not_text = job.post(Full::new(Bytes::from_static(b"\xff\xfe{\"job_id\"")));
    assert_eq!(send(&job.receiver(), not_text).await.status(), 400);
    assert_eq!(job.notifier.stats().refused(RefusalReason::Json), 15);
}

#[tokio::test]
async fn second_secret_is_accepted() {
    let job = RegisteredJob::new();
    let receiver = WebhookReceiver::builder(job.notifier.clone()).secrets(["new", SECRET]).build().unwrap();
    assert_eq!(send(&receiver, job.post_signed(&event("7", "done"))).await.status(), 204);
}

#[tokio::test]
async fn closed_receiver_is_503_with_retry_after() {
    let job = RegisteredJob::new();
    let receiver = job.receiver();
    let chunked = [r#"{"job_id":"7","#, r#""state":"done"}"#];
    let reading = receiver.clone().call(job.post(chunks(chunked, Some(Ok(())))));
    receiver.clone().close();
    let response = send(&receiver, job.post(UnreadBody)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(job.notifier.stats().refused(RefusalReason::Overload), 1);
    // The body of this request was being read when the receiver closed.
    assert_eq!(reading.await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[test]
fn invalid_options_are_named() {
    let builder = || WebhookReceiver::builder(Notifier::new());
    for (builder, field) in [
        (builder().secret(""), "webhook_secret"),
        (builder().secret("a").secret("whsec_"), "webhook_secret"),
        (builder().secrets([""; 0]), "webhook_secret"),
        (builder().max_body(0), "max_body"),
        (builder().read_timeout(Duration::ZERO), "read_timeout"),
        (builder().tolerance(Duration::from_millis(999)), "tolerance"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {field}: ")), "{error}");
    }
}

#[test]
fn debug_hides_secret_and_token() {
    let job = RegisteredJob::new();
    let builder = WebhookReceiver::builder(job.notifier.clone()).secret(SECRET);
    let shown = format!("{builder:?} {:?}", job.receiver_with_secret());
    assert!(!shown.contains(SECRET) && !shown.contains(&job.token.to_string()), "{shown}");
}

#[tokio::test]
async fn axum_route_and_nest_reach_receiver() {
    use axum::Router;

    let job = RegisteredJob::new();
    let routed = Router::new().route_service("/foreman/{token}", job.receiver_with_secret());
    let nested = Router::new().nest_service("/foreman", job.receiver_with_secret());
    for router in [routed, nested] {
        let (head, body) = job.post_signed(&event("7", "running")).into_parts();
        let request = Request::from_parts(head, axum::body::Body::new(body));
        assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(job.notifier.stats().hints, 2);
}

/// The bounds that axum and other servers put on a service, and the auto traits of the public types.
#[test]
fn service_bounds_hold() {
    fn service<S>(_: S)
    where
        S: tower::Service<Request<Full<Bytes>>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
    }
    fn public_type<T: Send + Sync + std::fmt::Debug>() {}
    service(WebhookReceiver::new(Notifier::new()));
    public_type::<WebhookReceiverBuilder>();
    public_type::<ReceiverFuture<Full<Bytes>>>();
}
