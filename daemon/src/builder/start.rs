use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Builder, LONGEST};
use crate::Error;
use crate::api::Tokens;
use crate::attempts::Attempts;
#[cfg(feature = "tls")]
use crate::delivery::Roots;
use crate::delivery::{Policy, Schedule};
use crate::handle::{Daemon, Plan};
use crate::server::Limits;
use crate::store::{Memory, Store};
use foreman_protocol::webhook::Secret;

impl Builder {
    /// Checks what was said, listens, and begins to work.
    ///
    /// # Errors
    ///
    /// - [`Error::is_invalid_config`], naming the option, for a limit of zero, an empty token, secret or queue, a token that
    ///   cannot stand in a header, and roots that are no certificates.
    /// - [`Error::is_listen`] for an address that cannot be listened on, such as one whose port is in use.
    /// - [`Error::is_store`] for a [store](Self::store) that cannot be opened, is damaged, is in use by another daemon, belongs
    ///   to another program or was written by a newer version. A file that is refused is left as it is.
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
                    .ok_or_else(|| Error::config("attempts", "must be at least 1"))?
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
        let cannot = |error| Error::listen(address, error);
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        #[cfg(feature = "sqlite")]
        let store: Box<dyn Store> = match self.store {
            None => Box::new(Memory::new(max_queue, batch, keep)),
            Some(path) => Box::new(opened(path, max_queue, batch, keep, plan.attempts.most).await?),
        };
        #[cfg(not(feature = "sqlite"))]
        let store: Box<dyn Store> = Box::new(Memory::new(max_queue, batch, keep));
        Ok(Daemon::run(listener, address, store, plan))
    }
}

/// On a thread of its own, since it waits for the disk.
#[cfg(feature = "sqlite")]
async fn opened(
    path: std::path::PathBuf,
    max_queue: usize,
    batch: NonZeroUsize,
    keep: Duration,
    attempts: u64,
) -> Result<crate::store::Sqlite, Error> {
    use crate::store::{OpenError, Sqlite};

    let open = {
        let path = path.clone();
        move || Sqlite::open(&path, max_queue, batch, keep, attempts)
    };
    let opened = tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(OpenError::open(error)));
    opened.map_err(|error| Error::store(&path, error))
}

fn tokens(tokens: &[String]) -> Result<Tokens, Error> {
    if tokens.iter().any(String::is_empty) {
        return Err(Error::config("token", "must not be empty"));
    }
    if !tokens.iter().all(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::config("token", "must be visible ASCII without blanks"));
    }
    Ok(Tokens::new(tokens))
}

fn positive(field: &'static str, number: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(number).ok_or_else(|| Error::config(field, "must be at least 1"))
}

fn lasting(field: &'static str, time: Duration) -> Result<Duration, Error> {
    if time.is_zero() { Err(Error::config(field, "must not be zero")) } else { Ok(time.min(LONGEST)) }
}
