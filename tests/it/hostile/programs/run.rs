//! Runs a program.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{Client, DropPolicy, Error, Notifier, Submission, SubmitRequest};
use futures_util::future::{poll_fn, ready};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};
use tower::{Service as _, ServiceBuilder, ServiceExt as _};

use super::counts::Counts;
use super::daemon::{DaemonHttp, URLS};
use super::events::CALLBACKS;
use super::model::{Caller, LIMIT, Subject, World};
use super::program::{Program, Step};
use super::stacks::{self, Gated, Stack};
use super::wait::{Wait, waker};
use crate::support::{SECRET, job_id, millis, seconds};

/// The daemon of each client.
const DAEMONS: [usize; 5] = [0, 1, 0, 0, 0];

/// Whether the service of a client may not be ready, so that a stack calls the wait later.
pub(super) fn is_gated(client: usize) -> bool {
    client >= 3
}

pub(super) fn run(program: &Program) -> Result<Counts, String> {
    fastrand::seed(program.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(program).await;
        for step in &program.steps {
            run.step(step).await;
        }
        run.finish(program.abandons).await
    })
}

pub(super) struct Run {
    pub(super) world: Arc<Mutex<World>>,
    notifiers: [Notifier; 2],
    pub(super) clients: Vec<Stack>,
    requests: Vec<Request>,
    waits: Vec<Arc<Wait>>,
    pub(super) tasks: Vec<JoinHandle<()>>,
    /// They end at the latest when all requests and waits are gone.
    pub(super) handles: Handles,
}

/// Tasks, by the key of their submission.
type Handles = Arc<Mutex<Vec<(String, JoinHandle<()>)>>>;

struct Request {
    key: String,
    clones: Vec<(SubmitRequest, Arc<()>)>,
}

