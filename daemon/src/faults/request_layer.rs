use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::Response;
use http::{Method, Request};
use tower::{Layer, Service};

use super::Faults;
use super::requests::RequestScope;
use crate::BoxError;

/// Adds the faults of requests to the daemon's API.
#[derive(Debug, Clone)]
pub(crate) struct RequestLayer(Faults);

/// The service of a [`RequestLayer`]. A lost response is an error, so that the server closes the connection without a response.
#[derive(Debug, Clone)]
pub(crate) struct FaultyApi<S> {
    faults: Faults,
    inner: S,
}

impl Faults {
    pub(crate) fn request_layer(&self) -> RequestLayer {
        RequestLayer(self.clone())
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = FaultyApi<S>;

    fn layer(&self, inner: S) -> FaultyApi<S> {
        FaultyApi { faults: self.0.clone(), inner }
    }
}

impl<S, B> Service<Request<B>> for FaultyApi<S>
where
    S: Service<Request<B>, Response = Response>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let scope = scope(&request);
        if let Some(response) = scope.and_then(|scope| self.faults.rejects(scope)) {
            return Box::pin(ready(Ok(response)));
        }
        let response = self.inner.call(request);
        let faults = self.faults.clone();
        Box::pin(async move {
            let response = response.await.map_err(Into::into)?;
            match scope {
                Some(scope) if response.status().is_success() && faults.loses(scope) => Err(LostResponse.into()),
                _ => Ok(response),
            }
        })
    }
}

impl Faults {
    fn rejects(&self, scope: RequestScope) -> Option<Response> {
        let response = self.state().of_request(scope, |requests| requests.reject.take())?;
        self.record(|seen| match scope {
            RequestScope::Submissions => seen.rejected_submissions += 1,
            RequestScope::Polls => seen.rejected_polls += 1,
            RequestScope::Cancels => seen.rejected_cancels += 1,
            RequestScope::All => seen.rejected_others += 1,
        });
        Some(response.to_response())
    }

    fn loses(&self, scope: RequestScope) -> bool {
        let lost = self.state().of_request(scope, |requests| requests.lose.take()).is_some();
        if lost {
            self.record(|seen| seen.lost_responses += 1);
        }
        lost
    }
}

/// `None` for `GET /healthz` and other methods at its path, which have no faults.
fn scope<B>(request: &Request<B>) -> Option<RequestScope> {
    let path = request.uri().path();
    let is_job = path.starts_with("/jobs/");
    Some(match *request.method() {
        _ if path == "/healthz" => return None,
        Method::POST if path == "/jobs" => RequestScope::Submissions,
        Method::GET if is_job => RequestScope::Polls,
        Method::DELETE if is_job => RequestScope::Cancels,
        _ => RequestScope::All,
    })
}

#[derive(Debug, Clone, Copy)]
struct LostResponse;

impl fmt::Display for LostResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("injected fault: response lost")
    }
}

impl std::error::Error for LostResponse {}
