//! What is said of a submission whose first attempt may have arrived.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foreman_client::{Api, BoxError, Client, Error, SubmitRequest, WaitLayer};
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneService;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

const URL: &str = "http://daemon.internal";

type Http = BoxCloneService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// A daemon that keeps keys and whose jobs are done at once, until submissions fail: so, and then with no connection.
fn http(failures: &Arc<Mutex<VecDeque<io::ErrorKind>>>) -> Http {
    let failures = Arc::clone(failures);
    Http::new(service_fn(move |request: Request<Full<Bytes>>| {
        let failures = Arc::clone(&failures);
        async move {
            if request.method() != Method::POST {
                return Ok(Response::new(Full::from(r#"{"job_id":"7","state":"done","result":1}"#)));
            }
            if let Some(kind) = failures.lock().unwrap().pop_front() {
                return Err(io::Error::from(kind).into());
            }
            let key = &request.headers()["idempotency-key"];
            let response = Response::builder().status(202).header("idempotency-key", key);
            Ok(response.body(Full::from(r#"{"job_id":"7"}"#))?)
        }
    }))
}

fn lost_and_then_refused(failures: &Mutex<VecDeque<io::ErrorKind>>) {
    let mut failures = failures.lock().unwrap();
    failures.push_back(io::ErrorKind::ConnectionReset);
    failures.extend([io::ErrorKind::ConnectionRefused; 20]);
}

fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

fn may_have_arrived(error: &Error) {
    assert!(error.is_connect(), "{error}");
    assert!(!error.is_safe_to_resubmit() && error.is_maybe_submitted() && error.may_be_running(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_cannot_connect_does_not_make_the_lost_attempt_unsent() {
    let failures = Arc::default();
    let client = Client::builder(URL).polling().build_with(http(&failures)).await.unwrap();
    // Now it is known that the daemon keeps keys.
    client.submit(request()).await.unwrap();
    lost_and_then_refused(&failures);
    let request = request();
    may_have_arrived(&client.submit(request.clone()).await.unwrap_err());
    assert!(failures.lock().unwrap().len() < 20);
    // The same request again is the same submission.
    failures.lock().unwrap().clear();
    client.submit(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_sends_again_and_cannot_connect_does_not_either() {
    let failures = Arc::default();
    let api = Api::new(URL.parse().unwrap(), http(&failures));
    let jobs = ServiceBuilder::new().layer(WaitLayer::new(api.clone())).service(api);
    jobs.clone().oneshot(request()).await.unwrap();
    lost_and_then_refused(&failures);
    let request = request();
    assert!(jobs.clone().oneshot(request.clone()).await.unwrap_err().is_maybe_submitted());
    may_have_arrived(&jobs.clone().oneshot(request.clone()).await.unwrap_err());
    assert_eq!(failures.lock().unwrap().len(), 19);
    failures.lock().unwrap().clear();
    jobs.oneshot(request).await.unwrap();
}
