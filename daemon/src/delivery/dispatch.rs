use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::{DeliveryOutcome, RetrySchedule, Signer, Webhook};
use crate::failure::failure;
use crate::jobs::Jobs;
use crate::store::{BreakerChange, Claim, Delivery, Destination, Destinations, Verdict};
use crate::until_stored::{STORE_RETRY, until_stored};

#[cfg(test)]
mod tests;

/// Claims the events that are due and drives a delivery service with them.
///
/// The service limits how many attempts are in flight: the dispatcher claims an event once the service is ready for it. The store
/// limits the attempts to each destination, by what the dispatcher reports of it.
#[derive(Debug)]
pub(crate) struct Dispatcher<S> {
    context: Arc<Context>,
    service: S,
}

#[derive(Debug)]
struct Context {
    jobs: Arc<Jobs>,
    signer: Signer,
    schedule: RetrySchedule,
    permits: Arc<Semaphore>,
    destinations: Arc<Destinations>,
}

impl<S> Dispatcher<S>
where
    S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// `destinations` are the limits of the store. `permits` are those of the concurrency limit in `service`. An outcome takes
    /// one too while it is stored, so that a full disk stops new attempts, and outcomes do not pile up in memory.
    pub(crate) fn new(
        jobs: Arc<Jobs>,
        signer: Signer,
        schedule: RetrySchedule,
        permits: Arc<Semaphore>,
        destinations: Arc<Destinations>,
        service: S,
    ) -> Self {
        Self { context: Arc::new(Context { jobs, signer, schedule, permits, destinations }), service }
    }

    /// Delivers events until `closing` is cancelled, then those that are due by then.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let jobs = &self.context.jobs;
        let mut attempts = JoinSet::new();
        loop {
            while attempts.try_join_next().is_some() {}
            // A clone for each attempt: a permit goes with the attempt, and the dispatcher has none while it waits for events.
            let mut service = self.service.clone();
            let Ok(_) = service.ready().await;
            let next = match jobs.claim().await {
                Ok(Claim::Now(delivery)) => {
                    let context = Arc::clone(&self.context);
                    let closing = closing.clone();
                    attempts.spawn(async move { context.attempt(service, delivery, &closing).await });
                    continue;
                }
                Ok(Claim::At(next)) => Some(next),
                Ok(Claim::Nothing) => None,
                Err(error) => {
                    tracing::debug!(error = %failure(&error), "cannot read the events that are due");
                    Some(Instant::now() + STORE_RETRY)
                }
            };
            drop(service);
            if closing.is_cancelled() && attempts.is_empty() {
                return;
            }
            tokio::select! {
                () = jobs.event_due() => {}
                Some(_) = attempts.join_next() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = closing.cancelled(), if !closing.is_cancelled() => {}
            }
        }
    }
}

impl Context {
    async fn attempt<S>(&self, service: S, delivery: Delivery, closing: &CancellationToken)
    where
        S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible>,
    {
        self.jobs.counters.webhook_attempts.add();
        let (job_id, attempt) = (delivery.job_id.clone(), delivery.attempt);
        let (destination, began) = (Destination::of(&delivery.to.url), Instant::now());
        let outcome = self.deliver(service, delivery).await;
        if let Some(works) = outcome.receiver_works() {
            self.report(&destination, works, began);
        }
        let verdict = self.schedule.verdict(&outcome, attempt, Instant::now());
        match &verdict {
            Verdict::Delivered => self.jobs.counters.webhooks_delivered.add(),
            Verdict::Again(_) => tracing::debug!(%job_id, ?outcome, attempt, "webhook not delivered, retrying later"),
            Verdict::GiveUp | Verdict::Stop => {
                self.jobs.counters.webhooks_given_up.add();
                tracing::warn!(%job_id, ?outcome, attempt, "webhook given up");
            }
        }
        let _permit = self.permits.acquire().await;
        let settle = || self.jobs.settle(&job_id, verdict.clone());
        // Without this the event would be sent again and again while the disk is full. If the last try fails, the event is sent
        // again after the next start.
        until_stored(&job_id, "the outcome of a webhook", closing, settle).await;
    }

    fn report(&self, destination: &Destination, works: bool, began: Instant) {
        match self.destinations.report(destination, works, began) {
            Some(BreakerChange::Opened) => {
                tracing::warn!(%destination, "webhooks wait: the receiver fails; one at a time is sent as a probe");
            }
            Some(BreakerChange::Closed) => tracing::info!(%destination, "webhooks continue: the receiver works again"),
            None => {}
        }
    }

    async fn deliver<S>(&self, mut service: S, delivery: Delivery) -> DeliveryOutcome
    where
        S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible>,
    {
        match self.signer.sign(delivery) {
            Ok(webhook) => {
                let Ok(outcome) = service.call(webhook).await;
                outcome
            }
            Err(error) => {
                tracing::error!(error = %failure(error.as_ref()), "cannot sign a webhook");
                DeliveryOutcome::Failed
            }
        }
    }
}
