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
use crate::submission::{CallbackToken, KeepAlive};
use crate::webhook::Secret;
use crate::{BoxError, JobId, JobState, Notifier};

const SECRET: &str = "It's a Secret to Everybody";

/// A job that waits for events.
struct Waiting {
    notifier: Notifier,
    keep_alive: KeepAlive,
    token: CallbackToken,
}

impl Waiting {
    fn new() -> Self {
        Self::of(KeepAlive::existing_job(JobId::new("7").unwrap()))
    }

    fn of(keep_alive: KeepAlive) -> Self {
        let notifier = Notifier::new();
        let token = notifier.register(keep_alive.shared()).unwrap();
        Self { notifier, keep_alive, token }
    }

    fn receiver(&self) -> WebhookReceiver {
        WebhookReceiver::new(self.notifier.clone())
    }

    fn signed(&self) -> WebhookReceiver {
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

async fn answer<B>(receiver: &WebhookReceiver, request: Request<B>) -> Response<Empty<Bytes>>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    receiver.clone().oneshot(request).await.unwrap()
}

/// A body that must not be read.
struct Untouchable;

impl Body for Untouchable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was read");
    }
}

/// A body in pieces, whose size nobody knows beforehand; after them it ends, breaks, or stays silent.
struct Pieces(VecDeque<&'static str>, Option<Result<(), &'static str>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match (self.0.pop_front(), self.1) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))),
            (None, Some(Ok(()))) => Poll::Ready(None),
            (None, Some(Err(why))) => Poll::Ready(Some(Err(why.into()))),
            (None, None) => Poll::Pending,
        }
    }
}

