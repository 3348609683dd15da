//! Submissions to all daemons of the fleet.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::child::LEASE;
use super::killed::submit;

const SUBMITTERS: usize = 8;

/// What the submitters share with the rounds.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The URLs of the daemons.
    pub(crate) urls: Mutex<Vec<String>>,
    /// The keys and the jobs that got a 202.
    pub(crate) jobs: Mutex<Vec<(String, String)>>,
    accepted: Notify,
    /// Responses that were not a 202, and requests without a response.
    pub(crate) refused: Mutex<usize>,
}

impl Load {
    /// Submits for ever, until the set is dropped.
    pub(crate) fn start(self: &Arc<Self>, hook: &str) -> JoinSet<()> {
        let mut submitters = JoinSet::new();
        for submitter in 0..SUBMITTERS {
            let (load, hook) = (Arc::clone(self), hook.to_owned());
            submitters.spawn(async move {
                for number in 0_u64.. {
                    load.submit(&hook, &format!("key-{submitter}-{number}"), submitter).await;
                }
            });
        }
        submitters
    }

    /// Submits to one daemon after the other, until one accepts the job.
    async fn submit(&self, hook: &str, key: &str, first: usize) {
        for attempt in first.. {
            let url = {
                let urls = self.urls.lock().unwrap();
                urls[attempt % urls.len()].clone()
            };
            // A frozen daemon accepts connections and does not respond.
            let submitted = timeout(LEASE, submit(&url, hook, key)).await.ok().flatten();
            if let Some((StatusCode::ACCEPTED, job)) = submitted {
                self.jobs.lock().unwrap().push((key.to_owned(), job));
                self.accepted.notify_waiters();
                return;
            }
            *self.refused.lock().unwrap() += 1;
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many more jobs are accepted.
    pub(crate) async fn more(&self, jobs: usize) {
        let enough = self.jobs.lock().unwrap().len() + jobs;
        loop {
            let accepted = self.accepted.notified();
            if self.jobs.lock().unwrap().len() >= enough {
                return;
            }
            accepted.await;
        }
    }
}
