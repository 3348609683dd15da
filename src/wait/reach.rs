use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::error::Kind;

/// How long after the first request without a response another one has to fail before the daemon counts as lost. A single one may be a
/// connection that was closed while it was idle.
const APART: Duration = Duration::from_millis(200);

/// Whether the daemon responds, as far as the requests of one client show.
///
/// A daemon that does not respond sends no webhooks either. So waits that rely on webhooks poll while it is lost, and find out soon whether
/// their jobs are.
#[derive(Debug, Default)]
pub(super) struct Reach {
    lost: AtomicBool,
    failing: AtomicBool,
    failing_since: Mutex<Option<Instant>>,
}

impl Reach {
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }

    /// A response or a webhook came.
    pub(super) fn responded(&self) {
        if self.failing.load(Relaxed) {
            let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
            *since = None;
            self.failing.store(false, Relaxed);
            self.lost.store(false, Relaxed);
        }
    }

    /// A request failed, by a response or for want of one. Returns whether the daemon counts as lost from now on.
    pub(super) fn failed(&self, error: &Error) -> bool {
        match error.kind() {
            kind if kind.is_no_response() => {}
            Kind::Status { .. } | Kind::Response(_) | Kind::TooLarge(_) | Kind::Unsupported { .. } => {
                self.responded();
                return false;
            }
            // It was not asked.
            _ => return false,
        }
        let now = Instant::now();
        let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *since.get_or_insert(now);
        self.failing.store(true, Relaxed);
        now.saturating_duration_since(first) >= APART && !self.lost.swap(true, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn daemon_is_lost_after_two_failures_apart_without_a_response() {
        let reach = Reach::default();
        let (refused, not_asked) = (Error::new(Kind::Connect), Error::new(Kind::Overloaded));
        assert!(!reach.failed(&refused) && !reach.failed(&refused), "at the same time");
        tokio::time::advance(APART).await;
        assert!(!reach.failed(&not_asked));
        reach.responded();
        assert!(!reach.failed(&refused), "the first one again");
        tokio::time::advance(APART).await;
        assert!(reach.failed(&refused) && reach.is_lost());
        assert!(!reach.failed(&refused) && reach.is_lost(), "already lost");
        reach.responded();
        assert!(!reach.is_lost());
    }

    #[tokio::test(start_paused = true)]
    async fn failure_by_a_response_is_a_sign_of_life() {
        let status = |status| Kind::Status { status, reason: None, retry_after: None };
        for kind in [
            status(StatusCode::UNAUTHORIZED),
            status(StatusCode::SERVICE_UNAVAILABLE),
            Kind::Response("not JSON".into()),
            Kind::TooLarge(1),
            Kind::Unsupported { feature: "lists", status: StatusCode::NOT_FOUND },
        ] {
            let reach = Reach::default();
            let (refused, responded) = (Error::new(Kind::Connect), Error::new(kind));
            reach.failed(&refused);
            tokio::time::advance(APART).await;
            assert!(!reach.failed(&responded) && !reach.failed(&refused), "the first one again");
            tokio::time::advance(APART).await;
            assert!(reach.failed(&refused) && reach.is_lost());
            reach.failed(&responded);
            assert!(!reach.is_lost(), "{responded:?}");
        }
    }
}
