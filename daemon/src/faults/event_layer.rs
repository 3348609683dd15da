use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, ServiceExt as _};

use super::Faults;
use super::event_gate::Opened;
use super::reordered::Reordered;
use crate::BoxError;
use crate::delivery::{DeliveryOutcome, Signer, Webhook};
use crate::failure::failure;
use crate::jobs::Jobs;
use crate::store::Delivery;

/// The outcome of an event that the daemon counts as delivered without sending it.
const DELIVERED: DeliveryOutcome = DeliveryOutcome::Response { status: StatusCode::NO_CONTENT, retry_after: None };

/// Adds the faults of events to the delivery of webhooks.
#[derive(Debug, Clone)]
pub(crate) struct EventLayer {
    faults: Faults,
    jobs: Arc<Jobs>,
    signer: Signer,
    ended: CancellationToken,
}

/// The service of an [`EventLayer`].
///
/// The future of an event that is held back is pending. It drops the ready inner service first, because that may have a permit
/// that other events need.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDelivery<S> {
    context: Arc<DeliveryContext>,
    inner: S,
}

#[derive(Debug)]
struct DeliveryContext {
    layer: EventLayer,
    reordered: Reordered,
}

impl Faults {
    /// `jobs` and `signer` are those of the dispatcher. Once `ended` is cancelled, no event is held back.
    pub(crate) fn event_layer(&self, jobs: &Arc<Jobs>, signer: &Signer, ended: &CancellationToken) -> EventLayer {
        EventLayer { faults: self.clone(), jobs: Arc::clone(jobs), signer: signer.clone(), ended: ended.clone() }
    }
}

impl<S> Layer<S> for EventLayer {
    type Service = FaultyDelivery<S>;

    fn layer(&self, inner: S) -> FaultyDelivery<S> {
        let context = DeliveryContext { layer: self.clone(), reordered: Reordered::default() };
        FaultyDelivery { context: Arc::new(context), inner }
    }
}

impl<S> Service<Webhook> for FaultyDelivery<S>
where
    S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = DeliveryOutcome;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<DeliveryOutcome, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, webhook: Webhook) -> Self::Future {
        let context = Arc::clone(&self.context);
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        Box::pin(async move { Ok(context.deliver(ready, webhook.delivery).await) })
    }
}

impl DeliveryContext {
    async fn deliver<S>(&self, mut inner: S, delivery: Delivery) -> DeliveryOutcome
    where
        S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible> + Clone,
    {
        let EventLayer { faults, jobs, ended, .. } = &self.layer;
        if let Some(gate) = faults.gate(&delivery) {
            // The clone is not ready, so it has no permit.
            inner = inner.clone();
            match gate.opened(jobs, &delivery, ended).await {
                Opened::Send => {}
                Opened::AfterNext => {
                    self.reordered.push(delivery);
                    return DELIVERED;
                }
            }
        }

        // First the event, then those that were put after it. The first failure is the outcome of all, so that the dispatcher
        // retries the rest.
        let mut queue = self.reordered.take(delivery);
        while let Some(next) = queue.front() {
            let outcome = self.send(&mut inner, next).await.unwrap_or_else(|error| {
                tracing::error!(job_id = %next.job_id, error = %failure(error.as_ref()), "cannot inject a fault");
                DeliveryOutcome::Failed
            });
            if !is_success(&outcome) {
                self.reordered.put_back(queue);
                return outcome;
            }
            queue.pop_front();
        }
        DELIVERED
    }

    /// Sends an event, unless it is silenced, with its faults.
    async fn send<S>(&self, inner: &mut S, delivery: &Delivery) -> Result<DeliveryOutcome, BoxError>
    where
        S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible>,
    {
        let EventLayer { faults, signer, .. } = &self.layer;
        if faults.silences(delivery) {
            return Ok(DELIVERED);
        }
        // Signed again for a current timestamp: receivers reject old ones, and the event may have been held back for hours.
        let webhook = faults.tamper(signer.sign(delivery.clone())?, signer)?;
        let outcome = attempt(inner, webhook).await;
        if is_success(&outcome) && faults.duplicates(delivery) {
            attempt(inner, signer.sign(delivery.clone())?).await;
        }
        Ok(outcome)
    }
}

async fn attempt<S>(inner: &mut S, webhook: Webhook) -> DeliveryOutcome
where
    S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible>,
{
    let Ok(inner) = inner.ready().await;
    let Ok(outcome) = inner.call(webhook).await;
    outcome
}

fn is_success(outcome: &DeliveryOutcome) -> bool {
    matches!(outcome, DeliveryOutcome::Response { status, .. } if status.is_success())
}

impl Faults {
    fn silences(&self, delivery: &Delivery) -> bool {
        let is_terminal = delivery.status.state.is_terminal();
        let silenced = self.state().of_event(is_terminal, |events| events.silence.take()).is_some();
        if silenced {
            self.record(|seen| seen.silenced_events += 1);
        }
        silenced
    }

    fn duplicates(&self, delivery: &Delivery) -> bool {
        let is_terminal = delivery.status.state.is_terminal();
        let duplicated = self.state().of_event(is_terminal, |events| events.duplicate.take()).is_some();
        if duplicated {
            self.record(|seen| seen.duplicated_events += 1);
        }
        duplicated
    }
}
