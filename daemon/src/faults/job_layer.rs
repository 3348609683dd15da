use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tower::{Layer, Service, ServiceExt as _};

use super::Faults;
use crate::backend::Chat;

/// Adds the faults of jobs to a backend.
#[derive(Debug, Clone)]
pub(crate) struct JobLayer(Faults);

/// The service of a [`JobLayer`]. It is always ready: a stalled job reserves nothing in the backend.
#[derive(Debug, Clone)]
pub(crate) struct FaultyBackend<S> {
    faults: Faults,
    inner: S,
}

impl Faults {
    pub(crate) fn job_layer(&self) -> JobLayer {
        JobLayer(self.clone())
    }

    fn stalls(&self) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        state.stall.take()?;
        let released = state.jobs_released.subscribe();
        drop(state);
        self.record(|seen| seen.stalled_jobs += 1);
        Some(released)
    }
}

impl<S> Layer<S> for JobLayer {
    type Service = FaultyBackend<S>;

    fn layer(&self, inner: S) -> FaultyBackend<S> {
        FaultyBackend { faults: self.0.clone(), inner }
    }
}

impl<S> Service<Chat> for FaultyBackend<S>
where
    S: Service<Chat> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, chat: Chat) -> Self::Future {
        let (faults, inner) = (self.faults.clone(), self.inner.clone());
        Box::pin(async move {
            if let Some(mut released) = faults.stalls() {
                // The sender is in `faults`, so this cannot fail.
                let _ = released.changed().await;
            }
            inner.oneshot(chat).await
        })
    }
}
