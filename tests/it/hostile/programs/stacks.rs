//! The services that the callers of a program call: of clients, and of layers over services that are not always ready.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use foreman_client::api::Accepted;
use foreman_client::retry::RetrySubmission;
use foreman_client::wait::{Wait, WebhookEndpoint};
use foreman_client::{Api, BoxError, Client, DropPolicy, Error, JobId, JobResult, Notifier, SubmitRequest, WaitLayer};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep};
use tower::load_shed::error::Overloaded;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, Service, ServiceBuilder};

use super::daemon::{DaemonHttp, URLS};
use super::events::CALLBACKS;
use super::model::World;
use super::program::GatePlan;
use super::run::Run;
use crate::support::millis;

pub(super) type Jobs = BoxCloneSyncService<SubmitRequest, JobResult, Error>;
type Submit = BoxCloneSyncService<SubmitRequest, Accepted, BoxError>;

#[derive(Clone)]
pub(super) enum Stack {
    Client(Client<DaemonHttp>),
    Layers(Wait<Submit, Api<DaemonHttp>>),
}

impl Run {
    /// The service of a client. The world learns when it is called.
    pub(super) fn jobs(&self, client: usize) -> Jobs {
        self.clients[client].jobs(client, &self.world)
    }
}

impl Stack {
    fn jobs(&self, client: usize, world: &Arc<Mutex<World>>) -> Jobs {
        let world = Arc::clone(world);
        let called = move |request: SubmitRequest| {
            let key = request.submission().idempotency_key().to_string();
            let mut world = world.lock().unwrap();
            let caller = world.callers.get_mut(&key).unwrap();
            caller.first_call.get_or_insert_with(Instant::now);
            caller.clients.insert(client);
            drop(world);
            request
        };
        let called = ServiceBuilder::new().map_request(called);
        match self {
            Self::Client(client) => BoxCloneSyncService::new(called.service(client.jobs())),
            Self::Layers(wait) => BoxCloneSyncService::new(called.service(wait.clone())),
        }
    }

    pub(super) fn attach(&self, job: JobId) -> BoxFuture<'static, Result<JobResult, Error>> {
        match self {
            Self::Client(client) => Box::pin(client.attach().call(job)),
            Self::Layers(wait) => Box::pin(wait.attach().call(job)),
        }
    }

    pub(super) async fn shutdown(&self, grace: Duration) {
        match self {
            Self::Client(client) => client.shutdown(grace).await,
            Self::Layers(wait) => wait.shutdown(grace).await,
        };
    }

    pub(super) fn waiting(&self) -> u64 {
        match self {
            Self::Client(client) => client.stats().waits.waiting(),
            Self::Layers(wait) => wait.stats().waiting(),
        }
    }
}

/// Where the gate is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gated {
    BelowWait,
    BelowRetry,
}

/// A wait over a service of daemon 0 that has a gate.
pub(super) fn gated(gated: Gated, http: DaemonHttp, notifier: &Notifier, keys_assumed: bool) -> Stack {
    let (api, world) = (Api::new(URLS[0].parse().unwrap(), http.clone()), http.world);
    let waits = WaitLayer::builder(api.clone()).daemon(api.daemon_id()).on_drop(DropPolicy::Detach, api.clone());
    let waits = waits.webhooks(WebhookEndpoint::new(notifier.clone(), CALLBACKS[0]).unwrap());
    let waits = if keys_assumed { waits.assume_idempotency() } else { waits };
    let retry = RetrySubmission::builder().jitter(0.0).no_budget().build().unwrap();
    let gate = |inner: Submit| Submit::new(Gate { inner, world: Arc::clone(&world), state: GateState::Closed });
    let api = Submit::new(ServiceBuilder::new().map_err(BoxError::from).service(api));
    let submit = match gated {
        Gated::BelowWait => gate(Submit::new(ServiceBuilder::new().retry(retry).service(api))),
        Gated::BelowRetry => Submit::new(ServiceBuilder::new().retry(retry).service(gate(api))),
    };
    Stack::Layers(waits.build().unwrap().layer(submit))
}

/// Is not ready for a while, fails, or sheds, as the program has planned.
struct Gate {
    inner: Submit,
    world: Arc<Mutex<World>>,
    state: GateState,
}

enum GateState {
    Closed,
    Opens(Pin<Box<Sleep>>),
    Open,
    Sheds,
}

/// A clone is not ready.
impl Clone for Gate {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), world: Arc::clone(&self.world), state: GateState::Closed }
    }
}

impl Service<SubmitRequest> for Gate {
    type Response = Accepted;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Accepted, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.state {
                GateState::Closed => match self.world.lock().unwrap().plan_gate() {
                    GatePlan::Open => self.state = GateState::Open,
                    GatePlan::Opens { after } => self.state = GateState::Opens(Box::pin(sleep(millis(after)))),
                    GatePlan::Sheds => self.state = GateState::Sheds,
                    GatePlan::Fails => return Poll::Ready(Err(io::Error::other("the gate is broken").into())),
                },
                GateState::Opens(sleep) => {
                    std::task::ready!(sleep.as_mut().poll(cx));
                    self.state = GateState::Open;
                }
                GateState::Open => return self.inner.poll_ready(cx),
                GateState::Sheds => return Poll::Ready(Ok(())),
            }
        }
    }

    fn call(&mut self, request: SubmitRequest) -> Self::Future {
        match std::mem::replace(&mut self.state, GateState::Closed) {
            GateState::Open => self.inner.call(request),
            GateState::Sheds => Box::pin(std::future::ready(Err(Overloaded::new().into()))),
            GateState::Closed | GateState::Opens(_) => panic!("called before it was ready"),
        }
    }
}
