use foreman_client::SubmitRequest;
use tower::hedge::Policy;

/// Hedges every request.
#[derive(Clone)]
pub(crate) struct AlwaysHedge;

impl Policy<SubmitRequest> for AlwaysHedge {
    fn clone_request(&self, request: &SubmitRequest) -> Option<SubmitRequest> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &SubmitRequest) -> bool {
        true
    }
}
