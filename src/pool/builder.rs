use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::discover::Discover;

use super::driver::{FixedList, drive};
use super::service::Pool;
use super::shared::Shared;
use crate::api::HttpService;
use crate::{BoxError, Client, Error};

/// How often the lists of models are requested unless set otherwise.
const MODELS_INTERVAL: Duration = Duration::from_secs(30);

/// Builds a [`Pool`]; made by [`Pool::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct PoolBuilder {
    models_interval: Duration,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self { models_interval: MODELS_INTERVAL }
    }

    /// How often the list of models of each daemon is requested (`GET /api/tags`), up to a tenth more; 30 s unless set. A new model is used
    /// after that time at the latest.
    pub fn models_interval(mut self, interval: Duration) -> Self {
        self.models_interval = interval;
        self
    }

    /// A pool of these clients.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if there is no client, if two of them have the same base URL and the same token, for an interval of zero, and
    /// outside of a tokio runtime, in which the pool requests the lists of models.
    pub fn from_clients<T>(self, clients: impl IntoIterator<Item = Client<T>>) -> Result<Pool<T>, Error>
    where
        T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
    {
        let (shared, runtime, now) = (self.shared()?, self.runtime()?, Instant::now());
        for client in clients {
            let id = client.api().daemon_id();
            let url = id.base_url().clone();
            if !shared.update(|members| members.enter(client, id, now)).is_new {
                return Err(Error::invalid("clients", format!("has the daemon {url} twice")));
            }
        }
        if shared.read(|members| members.all().is_empty()) {
            return Err(Error::invalid("clients", "must not be empty"));
        }
        shared.complete();
        let driver = runtime.spawn(drive(Arc::downgrade(&shared), None::<FixedList<T>>));
        shared.own_driver(driver.abort_handle());
        Ok(Pool::new(shared))
    }

    /// A pool of the clients that `discover` yields: any stream of
    /// [`Change`](tower::discover::Change)s.
    ///
    /// A daemon that is removed gets no new jobs, and its waits go on. If two keys have a client with the same base URL and the same token,
    /// that is one daemon, which is removed with its last key. Its newest client that was not shut down gets the new calls; waits stay at
    /// theirs. So a client is replaced by inserting another one with its key. An error of the stream is logged, and the stream is polled
    /// again after a second.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for an interval of zero, and outside of a tokio runtime, in which the stream is polled.
    pub fn discover<D, T>(self, discover: D) -> Result<Pool<T>, Error>
    where
        D: Discover<Key: Hash + Send, Service = Client<T>, Error: Into<BoxError>> + Send + 'static,
        T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
    {
        let (shared, runtime) = (self.shared()?, self.runtime()?);
        let driver = runtime.spawn(drive(Arc::downgrade(&shared), Some(discover)));
        shared.own_driver(driver.abort_handle());
        Ok(Pool::new(shared))
    }

    fn shared<T>(&self) -> Result<Arc<Shared<T>>, Error> {
        if self.models_interval.is_zero() {
            return Err(Error::invalid("models_interval", "must not be zero"));
        }
        Ok(Shared::new(self.models_interval))
    }

    fn runtime(&self) -> Result<Handle, Error> {
        Handle::try_current().map_err(|error| Error::invalid("runtime", "must be a tokio runtime").with_source(error))
    }
}
