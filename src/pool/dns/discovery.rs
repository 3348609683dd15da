use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::discover::Change;

use super::resolve::{Resolve, Resolving};
use crate::{BoxError, Client, Error};

/// The shortest time between two lookups, for records with a TTL of 0.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest, so that a change is seen in time whatever the TTL.
const LONGEST: Duration = Duration::from_secs(300);

/// How long after a failure the next lookup follows.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A discovery by DNS: a stream of changes, made by [`Dns::discover`](super::Dns::discover). The key of a daemon is its base URL.
#[must_use = "streams do nothing unless polled"]
pub struct DnsDiscovery<C, F> {
    resolver: Box<dyn Resolve>,
    connect: C,
    step: Step,
    /// The daemons that were yielded.
    known: HashSet<String>,
    removed: VecDeque<String>,
    added: VecDeque<String>,
    connecting: Option<(String, Pin<Box<F>>)>,
}

enum Step {
    Resolving(Resolving),
    Sleeping(Pin<Box<Sleep>>),
}

impl Step {
    fn sleep(time: Duration) -> Self {
        Self::Sleeping(Box::pin(sleep_until(Instant::now() + time)))
    }
}

impl<C, F> DnsDiscovery<C, F> {
    pub(super) fn new(resolver: Box<dyn Resolve>, connect: C) -> Self {
        let step = Step::Resolving(resolver.resolve());
        let (known, removed, added) = (HashSet::new(), VecDeque::new(), VecDeque::new());
        Self { resolver, connect, step, known, removed, added, connecting: None }
    }

    /// Tries again what has failed.
    fn retry_soon(&mut self) {
        let soon = Instant::now() + AFTER_FAILURE;
        match &mut self.step {
            Step::Sleeping(sleep) if sleep.deadline() > soon => sleep.as_mut().reset(soon),
            _ => {}
        }
    }
}

impl<C, F, T> Stream for DnsDiscovery<C, F>
where
    C: FnMut(String) -> F + Unpin,
    F: Future<Output = Result<Client<T>, Error>>,
{
    type Item = Result<Change<String, Client<T>>, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some((_, connecting)) = &mut this.connecting {
                let client = ready!(connecting.as_mut().poll(cx));
                let Some((url, _)) = this.connecting.take() else { continue };
                return Poll::Ready(Some(match client {
                    Ok(client) => {
                        this.known.insert(url.clone());
                        Ok(Change::Insert(url, client))
                    }
                    Err(error) => {
                        this.retry_soon();
                        Err(error.into())
                    }
                }));
            }
            // New daemons come before others leave, so that a pool whose daemons are all replaced does not become empty.
            if let Some(url) = this.added.pop_front() {
                let connecting = (this.connect)(url.clone());
                this.connecting = Some((url, Box::pin(connecting)));
                continue;
            }
            if let Some(url) = this.removed.pop_front() {
                this.known.remove(&url);
                return Poll::Ready(Some(Ok(Change::Remove(url))));
            }
            match &mut this.step {
                Step::Sleeping(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    this.step = Step::Resolving(this.resolver.resolve());
                }
                Step::Resolving(resolving) => match ready!(resolving.as_mut().poll(cx)) {
                    Ok(found) => {
                        this.step = Step::sleep(found.ttl.clamp(SHORTEST, LONGEST));
                        this.added = found.urls.difference(&this.known).cloned().collect();
                        this.removed = this.known.difference(&found.urls).cloned().collect();
                    }
                    Err(error) => {
                        this.step = Step::sleep(AFTER_FAILURE);
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            }
        }
    }
}

impl<C, F> fmt::Debug for DnsDiscovery<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsDiscovery").field("known", &self.known).finish_non_exhaustive()
    }
}
