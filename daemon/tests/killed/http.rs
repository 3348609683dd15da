use bytes::Bytes;
use foreman_client::JobStatus;
use foreman_client::api::{BaseUrl, Transport};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

/// Submits, and returns the status and the job's id; `None` without a response.
pub(crate) async fn submit(url: &str, hook: &str, key: &str) -> Option<(StatusCode, String)> {
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{hook}"}}"#);
    let request = Request::post(format!("{url}/jobs"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Full::from(body))
        .unwrap();
    let (status, body) = send(url, request).await?;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    Some((status, body["job_id"].as_str().unwrap_or_default().to_owned()))
}

/// The status of a job, which must exist.
pub(crate) async fn status(url: &str, job: &str) -> JobStatus {
    let request = Request::get(format!("{url}/jobs/{job}")).body(Full::default()).unwrap();
    let (status, body) = send(url, request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{job} is lost");
    serde_json::from_slice(&body).unwrap()
}

async fn send(url: &str, request: Request<Full<Bytes>>) -> Option<(StatusCode, Bytes)> {
    let base: BaseUrl = url.parse().unwrap();
    let response = Transport::new(&base).unwrap().oneshot(request).await.ok()?;
    let status = response.status();
    Some((status, response.into_body().collect().await.ok()?.to_bytes()))
}
