#[cfg(feature = "faults")]
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::Builder;
use super::config::{BackendConfig, Config};
use super::open_store::open_store;
#[cfg(feature = "faults")]
use crate::BoxError;
use crate::api::{self, App, QueueId, SubmissionRates};
use crate::backend::{Backend, Chat};
use crate::backends::{Backends, Member, Takes, refresh_models};
use crate::deadlines::fail_overdue_jobs;
use crate::delivery::{Dispatcher, Signer, WebhookSender};
#[cfg(feature = "faults")]
use crate::faults::Faults;
use crate::handle::Daemon;
use crate::jobs::Jobs;
use crate::lists::Lists;
use crate::notifications::Notifications;
use crate::store::{Destinations, StoreOptions};
use crate::streams::Streams;
use crate::vital::Vital;
use crate::worker::WorkerContext;
use crate::{Error, server, worker};

impl Builder {
    /// Checks the options, opens the store, listens and starts the workers.
    ///
    /// # Errors
    ///
    /// - [`Error::is_invalid_config`], naming the option, for a limit of zero, an empty token, secret or queue, a token that is
    ///   not visible ASCII, an address that others can reach without a token ([`allow_anonymous`](Self::allow_anonymous)), and root
    ///   certificates that cannot be read.
    /// - [`Error::is_listen`] if the daemon cannot listen on its address, for example because the port is in use.
    /// - [`Error::is_store`] for a [store](Self::store) that cannot be opened, is damaged, is in use by another daemon, belongs
    ///   to another program or was written by a newer version. The file is left as it is. So for a [database](Self::postgres), also one
    ///   that cannot be reached or refuses the user.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it is ready leaves nothing but an empty store.
    pub async fn start(self) -> Result<Daemon, Error> {
        let address = self.listen;
        #[cfg(feature = "faults")]
        let faults = self.faults.clone();
        let mut config = Config::new(self)?;
        let cannot_listen = |error| Error::listen(address, error);
        let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        config.policy.own.add_address(address);
        let vital = Vital::default();
        let per_host = config.webhooks_per_host;
        // An event that a fault holds back is in flight, and must not keep others from their destination.
        #[cfg(feature = "faults")]
        let per_host = if faults.is_some() { usize::MAX } else { per_host };
        let destinations = Arc::new(Destinations::new(per_host));
        let options = StoreOptions {
            max_queue: config.store.max_queue,
            memory_budget: config.store.memory_budget,
            batch: config.store.batch,
            keep: config.store.keep,
            attempts: config.attempts.most,
            // Half of the connections, so that streams never keep everybody else out.
            streams: Streams::new(config.limits.connections.div_ceil(2)),
            notifications: Notifications::new(config.backends.len()),
            lists: Lists::new(config.backends.iter().map(|backend| &*backend.name)),
            destinations: Arc::clone(&destinations),
            vital: vital.clone(),
        };
        let store = open_store(&config.store, address, options.clone()).await?;
        let jobs = Arc::new(Jobs::new(store, &options, address.to_string()));
        let backends = members(
            &mut config,
            &jobs,
            &options.lists,
            #[cfg(feature = "faults")]
            faults.as_ref(),
        );
        let assembly = Assembly {
            jobs,
            config,
            vital,
            backends,
            destinations,
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            #[cfg(feature = "faults")]
            faults,
        };
        Ok(assembly.run(listener, address))
    }
}

/// The backends, whose attempts are counted and, in tests, fail.
fn members(
    config: &mut Config,
    jobs: &Arc<Jobs>,
    lists: &Lists,
    #[cfg(feature = "faults")] faults: Option<&Faults>,
) -> Arc<Backends> {
    let configured = std::mem::take(&mut config.backends);
    let takes = match (configured.len(), jobs.fleet()) {
        (1, None) => Takes::Every,
        (1, Some(_)) => Takes::ListedUnlessAny,
        _ => Takes::Listed,
    };
    let member = |(index, BackendConfig { name, workers, backend }): (usize, BackendConfig)| {
        let (jobs, chat) = (Arc::clone(jobs), backend.chat.clone());
        let chat = service_fn(move |request: Chat| {
            jobs.counters.executions.add();
            chat.clone().oneshot(request)
        });
        #[cfg(feature = "faults")]
        let chat = layered(faults.map(Faults::job_layer), chat);
        let backend = Backend { chat: BoxCloneSyncService::new(chat), ..backend };
        Arc::new(Member::new(index, &name, backend, workers, config.embeds_at_once, takes, lists.clone()))
    };
    let members = configured.into_iter().enumerate().map(member).collect();
    Arc::new(Backends::new(members, config.accept_unlisted_models, config.loaded_wait))
}

