use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foreman_protocol::HumanDuration;
use tokio::time::Instant;

use super::failure::failure;
use super::store::StoreError;

/// A success that began sooner after the last failure does not end an outage, so that the log of a store that fails now and then stays
/// short.
const QUIET: Duration = Duration::from_secs(1);

/// After so long without a failure, the next one is another outage: an idle daemon has no success that would end the first.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Logs an outage of the store once, and its end. The failures in between are counted: there may be one for each request.
#[derive(Debug)]
pub(crate) struct OutageLog {
    /// What the store cannot do, such as `renew the lease`.
    what: &'static str,
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    since: Instant,
    last: Instant,
    failures: u64,
}

impl OutageLog {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, outage: Mutex::new(None) }
    }

    /// Runs a transaction. `has_worked`: whether its result shows that the store works again.
    pub(crate) async fn observe<T>(
        &self,
        transaction: impl Future<Output = Result<T, StoreError>>,
        has_worked: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = transaction.await;
        match &result {
            Ok(value) if has_worked(value) => self.worked(began),
            Ok(_) => {}
            Err(error) => self.failed(error),
        }
        result
    }

    /// An error that concerns one request only is no outage.
    pub(crate) fn failed(&self, error: &StoreError) {
        let (is_outage, text) = (error.is_outage(), failure(error));
        if !is_outage {
            tracing::error!(error = text, "cannot {}", self.what);
        } else if self.begin_or_count(Instant::now()) {
            tracing::error!(error = text, "cannot {}; further failures are counted", self.what);
        } else {
            tracing::debug!(error = text, "cannot {}", self.what);
        }
    }

    /// A transaction that began at this time has succeeded.
    pub(crate) fn worked(&self, began: Instant) {
        if let Some(Outage { since, failures, .. }) = self.end(began) {
            let lasted = HumanDuration(since.elapsed());
            tracing::info!(failures, %lasted, "can {} again", self.what);
        }
    }

    /// Returns whether an outage begins.
    fn begin_or_count(&self, now: Instant) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.take_if(|outage| now.saturating_duration_since(outage.last) > FORGOTTEN);
        let begins = outage.is_none();
        let outage = outage.get_or_insert(Outage { since: now, last: now, failures: 0 });
        (outage.last, outage.failures) = (now, outage.failures.saturating_add(1));
        begins
    }

    /// Returns the outage that ends.
    fn end(&self, began: Instant) -> Option<Outage> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.take_if(|outage| began.saturating_duration_since(outage.last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_begins_once_and_ends_with_a_success_after_a_quiet_time() {
        let (log, start) = (OutageLog::new("test"), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(log.end(at(0)), None);
        assert!(log.begin_or_count(at(0)));
        assert!(!log.begin_or_count(at(2_000)));
        // The first one began before the last failure.
        for began in [1_900, 2_000, 2_999] {
            assert_eq!(log.end(at(began)), None);
        }
        assert_eq!(log.end(at(3_000)), Some(Outage { since: at(0), last: at(2_000), failures: 2 }));
        assert_eq!(log.end(at(9_000)), None);
        assert!(log.begin_or_count(at(9_000)));
        // Without a success, as of an idle daemon.
        assert!(!log.begin_or_count(at(69_000)));
        assert!(log.begin_or_count(at(129_001)));
        assert_eq!(log.end(at(131_000)), Some(Outage { since: at(129_001), last: at(129_001), failures: 1 }));
    }
}
