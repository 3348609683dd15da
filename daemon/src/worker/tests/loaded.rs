//! Backends of which it is known which models they have loaded.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinSet;

use super::*;
use crate::backend::{ListLoaded, Unavailable};
use crate::backends::refresh_models;
use crate::notifications::Notifications;

/// How long a server takes to load a model.
const LOAD: Duration = Duration::from_secs(20);

/// How long a job runs on a model that is loaded.
const RUN: Duration = Duration::from_secs(4);

/// How long a job is left to a backend that has its model loaded.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many models a server has room for.
const ROOM: usize = 2;

/// A model server that unloads the model that it has not used for longest.
#[derive(Clone, Default)]
struct Server {
    /// The one that was used last is last.
    loaded: Arc<Mutex<Vec<String>>>,
    loads: Arc<AtomicU64>,
    /// How often it was asked what it has loaded.
    asked: Arc<AtomicU64>,
    is_down: Arc<AtomicBool>,
}

impl Server {
    fn with(loaded: &[&str]) -> Self {
        let server = Self::default();
        server.set(loaded);
        server
    }

    fn set(&self, loaded: &[&str]) {
        *self.loaded.lock().unwrap() = loaded.iter().map(|&model| model.to_owned()).collect();
    }

    async fn run(self, chat: Chat) -> Result<ChatResponse, BoxError> {
        if self.is_down.load(Relaxed) {
            return Err(Unavailable::new("connection refused").into());
        }
        if !self.loaded.lock().unwrap().iter().any(|model| model == chat.model()) {
            self.loads.fetch_add(1, Relaxed);
            tokio::time::sleep(LOAD).await;
        }
        {
            let mut loaded = self.loaded.lock().unwrap();
            loaded.retain(|model| model != chat.model());
            loaded.push(chat.model().to_owned());
            let surplus = loaded.len().saturating_sub(ROOM);
            loaded.drain(..surplus);
        }
        tokio::time::sleep(RUN).await;
        Ok(ChatResponse::from_value("ok")?)
    }

    /// `reports`: whether it reports what it has loaded.
    fn backend(&self, models: &'static [&'static str], reports: bool) -> Backend {
        let (run, report) = (self.clone(), self.clone());
        Backend::new(service_fn(move |chat: Chat| run.clone().run(chat)))
            .models(service_fn(move |_: ListModels| async move {
                Ok::<_, BoxError>(models.iter().map(|model| ModelInfo::new(*model)).collect::<Vec<_>>())
            }))
            .loaded(service_fn(move |_: ListLoaded| {
                report.asked.fetch_add(1, Relaxed);
                let loaded = reports.then(|| report.loaded.lock().unwrap().clone());
                let is_down = report.is_down.load(Relaxed);
                async move { if is_down { Err(BoxError::from("connection refused")) } else { Ok(loaded) } }
            }))
    }
}

/// Backends with one worker each, whose lists are known.
struct Machines {
    jobs: Arc<Jobs>,
    backends: Arc<Backends>,
    _tasks: JoinSet<()>,
}

