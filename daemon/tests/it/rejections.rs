use foreman_daemon::Daemon;

use super::raw::{accepted, exchange, get, post, request, submit};

#[tokio::test]
async fn invalid_submission_bodies() {
    let daemon = Daemon::start().await.unwrap();
    for (body, status, message) in [
        ("", 400, "invalid JSON"),
        ("{", 400, "invalid JSON"),
        (r#"{"model":"m"} x"#, 400, "invalid JSON"),
        ("[]", 422, "body must be a JSON object"),
        (r#"["m"]"#, 422, "body must be a JSON object"),
        ("[", 400, "invalid JSON"),
        ("{}", 422, "model must not be missing or empty"),
        (r#"{"model":""}"#, 422, "model must not be missing or empty"),
        (r#"{"model":"a\u0000b"}"#, 422, "model must not contain NUL"),
        (r#"{"model":null}"#, 422, "model must not be missing or empty"),
        (r#"{"model":7}"#, 422, "invalid type"),
        (r#"{"model":"m","messages":{}}"#, 422, "invalid type"),
        (r#"{"model":"m","messages":["hi"]}"#, 422, "a message must be a JSON object, not a string"),
        (r#"{"model":"m","stream":"yes"}"#, 422, "invalid type"),
        (r#"{"model":"m","model":"m"}"#, 422, "duplicate field `model`"),
        (r#"{"model":"m","format":"json","format":null}"#, 422, "duplicate field `format`"),
        (r#"{"model":"m","deadline":"soon"}"#, 422, "invalid deadline: must be a time in RFC 3339"),
        (r#"{"model":"m","deadline":"2026-01-02T03:04:05"}"#, 422, "invalid deadline: must be a time in RFC 3339"),
        (r#"{"model":"m","priority":101}"#, 422, "invalid priority: must be an integer from -100 to 100"),
        (r#"{"model":"m","ttl":0}"#, 422, "invalid ttl: must be a number of seconds above 0"),
        (r#"{"model":"m","state_webhook_url":"/hook"}"#, 422, "invalid state_webhook_url: must be an absolute"),
        (r#"{"model":"m","state_webhook_url":"ftp://h/"}"#, 422, "invalid state_webhook_url: must be an absolute"),
        (
            r#"{"model":"m","state_webhook_url":"http://u:p@h/"}"#,
            422,
            "invalid state_webhook_url: must not contain a user",
        ),
        (r#"{"model":"m","state_webhook_url":""}"#, 422, "invalid state_webhook_url: "),
    ] {
        let error = post(&daemon, "/jobs", &[], body).await.refused(status);
        assert!(error.contains(message), "{body}: {error}");
    }
    let named = |length: usize| format!(r#"{{"model":"{}"}}"#, "m".repeat(length));
    let error = post(&daemon, "/jobs", &[], &named(1025)).await.refused(422);
    assert_eq!(error, "model must have at most 1,024 bytes");
    assert_eq!(daemon.stats().accepted, 0);
    assert_eq!(post(&daemon, "/jobs", &[], &named(1024)).await.status, 202);
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let daemon = Daemon::start().await.unwrap();
    assert_eq!(get(&daemon, "/", &[]).await.refused(404), "path not found");
    assert_eq!(get(&daemon, "/jobs/unknown", &[]).await.refused(404), "job not found");
    assert_eq!(get(&daemon, "/jobs/..%2f", &[]).await.refused(404), "job not found");
    assert_eq!(get(&daemon, "/jobs/%ff", &[]).await.refused(404), "job not found");
    for (method, path, allow) in [
        ("PUT", "/jobs", "GET"),
        ("POST", "/jobs/7", "DELETE"),
        ("DELETE", "/api/tags", "GET"),
        ("GET", "/api/embed", "POST"),
    ] {
        let response = exchange(&daemon, request(method, path, &[], "")).await;
        assert_eq!(response.refused(405), "method not allowed");
        assert!(response.header("allow").unwrap().contains(allow), "{response:?}");
    }
}

#[tokio::test]
async fn media_types_other_than_json() {
    let daemon = Daemon::start().await.unwrap();
    let body = r#"{"model":"m"}"#;
    for headers in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/x-www-form-urlencoded"],
        &["Content-Type: application/json", "Content-Encoding: gzip"],
    ] {
        exchange(&daemon, request("POST", "/jobs", headers, body)).await.refused(415);
    }
    for media_type in ["Content-Type: application/json; charset=utf-8", "Content-Type: Application/JSON"] {
        accepted(&exchange(&daemon, request("POST", "/jobs", &[media_type, "Content-Encoding: identity"], body)).await);
    }
}

#[tokio::test]
async fn bodies_over_limit() {
    let daemon = Daemon::builder().body_limit(13).start().await.unwrap();
    accepted(&post(&daemon, "/jobs", &[], r#"{"model":"m"}"#).await);
    // Rejected by its Content-Length, before a byte of the body is read.
    let head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let declared = exchange(&daemon, format!("{head}Content-Length: 14\r\n\r\n")).await;
    assert_eq!(declared.refused(413), "body exceeds 13 bytes");
    let chunked =
        exchange(&daemon, format!("{head}Transfer-Encoding: chunked\r\n\r\ne\r\n{{\"model\":\"mm\"}}\r\n")).await;
    assert_eq!(chunked.refused(413), "body exceeds 13 bytes");
    // A client that continues to send, more than the socket buffers hold, still gets the response.
    let long = "x".repeat(32 * 1024 * 1024);
    assert_eq!(post(&daemon, "/jobs", &[], &long).await.refused(413), "body exceeds 13 bytes");
}

#[tokio::test]
async fn invalid_idempotency_keys() {
    let daemon = Daemon::start().await.unwrap();
    let long = format!("Idempotency-Key: {}", "k".repeat(256));
    for headers in [&["Idempotency-Key:"][..], &[&long], &["Idempotency-Key: a", "Idempotency-Key: b"]] {
        post(&daemon, "/jobs", headers, r#"{"model":"m"}"#).await.refused(400);
    }
}

#[tokio::test]
async fn other_hosts_need_token() {
    let request = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let daemon = Daemon::start().await.unwrap();
    let authority = daemon.local_addr().to_string();
    for path in ["/healthz", "/jobs"] {
        assert_eq!(exchange(&daemon, request(&authority, path)).await.status, 200);
        let error = exchange(&daemon, request("rebound.example:80", path)).await.refused(403);
        assert_eq!(error, "without a token, the host must be localhost or a loopback address");
    }
    exchange(&daemon, request("rebound.example", "/nowhere")).await.refused(403);

    let daemon = Daemon::builder().allow_anonymous(true).start().await.unwrap();
    assert_eq!(exchange(&daemon, request("jobs.example", "/jobs")).await.status, 200);
    let daemon = Daemon::builder().token("secret").start().await.unwrap();
    assert_eq!(exchange(&daemon, request("jobs.example", "/healthz")).await.status, 200);
    exchange(&daemon, request("jobs.example", "/jobs")).await.refused(401);
}

#[tokio::test]
async fn every_request_needs_token() {
    let daemon = Daemon::builder().token("secret").start().await.unwrap();
    for path in ["/jobs", "/jobs/7", "/api/tags", "/nowhere"] {
        for headers in [
            &[][..],
            &["Authorization: Bearer"],
            &["Authorization: Bearer "],
            &["Authorization: Bearer secre"],
            &["Authorization: Bearer secret2"],
            &["Authorization: Basic secret"],
            &["Authorization: secret"],
            &["Authorization: Bearer secret", "Authorization: Bearer secret"],
        ] {
            let response = get(&daemon, path, headers).await;
            response.refused(401);
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
    }
    post(&daemon, "/jobs", &[], r#"{"model":"m"}"#).await.refused(401);
    for header in ["Authorization: Bearer secret", "authorization: bearer secret"] {
        accepted(&post(&daemon, "/jobs", &[header], r#"{"model":"m"}"#).await);
        assert_eq!(get(&daemon, "/api/tags", &[header]).await.status, 200);
    }
    assert_eq!(daemon.stats().accepted, 2);
}

#[tokio::test]
async fn invalid_list_parameters() {
    let daemon = Daemon::start().await.unwrap();
    submit(&daemon, "a").await;
    for query in ["limit=0", "limit=201", "limit=x", "state=sleeping", "cursor=x"] {
        get(&daemon, &format!("/jobs?{query}"), &[]).await.refused(400);
    }
}
