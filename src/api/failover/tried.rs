use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreman_protocol::BaseUrl;

/// The addresses to which a request was sent, for its error. It is an extension of the request, because the caller may drop the request
/// before it has a response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    bases: Vec<BaseUrl>,
    /// The one whose response or error is that of the request.
    outcome: usize,
}

impl Tried {
    /// The request is sent to this address.
    pub(super) fn add(&self, base: &BaseUrl) {
        let mut list = self.locked();
        list.bases.push(base.clone());
        list.outcome = list.bases.len() - 1;
    }

    /// The request has the outcome of this attempt, and not that of the last one.
    pub(super) fn ended_by(&self, attempt: usize) {
        self.locked().outcome = attempt;
    }

    /// The path at the address that the outcome is of, and the other addresses. `base`: the only address, if there are no others.
    pub(crate) fn describe(&self, base: &BaseUrl, path: &str) -> String {
        let list = self.locked();
        let others = list.bases.iter().enumerate().filter(|(at, _)| *at != list.outcome);
        let others: Vec<_> = others.map(|(_, base)| base.as_str()).collect();
        let base = list.bases.get(list.outcome).unwrap_or(base);
        match others.as_slice() {
            [] => format!("{base}{path}"),
            others => format!("{base}{path} (also tried: {})", others.join(", ")),
        }
    }

    fn locked(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
