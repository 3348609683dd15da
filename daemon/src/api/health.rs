use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::json;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /healthz`: whether the daemon accepts jobs. Needs no token.
pub(super) async fn health(State(closing): State<CancellationToken>) -> Response {
    if closing.is_cancelled() {
        return json(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "stopping" });
    }
    json(StatusCode::OK, &Health { status: "ok" })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn closing_daemon_reports_stopping() {
        let closing = CancellationToken::new();
        let get = async || {
            let response = health(State(closing.clone())).await;
            (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
        };
        assert_eq!(get().await, (200, r#"{"status":"ok"}"#.into()));
        closing.cancel();
        assert_eq!(get().await, (503, r#"{"status":"stopping"}"#.into()));
    }
}
