use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;

use super::{App, json};

/// How long the store may take. Another process that locks it for longer delays all submissions.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<&'static str>,
    /// Also those that leave others to run the jobs of their models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable_backends: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
}

/// `GET /healthz`: whether the process is of use. If not, it should be restarted. Needs no token.
pub(super) async fn live(State(app): State<Arc<App>>) -> Response {
    let status = liveness(app.vital.reason().is_some(), app.closing.is_cancelled());
    health(&Health { status, problems: Vec::new(), unavailable_backends: Vec::new(), draining: false }, status == "ok")
}

fn liveness(has_failed: bool, is_closing: bool) -> &'static str {
    match (has_failed, is_closing) {
        (true, _) => "failed",
        (false, true) => "stopping",
        (false, false) => "ok",
    }
}

/// `GET /readyz`: whether a job that is submitted now would be stored and run. Needs no token, so that it reports no more than
/// names. A daemon that drains is ready as long as another one takes the jobs that it accepts.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let stored = timeout(STORE_TIMEOUT, app.jobs.check()).await;
    let (boxes, draining) = app.jobs.count_boxes();
    let unavailable_backends = app.backends.unavailable();
    let problems: Vec<_> = [
        ("failed", app.vital.reason().is_some()),
        ("stopping", app.closing.is_cancelled()),
        ("store", !matches!(stored, Ok(Ok(())))),
        ("lease", app.jobs.has_lost_lease()),
        ("backend", unavailable_backends.len() == app.backends.members().len()),
        ("draining", app.jobs.is_draining() && boxes == draining),
    ]
    .into_iter()
    .filter_map(|(problem, is_present)| is_present.then_some(problem))
    .collect();
    let is_ready = problems.is_empty();
    let status = if is_ready { "ready" } else { "not ready" };
    health(&Health { status, problems, unavailable_backends, draining: app.jobs.is_draining() }, is_ready)
}

fn health(health: &Health<'_>, is_good: bool) -> Response {
    json(if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, health)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_reported_before_a_stop() {
        let of = [(false, false), (false, true), (true, false), (true, true)];
        assert_eq!(of.map(|(failed, closing)| liveness(failed, closing)), ["ok", "stopping", "failed", "failed"]);
    }

    #[test]
    fn only_good_health_is_200() {
        let of = |is_good| {
            health(
                &Health { status: "ready", problems: Vec::new(), unavailable_backends: Vec::new(), draining: true },
                is_good,
            )
            .status()
        };
        assert_eq!((of(true), of(false)), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    }
}
