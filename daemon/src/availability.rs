use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foreman_protocol::HumanDuration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::failure::failure;
use crate::BoxError;
use crate::lists::Lists;

/// The pauses before the first probe and between later ones, which double.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The longest pause that a backend can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Whether the backend can run jobs.
///
/// An outage concerns all jobs. Without this, each of them would be started once to fail. All workers wait for its end, and one
/// of them at a time probes the backend.
#[derive(Debug, Default)]
pub(crate) struct Availability {
    /// The name of the backend, for the log.
    name: Box<str>,
    /// Its place in the lists that are published.
    index: usize,
    lists: Lists,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    /// How often it was unavailable since it last ran a job. A successful probe does not end the series: a server may list its models and
    /// run none.
    failures: u32,
}

#[derive(Debug)]
struct Outage {
    reason: String,
    since: Instant,
    /// When it is probed.
    probe_at: Instant,
    probing: bool,
}

/// Ends a probe that is dropped.
struct Probe<'a>(&'a Availability);

impl Availability {
    /// `index`: the place of the backend in the lists.
    pub(crate) fn new(name: &str, index: usize, lists: Lists) -> Self {
        Self { name: name.into(), index, lists, ..Self::default() }
    }

    /// Why the backend is unavailable, if it is.
    pub(crate) fn outage(&self) -> Option<String> {
        self.state().outage.as_ref().map(|outage| outage.reason.clone())
    }

    /// An attempt found that it is unavailable.
    pub(crate) fn failed(&self, reason: &str, retry_after: Option<Duration>) {
        let mut state = self.state();
        // The other attempts that were in flight find the same outage.
        if state.outage.is_some() {
            return;
        }
        let now = Instant::now();
        let probe_at = now + state.next_pause(retry_after);
        state.outage = Some(Outage { reason: reason.to_owned(), since: now, probe_at, probing: false });
        // With the lock, so that the lists have the latest change.
        self.lists.set_available(self.index, false);
        drop(state);
        tracing::warn!(backend = %self.name, reason, "backend unavailable; jobs wait until it is available");
    }

    /// An attempt shows that it runs jobs.
    pub(crate) fn worked(&self) {
        self.state().failures = 0;
        self.end();
    }

    /// Waits until it is available, and probes it meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends a probe that it has begun. Another waiting task probes instead.
    pub(crate) async fn wait<F>(&self, probe: impl Fn() -> F)
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        loop {
            // Registered before the state is read.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.next_step() {
                Step::Go => return,
                Step::Wait(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(until) => {}
                    }
                }
                Step::WaitForProbe => changed.await,
                Step::Probe => {
                    let running = Probe(self);
                    match probe().await {
                        Ok(()) => self.end(),
                        Err(error) => self.state().postpone(&failure(error.as_ref())),
                    }
                    drop(running);
                }
            }
        }
    }

    fn next_step(&self) -> Step {
        let mut state = self.state();
        match &mut state.outage {
            None => Step::Go,
            Some(Outage { probing: true, .. }) => Step::WaitForProbe,
            Some(outage) if Instant::now() < outage.probe_at => Step::Wait(outage.probe_at),
            Some(outage) => {
                outage.probing = true;
                Step::Probe
            }
        }
    }

    fn end(&self) {
        let mut state = self.state();
        let Some(outage) = state.outage.take() else { return };
        self.lists.set_available(self.index, true);
        drop(state);
        tracing::info!(backend = %self.name, after = %HumanDuration(outage.since.elapsed()), "backend available again");
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Step {
    Go,
    Wait(Instant),
    WaitForProbe,
    Probe,
}

impl State {
    fn next_pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let doubled = PAUSES.0.saturating_mul(1 << self.failures.min(16)).min(PAUSES.1);
        self.failures = self.failures.saturating_add(1);
        doubled.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }

    /// A probe has failed.
    fn postpone(&mut self, reason: &str) {
        let probe_at = Instant::now() + self.next_pause(None);
        if let Some(outage) = &mut self.outage {
            outage.probe_at = probe_at;
            reason.clone_into(&mut outage.reason);
        }
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(outage) = &mut self.0.state().outage {
            outage.probing = false;
        }
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::advance;
    use tokio_test::task::spawn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_task_probes_in_pauses_that_double() {
        let availability = Availability::default();
        let probes = Cell::new(Vec::new());
        let start = Instant::now();
        let probe = || {
            let mut times = probes.take();
            times.push(start.elapsed().as_secs());
            let up = times.len() == 8;
            probes.set(times);
            async move { if up { Ok(()) } else { Err(BoxError::from("connection refused")) } }
        };
        availability.wait(probe).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        availability.failed("connection refused", None);
        availability.failed("of an attempt that was in flight", None);
        assert_eq!(availability.outage().as_deref(), Some("connection refused"));
        tokio::join!(availability.wait(probe), availability.wait(probe), availability.wait(probe));
        assert_eq!(probes.take(), [1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(availability.outage(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_job_that_runs_ends_the_series() {
        let availability = Availability::default();
        let lists_models = || async { Ok(()) };
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            availability.failed("503", None);
            availability.wait(lists_models).await;
            waits.push(start.elapsed());
        }
        assert_eq!(waits, [SECOND, 2 * SECOND, 4 * SECOND]);
        availability.worked();
        let start = Instant::now();
        availability.failed("503", Some(30 * SECOND));
        availability.wait(lists_models).await;
        assert_eq!(start.elapsed(), 30 * SECOND);
        availability.failed("503", Some(Duration::MAX));
        availability.wait(lists_models).await;
        assert_eq!(start.elapsed(), 630 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_probe_is_made_by_another_task() {
        let availability = Availability::default();
        availability.failed("down", None);
        advance(2 * SECOND).await;
        let mut hanging = spawn(availability.wait(std::future::pending::<Result<(), BoxError>>));
        assert!(hanging.poll().is_pending());
        let mut waiting = spawn(availability.wait(|| async { Ok(()) }));
        assert!(waiting.poll().is_pending());
        drop(hanging);
        assert!(waiting.is_woken() && waiting.poll().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn running_job_ends_an_outage() {
        let availability = Availability::default();
        availability.failed("down", None);
        let mut waiting = spawn(availability.wait(std::future::pending::<Result<(), BoxError>>));
        assert!(waiting.poll().is_pending());
        availability.worked();
        assert!(waiting.is_woken() && waiting.poll().is_ready());
    }
}
