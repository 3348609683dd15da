//! The task of a pool: it adds and removes daemons, requests their lists of models, and probes those that fail.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::hash::Hash;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, sleep_until};
use tower::discover::{Change, Discover};

use super::checks::Checks;
use super::shared::Shared;
use crate::api::HttpService;
use crate::{BoxError, Client, Error, ModelInfo};

/// How long a discovery that fails is not polled.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What the task waits for.
enum Woken<K, T> {
    Changed(Option<Result<Change<K, Client<T>>, BoxError>>),
    /// The outcome of a request for the models of the daemon with that number.
    Checked(u64, Result<Vec<ModelInfo>, Error>),
    /// A time has come, or another one may be the next.
    Again,
}

pub(super) async fn drive<D, T>(shared: Weak<Shared<T>>, discover: Option<D>)
where
    D: Discover<Key: Hash, Service = Client<T>, Error: Into<BoxError>>,
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + Sync + 'static,
{
    let mut discover = pin!(discover);
    let (mut discovers, mut resume) = (discover.is_some(), None::<Instant>);
    let mut keys = HashMap::new();
    let mut checks = Checks::default();
    let Some(changed) = shared.upgrade().map(|shared| Arc::clone(&shared.changed)) else { return };
    loop {
        let next = {
            let Some(shared) = shared.upgrade() else { return };
            let now = Instant::now();
            let ((due, check), (forgotten, forget)) =
                shared.lock_members(|members| (members.checks(now), members.forget(now)));
            drop(forgotten);
            for (number, client) in due {
                checks.start(number, client);
            }
            check.into_iter().chain(forget).chain(resume).min()
        };
        let mut timer = pin!(async {
            match next {
                Some(next) => sleep_until(next).await,
                None => pending().await,
            }
        });
        let mut changed = pin!(changed.notified());
        let poll = |cx: &mut Context<'_>| {
            if discovers
                && resume.is_none()
                && let Some(discover) = discover.as_mut().as_pin_mut()
                && let Poll::Ready(change) = discover.poll_discover(cx)
            {
                return Poll::Ready(Woken::Changed(change.map(|change| change.map_err(Into::into))));
            }
            if let Poll::Ready((number, listed)) = checks.poll_next(cx) {
                return Poll::Ready(Woken::Checked(number, listed));
            }
            if timer.as_mut().poll(cx).is_ready() || changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Again);
            }
            Poll::Pending
        };
        let woken = poll_fn(poll).await;
        let Some(shared) = shared.upgrade() else { return };
        match woken {
            Woken::Again => resume = resume.filter(|resume| *resume > Instant::now()),
            Woken::Checked(number, listed) => shared.checked(number, listed, Instant::now()),
            Woken::Changed(None) => {
                discovers = false;
                shared.complete();
            }
            Woken::Changed(Some(Err(error))) => {
                tracing::warn!(error = &*error as &dyn std::error::Error, "discovery of daemons failed");
                resume = Some(Instant::now() + AFTER_ERROR);
            }
            Woken::Changed(Some(Ok(Change::Insert(key, client)))) => {
                let (id, now) = (client.api().daemon_id(), Instant::now());
                tracing::debug!(daemon = id.base_url().as_str(), "daemon added to the pool");
                // After the new one, so that a daemon that keeps its key does not leave in between.
                let entered = shared.update(|members| members.enter(client, id, now));
                if let Some(replaced) = keys.insert(key, entered) {
                    shared.update(|members| members.leave(replaced, now));
                }
            }
            Woken::Changed(Some(Ok(Change::Remove(key)))) => {
                if let Some(removed) = keys.remove(&key) {
                    tracing::debug!(number = removed.number, "daemon removed from the pool");
                    shared.update(|members| members.leave(removed, Instant::now()));
                }
            }
        }
    }
}

/// The discovery of a pool whose clients are given. It has no value.
pub(super) struct FixedList<T>(Infallible, PhantomData<fn() -> T>);

impl<T> Stream for FixedList<T> {
    type Item = Result<Change<(), Client<T>>, BoxError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0 {}
    }
}
