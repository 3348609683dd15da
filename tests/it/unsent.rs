//! Errors of a submission whose first attempt may have arrived.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use foreman_client::{Api, Client, Error, WaitLayer};
use http::Method;
use tower::{ServiceBuilder, ServiceExt as _};

use crate::support::{Exchange, FunctionHttp, bounded_paused, function_http, request};

const URL: &str = "http://daemon.internal";

/// The errors of the next submissions.
type Failures = Arc<Mutex<VecDeque<io::ErrorKind>>>;

/// A daemon with idempotency keys whose jobs are done at once. Submissions fail as `failures` has it.
fn http(failures: &Failures) -> FunctionHttp {
    let failures = Arc::clone(failures);
    function_http(move |request| {
        if request.method() != Method::POST {
            return Exchange::response(200, &[], r#"{"job_id":"7","state":"done","result":1}"#);
        }
        if let Some(kind) = failures.lock().unwrap().pop_front() {
            return Exchange::Fail(kind.into());
        }
        let key = request.headers()["idempotency-key"].to_str().unwrap();
        Exchange::response(202, &[("idempotency-key", key)], r#"{"job_id":"7"}"#)
    })
}

/// The next submission is lost, and the connections of the following ones are refused.
fn lose_then_refuse(failures: &Failures) {
    let mut failures = failures.lock().unwrap();
    failures.push_back(io::ErrorKind::ConnectionReset);
    failures.extend([io::ErrorKind::ConnectionRefused; 20]);
}

fn assert_maybe_submitted(error: &Error) {
    assert!(error.is_connect(), "{error}");
    assert!(!error.is_safe_to_resubmit() && error.is_maybe_submitted() && error.may_be_running(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn refused_retry_after_loss_is_maybe_submitted() {
    let failures = Failures::default();
    let client = Client::builder(URL).polling().build_with(http(&failures)).await.unwrap();
    // The client learns that the daemon supports idempotency keys.
    bounded_paused(client.submit(request())).await.unwrap();
    lose_then_refuse(&failures);
    let request = request();
    assert_maybe_submitted(&bounded_paused(client.submit(request.clone())).await.unwrap_err());
    assert!(failures.lock().unwrap().len() < 20);
    // The same request is the same submission.
    failures.lock().unwrap().clear();
    bounded_paused(client.submit(request)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn refused_resend_after_loss_is_maybe_submitted() {
    let failures = Failures::default();
    let api = Api::new(URL.parse().unwrap(), http(&failures));
    let jobs = ServiceBuilder::new().layer(WaitLayer::new(api.clone())).service(api);
    bounded_paused(jobs.clone().oneshot(request())).await.unwrap();
    lose_then_refuse(&failures);
    let request = request();
    assert!(bounded_paused(jobs.clone().oneshot(request.clone())).await.unwrap_err().is_maybe_submitted());
    assert_maybe_submitted(&bounded_paused(jobs.clone().oneshot(request.clone())).await.unwrap_err());
    assert_eq!(failures.lock().unwrap().len(), 19);
    failures.lock().unwrap().clear();
    bounded_paused(jobs.oneshot(request)).await.unwrap();
}
