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

/// The outcome of an event that the daemon takes for delivered.
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
/// An event that is held back is a future that is pending. It gives back the readiness of the inner service first, which may be a
/// permit that other events need.
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
        Box::pin(async move {
            Ok(context.deliver(ready, webhook.delivery).await.unwrap_or_else(|error| {
                tracing::error!(error = %failure(error.as_ref()), "cannot inject a fault");
                DeliveryOutcome::Failed
            }))
        })
    }
}

impl DeliveryContext {
    async fn deliver<S>(&self, mut inner: S, delivery: Delivery) -> Result<DeliveryOutcome, BoxError>
    where
        S: Service<Webhook, Response = DeliveryOutcome, Error = Infallible> + Clone,
    {
        let EventLayer { faults, jobs, ended, .. } = &self.layer;
        if let Some(gate) = faults.gate(&delivery) {
            // A clone is not ready: it has no permit.
            inner = inner.clone();
            match gate.opened(jobs, &delivery, ended).await {
                Opened::Send => {}
                Opened::AfterNext => {
                    self.reordered.push(delivery);
                    return Ok(DELIVERED);
                }
            }
        }

        // First the event, then those that were put after it. The outcome is the first failure, so that the dispatcher retries
        // what is left.
        let mut queue = self.reordered.take(delivery);
        while let Some(next) = queue.front() {
            let outcome = self.send(&mut inner, next).await?;
            if !is_success(&outcome) {
                self.reordered.put_back(queue);
                return Ok(outcome);
            }
            queue.pop_front();
        }
        Ok(DELIVERED)
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
        // Signed anew, since the event may have been held back for longer than receivers accept its timestamp.
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
