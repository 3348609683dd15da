use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Faults;
use crate::jobs::Jobs;
use crate::store::Delivery;

/// Holds an event back.
#[derive(Debug)]
pub(super) struct EventGate {
    faults: Faults,
    condition: Condition,
    released: watch::Receiver<()>,
}

/// The condition that opens a gate.
#[derive(Debug)]
enum Condition {
    Delay(Duration),
    /// Once the job has another event.
    NextEvent,
}

/// What happens to an event once its gate is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Send,
    /// Send it after the next event of its job, which is in the store.
    AfterNext,
}

impl Faults {
    /// The gate of an event, if it has a fault that holds it back.
    pub(super) fn gate(&self, delivery: &Delivery) -> Option<EventGate> {
        let is_terminal = delivery.status.state.is_terminal();
        let mut state = self.state();
        let may_reorder = !is_terminal && !state.reordered.contains(&delivery.event_id);
        let condition = if may_reorder && state.of_event(is_terminal, |events| events.reorder.take()).is_some() {
            state.reordered.insert(delivery.event_id.clone());
            Condition::NextEvent
        } else {
            Condition::Delay(state.of_event(is_terminal, |events| events.delay.take())?)
        };
        let released = state.events_released.subscribe();
        drop(state);
        if let Condition::Delay(_) = condition {
            self.record(|seen| seen.delayed_events += 1);
        }
        Some(EventGate { faults: self.clone(), condition, released })
    }
}

impl EventGate {
    /// Waits until the condition is met, the faults are cleared or the daemon ends.
    pub(super) async fn opened(mut self, jobs: &Jobs, delivery: &Delivery, ended: &CancellationToken) -> Opened {
        let opened = tokio::select! {
            biased;
            opened = self.condition.wait(jobs, delivery) => opened,
            _ = self.released.changed() => Opened::Send,
            () = ended.cancelled() => Opened::Send,
        };
        if opened == Opened::AfterNext {
            self.faults.record(|seen| seen.reordered_events += 1);
        }
        opened
    }
}

impl Condition {
    async fn wait(&self, jobs: &Jobs, delivery: &Delivery) -> Opened {
        match self {
            Self::Delay(delay) => {
                sleep(*delay).await;
                Opened::Send
            }
            Self::NextEvent => {
                let mut watch = jobs.watch(&delivery.job_id);
                loop {
                    match jobs.progress(&delivery.job_id).await {
                        // The store records each state with an event: in another state, the job has another event.
                        Ok(Some(job)) if job.state != delivery.status.state => return Opened::AfterNext,
                        Ok(None) => return Opened::Send,
                        Ok(Some(_)) | Err(_) => watch.changed().await,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;
    use crate::faults::Times;
    use crate::owner::Owner;
    use crate::store::{Claim, NewJob, StoreOptions};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A queued job and its first event.
    async fn queued() -> (Jobs, Delivery) {
        let jobs = Jobs::in_memory(&StoreOptions::of_test(1));
        let webhook = Some("http://127.0.0.1:1".parse().unwrap());
        let new = NewJob { webhook, ..NewJob::of_test(r#"{"model":"m"}"#) };
        jobs.submit(new).await.unwrap().unwrap();
        let Claim::Now(delivery) = jobs.claim().await.unwrap() else { panic!("no event") };
        (jobs, delivery)
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_event_waits_for_its_delay() {
        let (faults, (jobs, delivery), ended) = (Faults::new(), queued().await, CancellationToken::new());
        faults.events().delay(HOUR, Times::Next(1));
        let mut opened = task::spawn(faults.gate(&delivery).unwrap().opened(&jobs, &delivery, &ended));
        assert_pending!(opened.poll());
        tokio::time::advance(HOUR - Duration::from_secs(1)).await;
        assert_pending!(opened.poll());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_ready_eq!(opened.poll(), Opened::Send);
        assert!(faults.gate(&delivery).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn clear_and_shutdown_open_the_gate() {
        for set in [
            |faults: &Faults| faults.events().delay(HOUR, Times::UntilCleared),
            |faults: &Faults| {
                faults.events().reorder(Times::UntilCleared);
            },
        ] {
            let (faults, (jobs, delivery), ended) = (Faults::new(), queued().await, CancellationToken::new());
            set(&faults);
            let mut opened = task::spawn(faults.gate(&delivery).unwrap().opened(&jobs, &delivery, &ended));
            assert_pending!(opened.poll());
            faults.clear();
            assert_ready_eq!(opened.poll(), Opened::Send);

            set(&faults);
            let mut opened = task::spawn(faults.gate(&delivery).unwrap().opened(&jobs, &delivery, &ended));
            assert_pending!(opened.poll());
            ended.cancel();
            assert_ready_eq!(opened.poll(), Opened::Send);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn event_is_reordered_with_the_next_event_and_only_once() {
        let (faults, (jobs, delivery), ended) = (Faults::new(), queued().await, CancellationToken::new());
        faults.events().reorder(Times::UntilCleared);
        let mut opened = task::spawn(faults.gate(&delivery).unwrap().opened(&jobs, &delivery, &ended));
        assert_pending!(opened.poll());
        tokio::time::advance(HOUR).await;
        assert_pending!(opened.poll());
        jobs.take(&crate::store::Wanted::any()).await.unwrap().unwrap();
        assert!(opened.is_woken());
        assert_ready_eq!(opened.poll(), Opened::AfterNext);
        assert_eq!(faults.seen().reordered_events, 1);
        assert!(faults.gate(&delivery).is_none());
    }

    #[tokio::test]
    async fn terminal_event_is_never_reordered() {
        let (faults, (jobs, delivery)) = (Faults::new(), queued().await);
        faults.events().reorder(Times::UntilCleared);
        jobs.cancel(Owner::ANONYMOUS, &delivery.job_id).await.unwrap();
        let status = jobs.status(Owner::ANONYMOUS, &delivery.job_id).await.unwrap().unwrap();
        assert!(faults.gate(&Delivery { status, ..delivery }).is_none());
    }
}
