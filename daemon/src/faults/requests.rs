use super::state::{RequestState, State};
use super::{Faults, InjectedResponse, Times};

/// Faults of one kind of request, or of all requests.
#[derive(Debug, Clone, Copy)]
#[must_use = "it only selects requests; call a method to set a fault"]
pub struct RequestFaults<'a> {
    faults: &'a Faults,
    scope: RequestScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestScope {
    Submissions,
    Polls,
    Cancels,
    /// Of a fault: every request. Of a request: none of the other kinds.
    All,
}

impl<'a> RequestFaults<'a> {
    pub(super) fn new(faults: &'a Faults, scope: RequestScope) -> Self {
        Self { faults, scope }
    }

    /// Processes the request, then closes the connection without sending a byte of the response.
    ///
    /// Only successful responses (2xx) are lost: after a lost response to a submission, the job exists. Other responses are sent
    /// and do not count.
    pub fn lose_responses(self, times: Times) {
        self.set(|requests| requests.lose.arm((), times));
    }

    /// Sends this response without processing the request. It comes before every check, that of the token included.
    pub fn reject(self, response: InjectedResponse, times: Times) {
        self.set(|requests| requests.reject.arm(response, times));
    }

    /// Rejects requests with 404, the response for an unknown job. It replaces what [`reject`](Self::reject) has set.
    pub fn not_found(self, times: Times) {
        self.reject(InjectedResponse::not_found(), times);
    }

    /// Clears these faults.
    pub fn clear(self) {
        self.set(|requests| *requests = RequestState::default());
    }

    fn set(self, change: impl FnOnce(&mut RequestState)) {
        change(self.faults.state().requests(self.scope));
    }
}

impl State {
    fn requests(&mut self, scope: RequestScope) -> &mut RequestState {
        match scope {
            RequestScope::Submissions => &mut self.submissions,
            RequestScope::Polls => &mut self.polls,
            RequestScope::Cancels => &mut self.cancels,
            RequestScope::All => &mut self.requests,
        }
    }

    /// The fault of that kind of request, else that of all requests.
    pub(super) fn of_request<T>(
        &mut self,
        scope: RequestScope,
        mut take: impl FnMut(&mut RequestState) -> Option<T>,
    ) -> Option<T> {
        take(self.requests(scope)).or_else(|| take(&mut self.requests))
    }
}
