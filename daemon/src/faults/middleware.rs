use std::convert::Infallible;
use std::fmt;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use super::handle::Faults;
use super::requests::RequestScope;

/// Stands in an answer that is not to be sent, and is then the error that its connection ends with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is lost, which was asked for")
    }
}

impl std::error::Error for Lost {}

impl From<Infallible> for Lost {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Puts faults around all that answers, if there are any.
pub(crate) fn around(router: Router, faults: Option<Faults>) -> Router {
    match faults {
        Some(faults) => router.layer(axum::middleware::from_fn_with_state(faults, meddle)),
        None => router,
    }
}

/// An answer that is lost, as an error: a server closes the connection over it.
pub(crate) fn unless_lost(answer: Result<Response, Infallible>) -> Result<Response, Lost> {
    answer.map_err(Lost::from).and_then(|answer| match answer.extensions().get() {
        Some(Lost) => Err(Lost),
        None => Ok(answer),
    })
}

async fn meddle(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    let scope = scope(&request);
    let refusal = faults.state().of_request(scope, |requests| requests.refuse.take());
    if let Some(refusal) = refusal {
        faults.note(|seen| match scope {
            RequestScope::Submissions => seen.refused_submissions += 1,
            RequestScope::Polls => seen.refused_polls += 1,
            RequestScope::Cancels => seen.refused_cancels += 1,
            RequestScope::All => seen.refused_others += 1,
        });
        return refusal.answer();
    }
    let mut answer = next.run(request).await;
    if answer.status().is_success() && faults.state().of_request(scope, |requests| requests.lose.take()).is_some() {
        faults.note(|seen| seen.lost_answers += 1);
        answer.extensions_mut().insert(Lost);
    }
    answer
}

fn scope(request: &Request) -> RequestScope {
    let of_a_job = request.uri().path().starts_with("/jobs/");
    match *request.method() {
        Method::POST if request.uri().path() == "/jobs" => RequestScope::Submissions,
        Method::GET if of_a_job => RequestScope::Polls,
        Method::DELETE if of_a_job => RequestScope::Cancels,
        _ => RequestScope::All,
    }
}
