//! The requests that the daemon receives.

use foreman_client::api::{GetJob, ListModels};
use http::{HeaderValue, Method};
use tower::ServiceExt;

use crate::support::{MockApi, ReceivedRequest, ScriptedDaemon, job_id, request, seconds};

/// Sends one call and returns the request that the daemon receives, without a response.
async fn sent<C>(api: MockApi, daemon: &mut ScriptedDaemon, call: C) -> ReceivedRequest
where
    C: foreman_client::api::Call + Send + 'static,
    C::Response: Send,
{
    tokio::spawn(api.oneshot(call));
    daemon.next().await
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_relative_to_base_url() {
    for (base, url) in [
        ("http://daemon.test", "http://daemon.test/api/tags"),
        ("http://daemon.test/", "http://daemon.test/api/tags"),
        ("http://daemon.test:8080//", "http://daemon.test:8080/api/tags"),
        ("http://daemon.test/foreman", "http://daemon.test/foreman/api/tags"),
        ("https://daemon.test/a/b/", "https://daemon.test/a/b/api/tags"),
    ] {
        let (api, mut daemon) = ScriptedDaemon::at(base);
        let received = sent(api, &mut daemon, ListModels).await;
        assert_eq!(received.uri.to_string(), url, "{base}");
    }
}

#[tokio::test(start_paused = true)]
async fn token_header_is_sensitive() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let received = sent(api.token("abc").unwrap(), &mut daemon, ListModels).await;
    assert_eq!(received.header("authorization"), Some("Bearer abc"));
    assert!(received.headers["authorization"].is_sensitive());
    assert!(!format!("{:?}", received.headers).contains("abc"));
}

#[tokio::test(start_paused = true)]
async fn no_authorization_without_token() {
    let (api, mut daemon) = ScriptedDaemon::new();
    assert_eq!(sent(api, &mut daemon, ListModels).await.header("authorization"), None);
}

#[test]
fn invalid_token_is_rejected_and_redacted() {
    for token in ["", "a\nb", "a\r\nX: y", "a\0"] {
        let error = ScriptedDaemon::new().0.token(token).unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with("invalid token: "), "{error}");
        assert!(token.is_empty() || !error.to_string().contains(token), "{error}");
    }
    let api = ScriptedDaemon::new().0.token("abc").unwrap();
    assert!(!format!("{api:?}").contains("abc"));
}

#[tokio::test(start_paused = true)]
async fn submission_sends_body_and_key() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let request = request();
    let received = sent(api, &mut daemon, request.clone()).await;
    assert_eq!((received.method.clone(), received.uri.path()), (Method::POST, "/jobs"));
    assert_eq!(received.body, r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    assert_eq!(received.body, request.body());
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("idempotency-key"), Some(&*request.submission().idempotency_key().to_string()));
}

#[tokio::test(start_paused = true)]
async fn poll_sends_only_requested_headers() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let plain = sent(api.clone(), &mut daemon, GetJob::new(job_id("a b"))).await;
    assert_eq!((plain.method, plain.uri.path(), plain.body.len()), (Method::GET, "/jobs/a%20b", 0));
    assert!(plain.headers.is_empty(), "{:?}", plain.headers);

    let long = GetJob::new(job_id("7")).wait(seconds(9)).if_none_match(Some(HeaderValue::from_static("\"v3\"")));
    let long = sent(api, &mut daemon, long).await;
    assert_eq!((long.header("prefer"), long.header("if-none-match")), (Some("wait=9"), Some("\"v3\"")));
}
