//! A request whose clones reach one daemon under two tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foreman_client::Client;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::service_fn;

use crate::support::request;

/// The jobs of a daemon whose idempotency keys belong to a token each.
type Jobs = Arc<Mutex<BTreeMap<(String, String), usize>>>;

#[tokio::test(start_paused = true)]
async fn clone_under_another_token_is_not_resubmitted() {
    let jobs = Jobs::default();
    let daemon = {
        let jobs = Arc::clone(&jobs);
        service_fn(move |request: Request<Full<Bytes>>| {
            let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let token = header("authorization").unwrap();
            let response = if request.method() == Method::POST {
                let key = header("idempotency-key").unwrap();
                let mut jobs = jobs.lock().unwrap();
                let next = jobs.len();
                let job = *jobs.entry((token.clone(), key.clone())).or_insert(next);
                let accepted = Response::builder().status(202).header("idempotency-key", key);
                accepted.body(Full::<Bytes>::from(format!(r#"{{"job_id":"{job}"}}"#))).unwrap()
            } else {
                let job = request.uri().path().trim_start_matches("/jobs/").to_owned();
                Response::new(Full::from(format!(r#"{{"job_id":"{job}","state":"done"}}"#)))
            };
            // The responses to this token are lost.
            let lost = token.ends_with("one");
            let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            std::future::ready(if lost { Err(reset()) } else { Ok(response) })
        })
    };
    let client = |token: &str| Client::builder("http://daemon.test").token(token).polling().build_with(daemon.clone());
    let (one, two) = (client("one").await.unwrap(), client("two").await.unwrap());
    // The second client knows that the daemon supports keys.
    two.submit(request()).await.unwrap();

    let request = request();
    assert!(one.submit(request.clone()).await.unwrap_err().is_maybe_submitted());
    let before = jobs.lock().unwrap().len();
    let error = two.submit(request).await.unwrap_err();
    assert!(error.is_other_daemon() && error.may_be_running(), "{error}");
    assert_eq!(jobs.lock().unwrap().len(), before);
}