/// Everything between the sockets and the store.
struct Assembly {
    jobs: Arc<Jobs>,
    config: Config,
    vital: Vital,
    backends: Arc<Backends>,
    /// The limits of webhooks, shared with the store.
    destinations: Arc<Destinations>,
    /// No new jobs from here on.
    closing: CancellationToken,
    /// No job changes from here on.
    ended: CancellationToken,
    #[cfg(feature = "faults")]
    faults: Option<Faults>,
}

impl Assembly {
    fn run(self, listener: TcpListener, address: SocketAddr) -> Daemon {
        let mut workers = JoinSet::new();
        let mut io = JoinSet::new();
        self.start_workers(&mut workers, &mut io);
        self.start_server(&mut io, listener);
        self.start_delivery(&mut io);
        self.start_deadlines(&mut io);
        Daemon {
            jobs: self.jobs,
            address,
            drain: self.config.drain,
            vital: self.vital,
            closing: self.closing,
            ended: self.ended,
            workers,
            io,
        }
    }

    /// Starts the workers of each backend, and the tasks that refresh the lists of models.
    fn start_workers(&self, workers: &mut JoinSet<()>, io: &mut JoinSet<()>) {
        for member in self.backends.members() {
            let context = WorkerContext {
                jobs: Arc::clone(&self.jobs),
                backends: Arc::clone(&self.backends),
                member: Arc::clone(member),
                attempts: self.config.attempts,
                closing: self.closing.clone(),
            };
            for _ in 0..member.workers.get() {
                workers.spawn(self.vital.clone().guard("worker", worker::work(context.clone())));
            }
            let (backends, pause) = (Arc::clone(&self.backends), self.config.model_refresh);
            let refresh = refresh_models(backends, member.index, pause, Arc::clone(&self.jobs));
            self.spawn_until_closing(io, "list of models", refresh);
        }
    }

    /// The task ends when the daemon stops.
    fn spawn_until_closing(
        &self,
        io: &mut JoinSet<()>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let closing = self.closing.clone();
        let task = async move {
            _ = closing.run_until_cancelled(task).await;
        };
        io.spawn(self.vital.clone().guard(name, task));
    }

    fn start_server(&self, io: &mut JoinSet<()>, listener: TcpListener) {
        let app = App {
            jobs: Arc::clone(&self.jobs),
            queue: QueueId::new(self.jobs.queue_id()),
            backends: Arc::clone(&self.backends),
            tokens: self.config.tokens.clone(),
            admin: self.config.admin.clone(),
            hosts: self.config.hosts,
            policy: self.config.policy.clone(),
            submission_rates: SubmissionRates::new(self.config.submissions_of_owner),
            body_limits: self.config.body_limits.clone(),
            max_hold: self.config.max_long_poll,
            holds: Semaphore::new(self.config.limits.connections.saturating_mul(3).min(Semaphore::MAX_PERMITS) / 8),
            closing: self.closing.clone(),
            ended: self.ended.clone(),
            vital: self.vital.clone(),
        };
        let service = api::router(Arc::new(app));
        #[cfg(feature = "faults")]
        let service = layered(
            self.faults.as_ref().map(Faults::request_layer),
            tower::ServiceBuilder::new().map_err(|never: Infallible| -> BoxError { match never {} }).service(service),
        );
        let serve = server::serve(listener, service, self.config.limits, self.closing.clone());
        io.spawn(self.vital.clone().guard("server", serve));
    }

    fn start_deadlines(&self, io: &mut JoinSet<()>) {
        self.spawn_until_closing(io, "deadlines of jobs", fail_overdue_jobs(Arc::clone(&self.jobs)));
    }

    fn start_delivery(&self, io: &mut JoinSet<()>) {
        let permits = Arc::new(Semaphore::new(self.config.webhooks_at_once));
        let limit = tower::limit::GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
        let signer = Signer::new(self.config.secret.clone());
        let sender = limit.layer(WebhookSender::new(
            self.config.policy.clone(),
            #[cfg(feature = "tls")]
            self.config.roots.clone(),
        ));
        // Outside of the limit, so that events that are held back take no permit.
        #[cfg(feature = "faults")]
        let sender =
            layered(self.faults.as_ref().map(|faults| faults.event_layer(&self.jobs, &signer, &self.ended)), sender);
        let schedule = self.config.schedule.clone();
        let destinations = Arc::clone(&self.destinations);
        let dispatcher = Dispatcher::new(Arc::clone(&self.jobs), signer, schedule, permits, destinations, sender);
        io.spawn(self.vital.clone().guard("webhook dispatcher", dispatcher.run(self.ended.clone())));
    }
}

/// The service in the layer, if there is one.
#[cfg(feature = "faults")]
fn layered<L: tower::Layer<S>, S>(layer: Option<L>, service: S) -> tower::util::Either<L::Service, S> {
    tower::util::option_layer(layer).layer(service)
}
