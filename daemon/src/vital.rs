use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::watch;

/// Reports the failure of a part without which the daemon is of no use, such as the thread that writes the store. The first one counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vital(Arc<watch::Sender<Option<Arc<str>>>>);

impl Vital {
    /// A part has failed, for this reason.
    pub(crate) fn fail(&self, reason: impl fmt::Display) {
        tracing::error!(%reason, "the daemon cannot continue");
        self.0.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| reason.to_string().into());
            first
        });
    }

    /// The reason, once a part has failed.
    pub(crate) fn reason(&self) -> Option<Arc<str>> {
        self.0.borrow().clone()
    }

    /// Completes with the reason when a part has failed.
    pub(crate) async fn failed(&self) -> Arc<str> {
        let mut failed = self.0.subscribe();
        loop {
            if let Some(reason) = failed.borrow_and_update().clone() {
                return reason;
            }
            // The sender is in `self`.
            let _ = failed.changed().await;
        }
    }

    /// Runs a task whose panic is such a failure.
    pub(crate) async fn guard(self, name: &'static str, task: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
            self.fail(format_args!("{name} panicked: {}", panic_message(&*panic)));
        }
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_failure_counts() {
        let vital = Vital::default();
        let mut failed = tokio_test::task::spawn(vital.failed());
        assert!(failed.poll().is_pending() && vital.reason().is_none());
        vital.clone().guard("delivery", async { panic!("no memory") }).await;
        vital.clone().guard("server", async {}).await;
        vital.fail("store file damaged");
        assert!(failed.is_woken());
        drop(failed);
        assert_eq!(&*vital.failed().await, "delivery panicked: no memory");
        assert_eq!(vital.reason().as_deref(), Some("delivery panicked: no memory"));
    }
}