impl Run {
    async fn new(program: &Program) -> Self {
        let notifiers = [Notifier::new(), Notifier::new()];
        let receiver = |(notifier, signed): (&Notifier, bool)| {
            let receiver = WebhookReceiver::builder(notifier.clone());
            if signed { receiver.secret(SECRET) } else { receiver }.build().unwrap()
        };
        let signed = program.daemons.each_ref().map(|plan| plan.signed);
        let receivers = notifiers.iter().zip(signed).map(receiver).collect();
        let world = Arc::new(Mutex::new(World::new(program, receivers)));
        let http = |client: usize| DaemonHttp { world: Arc::clone(&world), daemon: DAEMONS[client], client };
        let mut clients = Vec::new();
        for (at, daemon) in DAEMONS.into_iter().enumerate().take(3) {
            let retry = RetrySubmission::builder().jitter(0.0).no_budget().build().unwrap();
            let client = Client::builder(URLS[daemon]).retry(retry);
            let client = match notifiers.get(at) {
                Some(notifier) => client.notifier(notifier.clone()).public_url(CALLBACKS[at]),
                None => client.polling(),
            };
            let client = if program.daemons[daemon].keys_assumed { client.assume_idempotency() } else { client };
            clients.push(Stack::Client(client.build_with(http(at)).await.unwrap()));
        }
        for gate in [Gated::BelowWait, Gated::BelowRetry] {
            clients.push(stacks::gated(gate, http(clients.len()), &notifiers[0], program.daemons[0].keys_assumed));
        }
        Self { world, notifiers, clients, requests: vec![], waits: vec![], tasks: vec![], handles: Handles::default() }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn step(&mut self, step: &Step) {
        self.world().log(|| format!("{step:?}"));
        match step {
            Step::Request { deadline, on_drop } => {
                let number = self.requests.len();
                let mut request = SubmitRequest::builder("m").user(format!("marker {number}")).on_drop(*on_drop);
                let deadline = deadline.map(millis);
                if let Some(deadline) = deadline {
                    request = request.deadline(deadline);
                }
                let request = request.build().unwrap();
                let (handle, alive) = (request.submission(), Arc::new(()));
                let key = handle.idempotency_key().to_string();
                let caller = Caller::new(handle, deadline, *on_drop, &alive);
                self.world().callers.insert(key.clone(), caller);
                self.requests.push(Request { key, clones: vec![(request, alive)] });
            }
            Step::Clone { request } => {
                if let Some((_, clone, alive)) = self.request(*request) {
                    let at = request % self.requests.len();
                    self.requests[at].clones.push((clone, alive));
                }
            }
            Step::DropRequest { request } => {
                let at = request % self.requests.len();
                let dropped = self.requests[at].clones.pop();
                drop(dropped);
            }
            Step::Call { request, client } => {
                if let Some((key, request, alive)) = self.request(*request) {
                    let mut jobs = self.jobs(*client);
                    let called = poll_fn(|cx| jobs.poll_ready(cx)).now_or_never();
                    let in_time = matches!(called, Some(Ok(())));
                    let wait = match called {
                        Some(Ok(())) => jobs.call(request).boxed(),
                        Some(Err(error)) => ready(Err(error)).map(move |result| (result, drop(request)).0).boxed(),
                        None => jobs.oneshot(request).boxed(),
                    };
                    self.waits.push(Wait::new(&self.world, Subject::Request(key), wait, alive, in_time));
                }
            }
            Step::Attach { job, client } => {
                let jobs = self.world().daemons[DAEMONS[*client]].jobs.len();
                if jobs > 0 {
                    let subject = Subject::Job(DAEMONS[*client], job % jobs);
                    let wait = self.clients[*client].attach(job_id(&(job % jobs).to_string()));
                    self.waits.push(Wait::new(&self.world, subject, wait, Arc::new(()), true));
                }
            }
            Step::PollOnce { wait, waker: plan } => {
                if let Some(wait) = self.wait(*wait) {
                    wait.poll_once(&waker(*plan, &self.waits));
                }
            }
            Step::Spawn { wait } => {
                if let Some(wait) = self.wait(*wait) {
                    self.tasks.push(tokio::spawn(wait.drive_steadily()));
                }
            }
            Step::Neglect { wait } => {
                if let Some(wait) = self.wait(*wait) {
                    wait.neglected.store(true, Relaxed);
                }
            }
            Step::Leak { wait } => {
                if let Some(wait) = self.wait(*wait) {
                    wait.leak();
                }
            }
            Step::Drop { wait } => {
                if let Some(wait) = self.wait(*wait) {
                    wait.discard();
                }
            }
            Step::Move { wait, time } => {
                if let Some(wait) = self.wait(*wait) {
                    self.tasks.push(tokio::spawn(timeout(millis(*time), wait.drive()).map(drop)));
                }
            }
            Step::Select { wait, every, times } => {
                if let Some(wait) = self.wait(*wait) {
                    self.tasks.push(tokio::spawn(select(wait, *every, *times)));
                }
            }
            Step::Group { waits, polled, unpolled, dropped } => {
                let waits: Vec<_> = waits.iter().filter_map(|wait| self.wait(*wait)).collect();
                self.tasks.push(tokio::spawn(group(waits, *polled, *unpolled, *dropped)));
            }
            Step::Accepted { .. } | Step::States { .. } => self.handle(step),
            Step::Stack { request, client, timeout, retries } => self.stack(*request, *client, *timeout, *retries),
            Step::Burst { client, calls, every, deadline, clones } => {
                self.world().counts.bursts += 1;
                for call in 0..*calls {
                    if call == 0 || !clones {
                        let request = Step::Request { deadline: *deadline, on_drop: DropPolicy::Detach };
                        Box::pin(self.step(&request)).await;
                    }
                    let call = Step::Call { request: self.requests.len() - 1, client: *client };
                    Box::pin(self.step(&call)).await;
                    Box::pin(self.step(&Step::Spawn { wait: self.waits.len() - 1 })).await;
                    sleep(millis(*every)).await;
                }
            }
            Step::Renew(plan) => self.renew(*plan),
            Step::Bare { request, client, patience } => self.bare(*request, *client, *patience).await,
            Step::Advance { time } => sleep(millis(*time)).await,
            Step::Shutdown { client, grace } => {
                self.world().counts.shutdowns += 1;
                let (client, world, grace) = (self.clients[*client].clone(), Arc::clone(&self.world), millis(*grace));
                self.tasks.push(tokio::spawn(async move {
                    let started = Instant::now();
                    client.shutdown(grace).await;
                    let in_time = started.elapsed() <= grace + seconds(11) + millis(10);
                    world.lock().unwrap().check(in_time, || format!("shutdown took {:?}", started.elapsed()));
                }));
            }
        }
    }

    fn wait(&self, wait: usize) -> Option<Arc<Wait>> {
        let wait = self.waits.get(wait % self.waits.len().max(1))?;
        (!wait.neglected.load(Relaxed)).then(|| Arc::clone(wait))
    }

    /// A clone of a request that is not dropped.
    pub(super) fn request(&self, request: usize) -> Option<(String, SubmitRequest, Arc<()>)> {
        let Request { key, clones } = &self.requests[request % self.requests.len()];
        let (request, alive) = clones.last()?;
        Some((key.clone(), request.clone(), Arc::clone(alive)))
    }

    fn handle(&mut self, step: &Step) {
        let (Step::Accepted { request } | Step::States { request, .. }) = step else { return };
        let key = self.requests[request % self.requests.len()].key.clone();
        let (handle, world) = (self.world().callers[&key].handle.clone(), Arc::clone(&self.world));
        let task = match step {
            Step::States { items, .. } => tokio::spawn(states(handle, world, (*items).into())),
            _ => tokio::spawn(accepted(handle, world)),
        };
        self.handles.lock().unwrap().push((key, task));
    }

    fn stack(&mut self, request: usize, client: usize, timeout: u64, retries: u32) {
        let Some((key, request, alive)) = self.request(request) else { return };
        self.world().callers.get_mut(&key).unwrap().stacked = true;
        let calls = Arc::new(AtomicU64::new(0));
        let (world, counted, jobs) = (Arc::clone(&self.world), Arc::clone(&calls), self.jobs(client));
        let subject = Subject::Request(key);
        self.tasks.push(tokio::spawn(async move {
            let stack = ServiceBuilder::new()
                .map_err(Error::from_boxed)
                .retry(Reattach::builder().jitter(0.0).retries(retries).build().unwrap())
                .timeout(millis(timeout))
                .map_request(move |request: SubmitRequest| {
                    counted.fetch_add(1, Relaxed);
                    request
                })
                .service(jobs);
            let result = stack.oneshot(request).await;
            let mut world = world.lock().unwrap();
            world.counts.reattached += u64::from(calls.load(Relaxed) > 1);
            world.ended(&subject, &result);
            drop(alive);
        }));
    }

    /// Sends by the bare service. Beside a wait that may be sending it is left out: the submission does not record the second of two
    /// sends at once.
    async fn bare(&mut self, request: usize, client: usize, patience: u64) {
        let Some((key, ..)) = self.request(request) else { return };
        let waits = self.waits.iter().any(|wait| wait.is_waiting_for(&key));
        let (sending, known) = {
            let world = self.world();
            let caller = &world.callers[&key];
            (world.in_flight(&key) > 0 || caller.stacked || waits, caller.handle.job_id().is_some())
        };
        if sending && !known {
            return;
        }
        let Some((_, request, alive)) = self.request(request) else { return };
        {
            let mut world = self.world();
            world.counts.bare_sends += 1;
            let caller = world.callers.get_mut(&key).unwrap();
            caller.first_call.get_or_insert_with(Instant::now);
            caller.bare_sends += 1;
        }
        let Stack::Client(client) = &self.clients[client] else { return };
        let mut api = client.api();
        poll_fn(|cx| tower::Service::<SubmitRequest>::poll_ready(&mut api, cx)).await.unwrap();
        let sending = api.call(request);
        self.tasks.push(tokio::spawn(async move {
            let _ = timeout(millis(patience), sending).await;
            drop(alive);
        }));
    }

    async fn finish(mut self, abandons: bool) -> Result<Counts, String> {
        self.world().calm = true;
        self.world().log(|| "the faults stop".to_owned());
        if abandons {
            self.abandon().await;
        }
        for task in std::mem::take(&mut self.tasks) {
            timeout(LIMIT * 4, task).await.map_err(|_| self.unended("a task"))?.map_err(|error| error.to_string())?;
        }
        let neglected = |wait: &&Arc<Wait>| wait.neglected.load(Relaxed);
        let driven: FuturesUnordered<_> =
            self.waits.iter().filter(|wait| !neglected(wait)).map(|wait| Arc::clone(wait).drive_steadily()).collect();
        timeout(LIMIT, driven.collect::<()>()).await.map_err(|_| self.unended("a wait"))?;
        self.waits.iter().for_each(|wait| wait.discard());
        self.end_handles("a handle without waits", |caller| !caller.clients.is_empty()).await?;
        self.requests.clear();
        // Abandoned submissions are found and cancelled, and late events arrive.
        sleep(LIMIT).await;
        self.end_handles("a handle", |_| true).await?;
        let waiting = self.notifiers.iter().map(Notifier::waiting).sum();
        let mut world = self.world();
        let left: u64 = self.clients.iter().map(|client| client.waiting()).sum();
        let leaked = world.counts.leaked_waits;
        world.check(left <= leaked, || format!("{left} waits are left after {leaked} leaks"));
        world.check_end(waiting);
        world.verdict()
    }

    /// Drops all requests and waits.
    async fn abandon(&mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
        self.world().abandoned();
        self.waits.iter().for_each(|wait| wait.discard());
        self.requests.iter_mut().for_each(|request| request.clones.clear());
    }

    /// The handles of some callers must end, except of those whose waits were leaked.
    async fn end_handles(&self, what: &str, of: impl Fn(&Caller) -> bool) -> Result<(), String> {
        let handles = std::mem::take(&mut *self.handles.lock().unwrap());
        let (ending, others) = handles.into_iter().partition(|(key, _)| of(&self.world().callers[key]));
        *self.handles.lock().unwrap() = others;
        let ending: Vec<(String, JoinHandle<()>)> = ending;
        for (key, task) in ending {
            if self.world().callers[&key].leaked {
                task.abort();
            } else {
                timeout(seconds(1), task).await.map_err(|_| self.unended(what))?.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn unended(&self, what: &str) -> String {
        let mut world = self.world();
        world.check(false, || format!("{what} does not end"));
        world.verdict().unwrap_err()
    }
}

/// Waits until the job id of a submission is known.
pub(super) async fn accepted(handle: Submission, world: Arc<Mutex<World>>) {
    let error = handle.accepted().await.err();
    handle_ended(&handle, &world, error);
}

/// Takes so many states of a submission.
pub(super) async fn states(handle: Submission, world: Arc<Mutex<World>>, items: usize) {
    let states = handle.states().take(items).collect::<Vec<_>>().await;
    handle_ended(&handle, &world, states.into_iter().find_map(Result::err));
}

fn handle_ended(handle: &Submission, world: &Mutex<World>, error: Option<Error>) {
    let Some(error) = error else { return };
    let subject = Subject::Request(handle.idempotency_key().to_string());
    let mut world = world.lock().unwrap();
    world.log(|| format!("a handle of {subject:?} ends: {error:?}"));
    world.check_error(&subject, &error);
}

/// Polls a wait beside a timer.
async fn select(wait: Arc<Wait>, every: u64, times: u8) {
    let mut timer = interval(millis(every));
    let mut driven = std::pin::pin!(wait.drive());
    for _ in 0..times {
        tokio::select! {
            biased;
            () = &mut driven => return,
            _ = timer.tick() => {}
        }
    }
}

/// Polls waits together for a while, then leaves them alone for a while.
async fn group(waits: Vec<Arc<Wait>>, polled: u64, unpolled: u64, dropped: bool) {
    let mut group: FuturesUnordered<_> = waits.iter().map(|wait| Arc::clone(wait).drive()).collect();
    let _ = timeout(millis(polled), group.by_ref().collect::<()>()).await;
    sleep(millis(unpolled)).await;
    if dropped {
        waits.iter().for_each(|wait| wait.discard());
    } else {
        group.collect::<()>().await;
    }
}
