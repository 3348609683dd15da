//! What the daemon gets.

use std::time::Duration;

use foreman_client::JobId;
use foreman_client::api::{GetJob, ListModels};
use http::{HeaderValue, Method};
use tower::ServiceExt;

use crate::support::{Daemon, TestApi, request};

/// Sends one call, and leaves it at that: what the daemon got.
async fn sent<C>(api: TestApi, daemon: &mut Daemon, call: C) -> crate::support::Asked
where
    C: foreman_client::api::Call + Send + 'static,
    C::Response: Send,
{
    tokio::spawn(api.oneshot(call));
    daemon.next().await
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_below_the_path_of_the_base_url() {
    for (base, url) in [
        ("http://daemon.test", "http://daemon.test/api/tags"),
        ("http://daemon.test/", "http://daemon.test/api/tags"),
        ("http://daemon.test:8080//", "http://daemon.test:8080/api/tags"),
        ("http://daemon.test/foreman", "http://daemon.test/foreman/api/tags"),
        ("https://daemon.test/a/b/", "https://daemon.test/a/b/api/tags"),
    ] {
        let (api, mut daemon) = Daemon::at(base);
        let asked = sent(api, &mut daemon, ListModels).await;
        assert_eq!(asked.uri.to_string(), url, "{base}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_along_and_is_sensitive() {
    let (api, mut daemon) = Daemon::new();
    let asked = sent(api.token("abc").unwrap(), &mut daemon, ListModels).await;
    assert_eq!(asked.header("authorization"), Some("Bearer abc"));
    assert!(asked.headers["authorization"].is_sensitive());
    assert!(!format!("{:?}", asked.headers).contains("abc"));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nothing_authorizes() {
    let (api, mut daemon) = Daemon::new();
    assert_eq!(sent(api, &mut daemon, ListModels).await.header("authorization"), None);
}

#[test]
fn a_token_that_cannot_stand_in_a_header_is_refused_without_being_shown() {
    for token in ["", "a\nb", "a\r\nX: y", "a\0"] {
        let error = Daemon::new().0.token(token).unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with("invalid token: "), "{error}");
        assert!(token.is_empty() || !error.to_string().contains(token), "{error}");
    }
    let api = Daemon::new().0.token("abc").unwrap();
    assert!(!format!("{api:?}").contains("abc"));
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_the_requests_bytes_as_json_with_its_key() {
    let (api, mut daemon) = Daemon::new();
    let request = request();
    let asked = sent(api, &mut daemon, request.clone()).await;
    assert_eq!((asked.method.clone(), asked.uri.path()), (Method::POST, "/jobs"));
    assert_eq!(asked.body, r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    assert_eq!(asked.body, request.body());
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("idempotency-key"), Some(&*request.submission().idempotency_key().to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_poll_has_no_body_and_only_the_headers_that_were_asked_for() {
    let (api, mut daemon) = Daemon::new();
    let plain = sent(api.clone(), &mut daemon, GetJob::new(JobId::new("a b").unwrap())).await;
    assert_eq!((plain.method, plain.uri.path(), plain.body.len()), (Method::GET, "/jobs/a%20b", 0));
    assert!(plain.headers.is_empty(), "{:?}", plain.headers);

    let held = GetJob::new(JobId::new("7").unwrap())
        .wait(Duration::from_secs(9))
        .if_none_match(Some(HeaderValue::from_static("\"v3\"")));
    let held = sent(api, &mut daemon, held).await;
    assert_eq!((held.header("prefer"), held.header("if-none-match")), (Some("wait=9"), Some("\"v3\"")));
}
