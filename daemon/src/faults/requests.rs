use super::handle::Faults;
use super::state::{OfRequests, State};
use super::{Refusal, Times};

/// Faults of one kind of request, or of all.
#[derive(Debug, Clone, Copy)]
#[must_use = "it names requests, and a fault of theirs is to follow"]
pub struct RequestFaults<'a> {
    faults: &'a Faults,
    scope: RequestScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestScope {
    Submissions,
    Polls,
    Cancels,
    /// As one that is asked for: every kind. As one that a request has: none of the others.
    All,
}

impl<'a> RequestFaults<'a> {
    pub(super) fn new(faults: &'a Faults, scope: RequestScope) -> Self {
        Self { faults, scope }
    }

    /// Carries the request out and then closes the connection without a byte of the answer. Only answers that mean yes are
    /// lost, so that of a submission the job is there; other answers pass, and do not count.
    pub fn lose_answers(self, times: Times) {
        self.set(|requests| requests.lose.arm((), times));
    }

    /// Answers this before anything of the request is looked at.
    pub fn refuse(self, refusal: Refusal, times: Times) {
        self.set(|requests| requests.refuse.arm(refusal, times));
    }

    /// Answers 404, as for a job that is not known (yet).
    pub fn not_found(self, times: Times) {
        self.refuse(Refusal::not_found(), times);
    }

    /// Takes these faults back.
    pub fn clear(self) {
        self.set(|requests| *requests = OfRequests::default());
    }

    fn set(self, change: impl FnOnce(&mut OfRequests)) {
        change(self.faults.state().of(self.scope));
    }
}

impl State {
    fn of(&mut self, scope: RequestScope) -> &mut OfRequests {
        match scope {
            RequestScope::Submissions => &mut self.submissions,
            RequestScope::Polls => &mut self.polls,
            RequestScope::Cancels => &mut self.cancels,
            RequestScope::All => &mut self.requests,
        }
    }

    /// The fault of that kind of request; else that of all.
    pub(super) fn of_request<T>(
        &mut self,
        scope: RequestScope,
        mut take: impl FnMut(&mut OfRequests) -> Option<T>,
    ) -> Option<T> {
        take(self.of(scope)).or_else(|| take(&mut self.requests))
    }
}
