use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::JobId;

/// Notifies watchers when a job changes. A job without watchers has no entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<Mutex<Senders>>);

type Senders = HashMap<JobId, watch::Sender<()>>;

impl Signals {
    /// Watches a job from here on. Read the job after this call: a change before it is not reported.
    pub(crate) fn watch(&self, job_id: &JobId) -> Watch {
        let changes = lock(&self.0).entry(job_id.clone()).or_default().subscribe();
        Watch { changes, job_id: job_id.clone(), signals: self.clone() }
    }

    pub(crate) fn changed(&self, job_id: &JobId) {
        if let Some(sender) = lock(&self.0).get(job_id) {
            sender.send_replace(());
        }
    }
}

/// Watches one job.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: watch::Receiver<()>,
    job_id: JobId,
    signals: Signals,
}

impl Watch {
    /// Waits for a change since the last call. Changes in between count as one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no change is lost.
    pub(crate) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // Unreachable: the sender is in the map as long as this watch exists.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut senders = lock(&self.signals.0);
        // The last receiver is this one.
        if senders.get(&self.job_id).is_some_and(|sender| sender.receiver_count() <= 1) {
            senders.remove(&self.job_id);
        }
    }
}

fn lock(senders: &Mutex<Senders>) -> MutexGuard<'_, Senders> {
    senders.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn change_wakes_all_watchers_and_last_drop_removes_entry() {
        let signals = Signals::default();
        let job_id = JobId::new("7").unwrap();
        let (mut one, mut two) = (signals.watch(&job_id), signals.watch(&job_id));
        {
            let mut waits = (task::spawn(one.changed()), task::spawn(two.changed()));
            assert_pending!(waits.0.poll());
            assert_pending!(waits.1.poll());
            signals.changed(&job_id);
            assert!(waits.0.is_woken() && waits.1.is_woken());
            assert_ready!(waits.0.poll());
            assert_ready!(waits.1.poll());
        }
        drop(one);
        assert_eq!(lock(&signals.0).len(), 1);
        drop(two);
        assert!(lock(&signals.0).is_empty());
    }
}