fn pieces<const N: usize>(pieces: [&'static str; N], end: Option<Result<(), &'static str>>) -> Pieces {
    Pieces(pieces.into(), end)
}

#[tokio::test]
async fn a_signed_end_finishes_the_job_and_everything_after_it_is_taken_too() {
    let job = Waiting::new();
    let receiver = job.signed();
    for state in ["queued", "running", "paused", "done", "done", "failed", "running"] {
        let response = answer(&receiver, job.post_signed(&event("7", state))).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{state}");
        assert!(response.headers().is_empty());
    }
    let stats = job.notifier.stats();
    assert_eq!((stats.hints, stats.finished, stats.duplicates, stats.refusals()), (3, 1, 3, 0));
    assert_eq!(job.keep_alive.submission().last_state(), Some(JobState::Done));
}

#[tokio::test]
async fn without_a_secret_an_event_is_a_hint_and_nothing_in_it_is_believed() {
    let job = Waiting::new();
    let response = answer(&job.receiver(), job.post(full(&event("7", "done")))).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let stats = job.notifier.stats();
    assert_eq!((stats.hints, stats.finished), (1, 0));
    assert_eq!(job.keep_alive.submission().last_state(), None);
}

#[tokio::test]
async fn an_event_before_the_job_is_known_tells_it_when_signed() {
    let job = Waiting::of(KeepAlive::new_submission(None));
    assert_eq!(answer(&job.signed(), job.post_signed(&event("9", "running"))).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(job.keep_alive.submission().job_id(), Some(JobId::new("9").unwrap()));
}

#[tokio::test]
async fn an_event_whose_waiter_is_gone_is_late_and_taken() {
    let Waiting { notifier, keep_alive, token } = Waiting::new();
    drop(keep_alive);
    let request = Request::post(format!("/{token}")).body(full(&event("7", "done"))).unwrap();
    let response = answer(&WebhookReceiver::new(notifier.clone()), request).await;
    assert_eq!((response.status(), notifier.stats().late), (StatusCode::NO_CONTENT, 1));
}

#[tokio::test]
async fn the_token_is_the_last_segment_wherever_it_is_mounted() {
    let job = Waiting::new();
    let token = job.token;
    for (path, status) in [
        (format!("/{token}"), 204),
        (format!("/a/b/c/{token}"), 204),
        (format!("/{token}?query"), 204),
        (format!("http://gateway:80/x/{token}"), 204),
        (format!("/{token}/"), 404),
        (format!("/{token}/x"), 404),
        (format!("/x?{token}"), 404),
        (format!("/{}", CallbackToken::random().unwrap()), 404),
        ("/".to_owned(), 404),
        ("*".to_owned(), 404),
    ] {
        let request = Request::post(&path).body(full(&event("7", "running"))).unwrap();
        assert_eq!(answer(&job.receiver(), request).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn what_the_head_tells_is_refused_before_the_body_is_read() {
    let job = Waiting::new();
    let with = |name, value: &'static str| {
        let mut request = job.post(Untouchable);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut get = job.post(Untouchable);
    *get.method_mut() = http::Method::GET;
    let unknown = Request::post("/foreman/00000000000000000000000000000000").body(Untouchable).unwrap();
    let mut second = with(CONTENT_ENCODING, "identity");
    second.headers_mut().append(CONTENT_ENCODING, "br".parse().unwrap());
    for (request, status, why) in [
        (get, 405, RefusalReason::Method),
        (unknown, 404, RefusalReason::UnknownToken),
        (with(CONTENT_ENCODING, "gzip"), 415, RefusalReason::MediaType),
        (with(CONTENT_ENCODING, "identity, gzip"), 415, RefusalReason::MediaType),
        (second, 415, RefusalReason::MediaType),
        (with(CONTENT_LENGTH, "8388609"), 413, RefusalReason::TooLarge),
        (with(CONTENT_LENGTH, "18446744073709551615"), 413, RefusalReason::TooLarge),
    ] {
        let before = job.notifier.stats().refused(why);
        let response = answer(&job.signed(), request).await;
        assert_eq!(response.status(), status, "{why:?}");
        assert_eq!(job.notifier.stats().refused(why), before + 1, "{why:?}");
        assert_eq!(response.headers().get(ALLOW).is_some(), status == 405);
    }
    assert_eq!(job.notifier.stats().refusals(), 7);
}

#[tokio::test]
async fn identity_is_no_encoding() {
    let job = Waiting::new();
    let mut request = job.post(full(&event("7", "done")));
    request.headers_mut().insert(CONTENT_ENCODING, "Identity".parse().unwrap());
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(answer(&job.receiver(), request).await.status(), 204);
}

#[tokio::test]
async fn a_body_is_counted_while_it_is_read() {
    let job = Waiting::new();
    let whole = r#"{"job_id":"7","state":"done"}"#;
    let halves = [&whole[..10], &whole[10..]];
    for (limit, status) in [(whole.len(), 204), (whole.len() - 1, 413), (5, 413)] {
        let receiver = WebhookReceiver::builder(job.notifier.clone()).max_body(limit).build().unwrap();
        let response = answer(&receiver, job.post(pieces(halves, Some(Ok(()))))).await;
        assert_eq!(response.status(), status, "{limit}");
    }
    // Never ends, and does not have to.
    let receiver = WebhookReceiver::builder(job.notifier.clone()).max_body(5).build().unwrap();
    assert_eq!(answer(&receiver, job.post(pieces(["123456"], None))).await.status(), 413);
    // Declared by the body alone.
    assert_eq!(answer(&receiver, job.post(full("123456"))).await.status(), 413);
    assert_eq!(job.notifier.stats().refused(RefusalReason::TooLarge), 4);
}

#[tokio::test]
async fn the_limit_of_a_layer_above_is_a_413_too() {
    let job = Waiting::new();
    let body = Limited::new(pieces(["1234", "5678"], Some(Ok(()))), 6);
    assert_eq!(answer(&job.receiver(), job.post(body)).await.status(), 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_or_breaks_off_is_a_408() {
    let job = Waiting::new();
    for end in [None, Some(Err("reset"))] {
        let response = answer(&job.receiver(), job.post(pieces(["{"], end))).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(response.headers()[CONNECTION], "close");
    }
    assert_eq!(job.notifier.stats().refused(RefusalReason::Body), 2);

    let mut request = job.post(pieces([], Some(Err("reset"))));
    *request.version_mut() = Version::HTTP_2;
    assert!(answer(&job.receiver(), request).await.headers().is_empty());
}

#[tokio::test]
async fn a_time_out_too_long_to_be_counted_is_none() {
    let job = Waiting::new();
    let receiver = WebhookReceiver::builder(job.notifier.clone()).read_timeout(Duration::MAX).build().unwrap();
    assert_eq!(answer(&receiver, job.post(full(&event("7", "done")))).await.status(), 204);
}

#[tokio::test]
async fn whatever_is_not_the_daemons_gets_the_same_401() {
    let job = Waiting::new();
    let receiver = job.signed();
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
    // Neither JSON nor signed: the signature is judged first.
    let garbage = job.post(full("{"));
    for (request, why) in [
        (unsigned, RefusalReason::Signature),
        (changed, RefusalReason::Signature),
        (garbage, RefusalReason::Signature),
        (stale, RefusalReason::Timestamp),
        (foreign, RefusalReason::WrongJob),
    ] {
        let before = job.notifier.stats().refused(why);
        let response = answer(&receiver, request).await;
        assert_eq!((response.status(), response.headers().len()), (StatusCode::UNAUTHORIZED, 0), "{why:?}");
        assert_eq!(job.notifier.stats().refused(why), before + 1, "{why:?}");
    }
    assert_eq!(job.keep_alive.submission().last_state(), None);
}

#[tokio::test]
async fn an_event_of_another_job_is_refused_without_a_secret_too() {
    let job = Waiting::new();
    assert_eq!(answer(&job.receiver(), job.post(full(&event("8", "done")))).await.status(), 401);
}

#[tokio::test]
async fn what_is_not_a_jobs_json_is_a_400_signed_or_not() {
    let job = Waiting::new();
    for body in
        ["", "{", "[]", "{}", r#"{"job_id":"7"}"#, r#"{"job_id":"../7","state":"done"}"#, "{\"job_id\":\"\u{fffd}"]
    {
        assert_eq!(answer(&job.receiver(), job.post(full(body))).await.status(), 400, "{body}");
        assert_eq!(answer(&job.signed(), job.post_signed(body)).await.status(), 400, "{body}");
    }
    let not_text = job.post(Full::new(Bytes::from_static(b"\xff\xfe{\"job_id\"")));
    assert_eq!(answer(&job.receiver(), not_text).await.status(), 400);
    assert_eq!(job.notifier.stats().refused(RefusalReason::Json), 15);
}

#[tokio::test]
async fn either_secret_is_taken_during_a_rotation() {
    let job = Waiting::new();
    let receiver = WebhookReceiver::builder(job.notifier.clone()).secrets(["new", SECRET]).build().unwrap();
    assert_eq!(answer(&receiver, job.post_signed(&event("7", "done"))).await.status(), 204);
}

#[tokio::test]
async fn a_closed_receiver_says_when_to_come_again() {
    let job = Waiting::new();
    let receiver = job.receiver();
    let halves = [r#"{"job_id":"7","#, r#""state":"done"}"#];
    let reading = receiver.clone().call(job.post(pieces(halves, Some(Ok(())))));
    receiver.clone().close();
    let response = answer(&receiver, job.post(Untouchable)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(job.notifier.stats().refused(RefusalReason::Overload), 1);
    // What came before is still taken.
    assert_eq!(reading.await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[test]
fn limits_of_nothing_are_refused_by_name() {
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
fn neither_secret_nor_token_is_shown() {
    let job = Waiting::new();
    let builder = WebhookReceiver::builder(job.notifier.clone()).secret(SECRET);
    let shown = format!("{builder:?} {:?}", job.signed());
    assert!(!shown.contains(SECRET) && !shown.contains(&job.token.to_string()), "{shown}");
}

#[tokio::test]
async fn axum_mounts_it_at_a_route_and_under_a_prefix() {
    use axum::Router;

    let job = Waiting::new();
    let routed = Router::new().route_service("/foreman/{token}", job.signed());
    let nested = Router::new().nest_service("/foreman", job.signed());
    for router in [routed, nested] {
        let (head, body) = job.post_signed(&event("7", "running")).into_parts();
        let request = Request::from_parts(head, axum::body::Body::new(body));
        assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(job.notifier.stats().hints, 2);
}

/// What servers ask of a service, and what is promised of the parts.
#[test]
fn servers_take_it() {
    fn service<S>(_: S)
    where
        S: tower::Service<Request<Full<Bytes>>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
    }
    fn parts<T: Send + Sync + std::fmt::Debug>() {}
    service(WebhookReceiver::new(Notifier::new()));
    parts::<WebhookReceiverBuilder>();
    parts::<ReceiverFuture<Full<Bytes>>>();
}
