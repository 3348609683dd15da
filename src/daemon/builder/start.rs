use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Builder, LONGEST};
use crate::Error;
use crate::daemon::api::Tokens;
use crate::daemon::attempts::Attempts;
#[cfg(feature = "tls")]
use crate::daemon::delivery::Roots;
use crate::daemon::delivery::{Policy, Schedule};
use crate::daemon::handle::{Daemon, Plan};
use crate::daemon::server::Limits;
use crate::daemon::store::{Memory, Sqlite, Store};
use crate::webhook::Secret;

impl Builder {
    /// Checks what was said, listens, and begins to work.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the field: for a limit of zero, an empty token, secret or queue, a token that cannot stand
    /// in a header, roots that are no certificates, an address that cannot be listened at, and a [store](Self::store) that
    /// cannot be opened, is damaged, is in use by another daemon, belongs to another program or was written by a newer version.
    /// A file that is refused is left as it is.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it leaves nothing behind but an empty store.
    pub async fn start(self) -> Result<Daemon, Error> {
        let max_queue = positive("max_queue", self.max_queue)?.get();
        let batch = positive("model_batch", self.model_batch)?;
        lasting("keep", self.keep)?;
        let keep = self.keep;
        let plan = Plan {
            tokens: tokens(&self.tokens)?,
            secret: self.webhook_secret.map(Secret::new).transpose()?,
            schedule: self.webhook_retries.map(Schedule::new).unwrap_or_default(),
            policy: Policy { hosts: self.webhook_hosts, private: self.private_webhooks },
            #[cfg(feature = "tls")]
            roots: self.webhook_roots.as_deref().map_or_else(|| Ok(Roots::none()), Roots::from_pem)?,
            webhooks_at_once: positive("webhooks_at_once", self.webhooks_at_once)?,
            workers: positive("workers", self.workers)?,
            attempts: Attempts {
                most: NonZeroU64::new(self.attempts)
                    .ok_or_else(|| Error::invalid("attempts", "must be at least 1"))?
                    .get(),
                pause: self.attempt_pause.min(LONGEST),
            },
            max_hold: Duration::from_secs(self.max_hold.min(LONGEST).as_secs()),
            body_limit: positive("body_limit", self.body_limit)?.get(),
            limits: Limits {
                connections: positive("max_connections", self.max_connections)?
                    .get()
                    .min(tokio::sync::Semaphore::MAX_PERMITS),
                header_timeout: lasting("header_timeout", self.header_timeout)?,
            },
            drain: self.drain.min(LONGEST),
            backend: self.backend,
            faults: self.faults,
        };
        let address = self.listen;
        let cannot = |error| Error::invalid("listen", format!("cannot listen at {address}")).with_source(error);
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let attempts = plan.attempts.most;
        let store: Box<dyn Store> = match self.store {
            None => Box::new(Memory::new(max_queue, batch, keep)),
            // It waits for the disk.
            Some(path) => {
                let open = move || Sqlite::open(&path, max_queue, batch, keep, attempts);
                let opened = tokio::task::spawn_blocking(open).await;
                Box::new(opened.map_err(|error| Error::invalid("store", "cannot be opened").with_source(error))??)
            }
        };
        Ok(Daemon::run(listener, address, store, plan))
    }
}

fn tokens(tokens: &[String]) -> Result<Tokens, Error> {
    if tokens.iter().any(String::is_empty) {
        return Err(Error::invalid("token", "must not be empty"));
    }
    if !tokens.iter().all(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::invalid("token", "must be visible ASCII without blanks"));
    }
    Ok(Tokens::new(tokens))
}

fn positive(field: &'static str, number: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(number).ok_or_else(|| Error::invalid(field, "must be at least 1"))
}

fn lasting(field: &'static str, time: Duration) -> Result<Duration, Error> {
    if time.is_zero() { Err(Error::invalid(field, "must not be zero")) } else { Ok(time.min(LONGEST)) }
}