impl Machines {
    /// The workers of the `idle` ones do not take jobs.
    async fn start(servers: &[&Server], models: &'static [&'static str], reports: bool, idle: &[usize]) -> Self {
        Self::start_with(PATIENCE, servers, models, reports, idle).await
    }

    async fn start_with(
        wait: Duration,
        servers: &[&Server],
        models: &'static [&'static str],
        reports: bool,
        idle: &[usize],
    ) -> Self {
        let mut options = StoreOptions::of_test(1000);
        (options.notifications, options.batch) = (Notifications::new(servers.len()), NonZeroUsize::new(8).unwrap());
        let jobs = Arc::new(Jobs::in_memory(&options));
        let lists = Lists::new(servers.iter().map(|_| "gpu"));
        let member = |(index, server): (usize, &&Server)| {
            let backend = server.backend(models, reports);
            Arc::new(Member::new(index, "gpu", backend, NonZeroUsize::MIN, 1, Takes::Listed, lists.clone()))
        };
        let members: Vec<_> = servers.iter().enumerate().map(member).collect();
        let backends = Arc::new(Backends::new(members.clone(), false, wait));
        let mut tasks = JoinSet::new();
        for member in members {
            tasks.spawn(refresh_models(Arc::clone(&backends), member.index, HOUR, Arc::clone(&jobs)));
            if !idle.contains(&member.index) {
                let attempts = Attempts { most: 3, pause: Duration::from_secs(1) };
                let (jobs, backends) = (Arc::clone(&jobs), Arc::clone(&backends));
                tasks.spawn(work(WorkerContext {
                    jobs,
                    backends,
                    member,
                    attempts,
                    closing: CancellationToken::new(),
                }));
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        Self { jobs, backends, _tasks: tasks }
    }

    async fn submit(&self, model: &str) -> crate::JobId {
        self.submit_of(Owner::ANONYMOUS, model).await
    }

    async fn submit_of(&self, owner: Owner, model: &str) -> crate::JobId {
        let new = NewJob { owner, ..NewJob::of_test(&format!(r#"{{"model":"{model}"}}"#)) };
        self.jobs.submit(new).await.unwrap().unwrap().job_id
    }

    async fn ended(&self, id: &crate::JobId) {
        let mut watch = self.jobs.watch(id);
        while !self.jobs.progress(id).await.unwrap().unwrap().state.is_terminal() {
            watch.changed().await;
        }
    }

    async fn all_ended(&self, ids: &[crate::JobId]) {
        for id in ids {
            self.ended(id).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn job_goes_to_the_idle_backend_that_has_its_model_loaded() {
    let (one, two) = (Server::with(&["b"]), Server::with(&["a"]));
    let machines = Machines::start(&[&one, &two], &["a", "b"], true, &[]).await;
    for model in ["a", "a", "b", "a", "b", "b"] {
        let (id, begin) = (machines.submit(model).await, Instant::now());
        machines.ended(&id).await;
        assert_eq!(begin.elapsed(), RUN, "{model}");
    }
    // Two at a time.
    for _ in 0..4 {
        let (ids, begin) = ([machines.submit("a").await, machines.submit("b").await], Instant::now());
        machines.all_ended(&ids).await;
        assert_eq!(begin.elapsed(), RUN);
    }
    assert_eq!((one.loads.load(Relaxed), two.loads.load(Relaxed)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn job_waits_for_a_busy_backend_that_has_its_model_loaded_but_not_long() {
    let (one, two) = (Server::default(), Server::with(&["a"]));
    let machines = Machines::start(&[&one, &two], &["a", "b"], true, &[]).await;
    let begin = Instant::now();
    machines.all_ended(&[machines.submit("a").await, machines.submit("a").await]).await;
    assert_eq!((begin.elapsed(), one.loads.load(Relaxed)), (2 * RUN, 0));
    // The ends of these jobs have woken the idle backend, which found none to leave.
    let begin = Instant::now();
    machines.all_ended(&[machines.submit("a").await, machines.submit("a").await, machines.submit("a").await]).await;
    // The third one would begin after 8 s.
    assert_eq!((one.loads.load(Relaxed), two.loads.load(Relaxed)), (1, 0));
    assert!(begin.elapsed() - (PATIENCE + LOAD + RUN) < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_no_job_is_left_to_others() {
    let (one, two) = (Server::default(), Server::with(&["a"]));
    let machines = Machines::start_with(Duration::ZERO, &[&one, &two], &["a"], true, &[1]).await;
    let (id, begin) = (machines.submit("a").await, Instant::now());
    machines.ended(&id).await;
    assert_eq!(begin.elapsed(), LOAD + RUN);
}

#[tokio::test(start_paused = true)]
async fn backend_that_is_down_is_not_waited_for() {
    let (one, two) = (Server::default(), Server::with(&["a"]));
    let machines = Machines::start(&[&one, &two], &["a"], true, &[1]).await;
    machines.backends.members()[1].availability.failed("connection refused", None);
    let (id, begin) = (machines.submit("a").await, Instant::now());
    machines.ended(&id).await;
    assert_eq!(begin.elapsed(), LOAD + RUN);
}

#[tokio::test(start_paused = true)]
async fn loaded_models_of_a_server_that_is_down_are_not_known() {
    let server = Server::with(&["a"]);
    let machines = Machines::start(&[&server], &["a"], true, &[]).await;
    let loaded = &machines.backends.members()[0].loaded;
    assert_eq!(loaded.reported(), Some(vec!["a".to_owned()]));
    server.is_down.store(true, Relaxed);
    machines.submit("a").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(loaded.reported(), None);
}

/// It seems to be available.
#[tokio::test(start_paused = true)]
async fn backend_that_takes_no_job_delays_no_other_jobs() {
    let (one, two) = (Server::default(), Server::with(&["a"]));
    let machines = Machines::start(&[&one, &two], &["a", "b"], true, &[1]).await;
    let begin = Instant::now();
    let left = machines.submit("a").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let other = machines.submit("b").await;
    machines.ended(&other).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(3) + LOAD + RUN);
    // It has waited for long enough meanwhile.
    machines.ended(&left).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(3) + 2 * (LOAD + RUN));
}

/// One token has jobs of a model that is loaded, another one of a model that must be loaded.
#[tokio::test(start_paused = true)]
async fn tokens_take_turns_whatever_is_loaded() {
    let (one, two) = (Server::with(&["a"]), Server::with(&["a"]));
    let machines = Machines::start(&[&one, &two], &["a", "b"], true, &[]).await;
    let owners = [Owner::from_token(b"x"), Owner::from_token(b"y")];
    let (mut of_x, mut of_y) = (Vec::new(), Vec::new());
    for _ in 0..48 {
        of_x.push(machines.submit_of(owners[0], "a").await);
        of_y.push(machines.submit_of(owners[1], "b").await);
    }
    let mut begun = Vec::new();
    for (owner, ids) in owners.into_iter().zip([&of_x, &of_y]) {
        for id in ids {
            machines.ended(id).await;
            let status = machines.jobs.status(owner, id).await.unwrap().unwrap();
            begun.push((status.started_at.unwrap(), owner));
        }
    }
    begun.sort_by_key(|(at, _)| *at);
    // Neither is more than a batch for each backend ahead of the other.
    let mut ahead = 0_i32;
    for (number, (_, owner)) in begun.iter().enumerate() {
        ahead += if *owner == owners[0] { 1 } else { -1 };
        assert!(ahead.abs() <= 2 * 8, "after {number} jobs one token is {ahead} ahead");
    }
}

#[tokio::test(start_paused = true)]
async fn server_is_asked_after_a_job_of_another_model() {
    let server = Server::with(&["a"]);
    let machines = Machines::start(&[&server, &Server::default()], &["a", "b"], true, &[1]).await;
    let loaded = || machines.backends.members()[0].loaded.reported();
    for (model, asked, expected) in [("a", 1, &["a"][..]), ("b", 2, &["a", "b"]), ("b", 2, &["a", "b"])] {
        let id = machines.submit(model).await;
        machines.ended(&id).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(server.asked.load(Relaxed), asked, "{model}");
        assert_eq!(loaded().unwrap(), expected);
    }
    // Others have used the server.
    server.set(&["c", "b"]);
    tokio::time::sleep(HOUR).await;
    assert_eq!(loaded().unwrap(), ["b"], "c is not listed");
}

#[tokio::test(start_paused = true)]
async fn server_that_reports_nothing_is_asked_once() {
    let server = Server::with(&["a"]);
    let machines = Machines::start(&[&server, &Server::default()], &["a", "b"], false, &[1]).await;
    for model in ["a", "b", "a"] {
        let id = machines.submit(model).await;
        machines.ended(&id).await;
    }
    assert_eq!((server.asked.load(Relaxed), machines.backends.members()[0].loaded.reported()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn list_is_refreshed_while_jobs_end_all_the_time() {
    let listed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&listed);
    let chat = service_fn(async |_: Chat| Ok::<_, BoxError>(ChatResponse::from_value("ok")?));
    let backend = Backend::new(chat).models(service_fn(move |_: ListModels| {
        counted.fetch_add(1, Relaxed);
        async { Ok::<_, BoxError>(vec![ModelInfo::new("a")]) }
    }));
    let member = Arc::new(Member::new(0, "gpu", backend, NonZeroUsize::MIN, 1, Takes::Listed, Lists::new(["gpu"])));
    let backends = Arc::new(Backends::new(vec![Arc::clone(&member)], false, PATIENCE));
    let jobs = Arc::new(Jobs::in_memory(&StoreOptions::of_test(10)));
    let refresh = tokio::spawn(refresh_models(Arc::clone(&backends), 0, Duration::from_secs(60), jobs));
    for _ in 0..6000 {
        let running = member.loaded.run("a");
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(running);
    }
    refresh.abort();
    assert!(listed.load(Relaxed) >= 9, "{} lists in 10 min", listed.load(Relaxed));
}

/// Each of these jobs is left to a backend that takes none.
#[tokio::test(start_paused = true)]
async fn idle_workers_leave_jobs_for_no_longer_than_one() {
    for models in [["a"; 3], ["a", "b", "c"]] {
        let (one, two) = (Server::default(), Server::with(&["a", "b", "c", "d"]));
        let machines = Machines::start(&[&one, &two], &["a", "b", "c", "d"], true, &[1]).await;
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            tasks.spawn(work(WorkerContext {
                jobs: Arc::clone(&machines.jobs),
                backends: Arc::clone(&machines.backends),
                member: Arc::clone(&machines.backends.members()[0]),
                attempts: Attempts { most: 3, pause: Duration::from_secs(1) },
                closing: CancellationToken::new(),
            }));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (begin, mut ids) = (Instant::now(), Vec::new());
        for model in models {
            ids.push(machines.submit(model).await);
        }
        for id in &ids {
            machines.ended(id).await;
        }
        let waited = begin.elapsed() - LOAD - RUN;
        assert!(waited <= PATIENCE + Duration::from_millis(10), "{models:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn job_whose_deadline_is_near_is_not_left() {
    let (one, two) = (Server::default(), Server::with(&["a"]));
    let machines = Machines::start(&[&one, &two], &["a", "b"], true, &[1]).await;
    let overdue = tokio::spawn(crate::deadlines::fail_overdue_jobs(Arc::clone(&machines.jobs)));
    let begin = Instant::now();
    // By the clock of the system, which is not paused.
    let start_by = Some(Timestamp::now() + Duration::from_secs(9));
    let new = NewJob { start_by, ..NewJob::of_test(r#"{"model":"a"}"#) };
    let id = machines.jobs.submit(new).await.unwrap().unwrap().job_id;
    machines.ended(&id).await;
    overdue.abort();
    assert_eq!(begin.elapsed(), LOAD + RUN);
}

/// How many models are loaded for 240 jobs that come one after the other, and how long a job takes on average.
async fn loads_and_mean_time(seed: u64, longest_pause: u64, reports: bool) -> (u64, Duration) {
    let servers = [Server::default(), Server::default()];
    let machines = Arc::new(Machines::start(&servers.each_ref(), &["a", "b", "c", "d"], reports, &[]).await);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut running = Vec::new();
    for _ in 0..240 {
        tokio::time::sleep(Duration::from_millis(random.u64(..longest_pause))).await;
        let (machines, model) = (Arc::clone(&machines), ["a", "b", "c", "d"][random.usize(..4)]);
        running.push(tokio::spawn(async move {
            let begin = Instant::now();
            machines.ended(&machines.submit(model).await).await;
            begin.elapsed()
        }));
    }
    let mut time = Duration::ZERO;
    for job in running {
        time += job.await.unwrap();
    }
    (servers.iter().map(|server| server.loads.load(Relaxed)).sum(), time / 240)
}

#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "ARCHITECTURE.md has these figures")]
async fn loaded_models_save_loads() {
    let seed = fastrand::u64(..);
    for pause in [10, 20, 40] {
        let [(with, time), (without, longer)] =
            [loads_and_mean_time(seed, 1000 * pause, true).await, loads_and_mean_time(seed, 1000 * pause, false).await];
        println!(
            "240 jobs, one each {} s: {with} loads and {time:.1?} a job, if the servers report what they have loaded; \
             otherwise {without} and {longer:.1?} (seed {seed})",
            pause / 2
        );
        assert!(pause < 20 || with < without, "seed {seed}: {with} and {without}");
    }
}
