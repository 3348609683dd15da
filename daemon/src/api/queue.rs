use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use uuid::Uuid;

use super::{App, Rejection};

const FOREMAN_QUEUE: HeaderName = HeaderName::from_static("foreman-queue");

/// The id of the queue, as a header.
#[derive(Debug)]
pub(crate) struct QueueId(HeaderValue);

impl QueueId {
    #[expect(clippy::expect_used, reason = "hexadecimal digits are a valid header")]
    pub(crate) fn new(id: Uuid) -> Self {
        Self(HeaderValue::try_from(id.to_string()).expect("hexadecimal digits"))
    }
}

/// Middleware: names the queue in each response, and rejects a request for another queue. A client that is given two addresses of two queues
/// so finds out before the second one has acted on a request.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let QueueId(id) = &app.queue;
    let mut response = if request.headers().get_all(FOREMAN_QUEUE).iter().all(|required| required == id) {
        next.run(request).await
    } else {
        Rejection::new(StatusCode::MISDIRECTED_REQUEST, "this daemon has another queue").into_response()
    };
    response.headers_mut().insert(FOREMAN_QUEUE, id.clone());
    response
}
