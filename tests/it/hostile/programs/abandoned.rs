//! The drop policy `Cancel` when the response to the submission is lost.

use std::time::Duration;

use foreman_client::DropPolicy;
use tokio::time::Instant;

use super::daemon::Job;
use super::model::World;
use crate::support::seconds;

/// The longest pause that a daemon asks for, and more.
const FOUND_WITHIN: Duration = seconds(60);

impl World {
    /// The requests that are left are about to be dropped.
    pub(super) fn abandoned(&mut self) {
        self.log(|| "all requests are dropped".to_owned());
        let held = self.callers.values_mut().filter(|caller| caller.holders() > 0);
        held.for_each(|caller| caller.abandoned = Some(Instant::now()));
    }

    /// Whether the job of an abandoned submission is surely found and cancelled. A client that is shut down looks for none.
    fn is_found(&self, key: &str) -> bool {
        let caller = &self.callers[key];
        let hidden = caller.bare_sends > 0 || caller.leaked || caller.misled || self.counts.shutdowns > 0;
        let mut attempts = self.attempts.iter().filter(|it| it.key == key);
        let known = attempts.all(|it| self.daemons[it.daemon].plan.keys_assumed);
        caller.on_drop == DropPolicy::Cancel && known && !hidden
    }

    /// The lost jobs of abandoned submissions do not go on.
    pub(super) fn check_found(&mut self) {
        let (mut wrong, mut found) = (Vec::new(), 0);
        for (key, caller) in &self.callers {
            let Some(abandoned) = caller.abandoned.filter(|_| self.is_found(key)) else { continue };
            let mut jobs = self.daemons.iter().flat_map(|it| &it.jobs).filter(|job| job.key == *key);
            let goes_on = |job: &Job| !job.cancelled && job.ends > abandoned + FOUND_WITHIN;
            found += u64::from(caller.searched && jobs.clone().any(|job| job.cancelled));
            if jobs.any(goes_on) {
                wrong.push(key.clone());
            }
        }
        self.counts.found_jobs = found;
        for key in wrong {
            self.check(false, || format!("the lost job of {key} is not cancelled"));
        }
    }

    /// Whether an event of another job may have named the job of an abandoned submission, which is cancelled in its place.
    pub(super) fn is_mistaken(&self) -> bool {
        let cancels = |policy| policy == DropPolicy::Cancel;
        self.callers.values().any(|caller| caller.misled && cancels(caller.on_drop) && caller.holders() == 0)
    }
}
