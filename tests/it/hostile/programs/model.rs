//! What has happened in a run, and what must be true of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foreman_client::webhook::WebhookReceiver;
use foreman_client::{DropPolicy, Error, JobResult, Submission};
use tokio::time::Instant;

use super::counts::Counts;
use super::daemon::{DaemonHttp, Job, URLS};
use super::program::{DaemonPlan, EventPlan, GatePlan, JobPlan, PollFault, PollPlan, PostFault, PostPlan, Program};
use crate::support::{millis, seconds};

/// The timeout of the final poll, and the resolution of the timer.
const AFTER_DEADLINE: Duration = millis(5_010);

pub(super) struct World {
    pub(super) daemons: [Daemon; 2],
    pub(super) receivers: Vec<WebhookReceiver>,
    pub(super) attempts: Vec<Attempt>,
    /// By idempotency key.
    pub(super) callers: HashMap<String, Caller>,
    pub(super) counts: Counts,
    /// The faults have stopped.
    pub(super) calm: bool,
    gates: VecDeque<GatePlan>,
    /// Until when the daemon of a client has asked it to send no submissions, and with which key.
    pub(super) pauses: HashMap<usize, (Instant, String)>,
    events: HashSet<(usize, usize, usize)>,
    violations: Vec<String>,
    trace: Vec<String>,
    started: Instant,
}

pub(super) struct Daemon {
    pub(super) plan: DaemonPlan,
    pub(super) jobs: Vec<Job>,
    posts: usize,
    polls: usize,
}

/// One `POST /jobs`.
pub(super) struct Attempt {
    pub(super) daemon: usize,
    pub(super) client: usize,
    pub(super) key: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    /// The client knows that it did not arrive.
    Refused,
    /// The client does not know.
    Unknown,
    Accepted,
}

/// What the program has done with a request.
pub(super) struct Caller {
    pub(super) handle: Submission,
    pub(super) deadline: Option<Duration>,
    pub(super) on_drop: DropPolicy,
    pub(super) first_call: Option<Instant>,
    /// When the last holder was dropped, at a time at which the daemons work.
    pub(super) abandoned: Option<Instant>,
    /// It was looked for without a holder.
    pub(super) searched: bool,
    /// One reference for each clone of the request and each wait.
    pub(super) alive: Arc<()>,
    pub(super) leaked: bool,
    /// How often a daemon has refused it for the time being, and how many waits have failed for that.
    pub(super) refusals: u64,
    pub(super) refused_waits: u64,
    /// How often it was sent without a wait.
    pub(super) bare_sends: u64,
    /// Those whose waits were called with it.
    pub(super) clients: HashSet<usize>,
    /// A stack above the wait was called.
    pub(super) stacked: bool,
    /// How many stacks have renewed it.
    pub(super) renewed: u64,
    /// The key of the submission that it renews. The stacks that renew one share it.
    pub(super) renews: Option<String>,
    /// An event of another job came to its callback URL before its job was known.
    pub(super) misled: bool,
}

/// What a wait is for.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// The key of a request.
    Request(String),
    /// A job of a daemon.
    Job(usize, usize),
}

impl Caller {
    /// `alive` is the first reference.
    pub(super) fn new(handle: Submission, deadline: Option<Duration>, on_drop: DropPolicy, alive: &Arc<()>) -> Self {
        Self {
            handle,
            deadline,
            on_drop,
            first_call: None,
            alive: Arc::clone(alive),
            leaked: false,
            abandoned: None,
            searched: false,
            refusals: 0,
            refused_waits: 0,
            bare_sends: 0,
            clients: HashSet::new(),
            stacked: false,
            renewed: 0,
            renews: None,
            misled: false,
        }
    }

    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }

    fn is_past_deadline_by(&self, time: Duration) -> bool {
        let end = self.first_call.zip(self.deadline).map(|(first, deadline)| first + deadline + time);
        end.is_some_and(|end| Instant::now() > end)
    }
}

impl Daemon {
    pub(super) fn next_job(&self) -> JobPlan {
        let on_time = || JobPlan { queued: 500, runs: 1_000, fails: false, events: [EventPlan::OnTime; 3] };
        self.plan.jobs.get(self.jobs.len()).cloned().unwrap_or_else(on_time)
    }
}

impl World {
    pub(super) fn new(program: &Program, receivers: Vec<WebhookReceiver>) -> Self {
        Self {
            daemons: program.daemons.clone().map(|plan| Daemon { plan, jobs: Vec::new(), posts: 0, polls: 0 }),
            receivers,
            attempts: Vec::new(),
            callers: HashMap::new(),
            counts: Counts::default(),
            calm: false,
            gates: program.gates.iter().copied().collect(),
            pauses: HashMap::new(),
            events: HashSet::new(),
            violations: Vec::new(),
            trace: Vec::new(),
            started: Instant::now(),
        }
    }

    pub(super) fn plan_post(&mut self, daemon: usize) -> PostPlan {
        let daemon = &mut self.daemons[daemon];
        let plan = daemon.plan.posts.get(daemon.posts).filter(|_| !self.calm).copied();
        daemon.posts += 1;
        plan.unwrap_or(PostPlan { fault: PostFault::None, before: 1, after: 1, detached: false })
    }

    pub(super) fn plan_poll(&mut self, daemon: usize) -> PollPlan {
        let daemon = &mut self.daemons[daemon];
        let plan = daemon.plan.polls.get(daemon.polls).filter(|_| !self.calm).copied();
        daemon.polls += 1;
        plan.unwrap_or(PollPlan { fault: PollFault::None, delay: 1 })
    }

    pub(super) fn plan_gate(&mut self) -> GatePlan {
        let plan = self.gates.pop_front().filter(|_| !self.calm).unwrap_or(GatePlan::Open);
        match plan {
            GatePlan::Open => {}
            GatePlan::Opens { .. } => self.counts.delayed_calls += 1,
            GatePlan::Sheds => self.counts.shed_calls += 1,
            GatePlan::Fails => self.counts.failed_services += 1,
        }
        self.log(|| format!("gate: {plan:?}"));
        plan
    }

    /// A submission is sent. Returns the number of the attempt.
    pub(super) fn sent(&mut self, http: &DaemonHttp, key: &str) -> usize {
        let DaemonHttp { daemon, client, .. } = *http;
        let earlier: Vec<_> =
            self.attempts.iter().filter(|it| it.key == key).map(|it| (it.daemon, it.outcome)).collect();
        let refused = |(_, outcome): &(usize, Outcome)| *outcome == Outcome::Refused;
        let at = self.attempts.len();
        self.log(|| format!("submission {at} of {key} to daemon {daemon} after {earlier:?}"));
        let elsewhere = earlier.iter().any(|it| it.0 != daemon && !refused(it));
        self.check(!elsewhere, || format!("{key} is sent to a second daemon: {earlier:?}"));
        // The bare service sends whatever it is given.
        if self.callers[key].bare_sends == 0 {
            let safe = self.daemons[daemon].plan.keys || earlier.iter().all(refused);
            self.check(safe, || format!("{key} is sent again without keys: {earlier:?}"));
        }
        let caller = &self.callers[key];
        // What is lost without a holder is looked for, to be cancelled. A retry inside a wait that was not polled may come after the
        // deadline.
        let late = earlier.is_empty()
            && caller.bare_sends == 0
            && caller.holders() > 0
            && caller.is_past_deadline_by(Duration::ZERO);
        self.check(!late, || format!("{key} is sent after its deadline"));
        self.check(earlier.len() < 100, || format!("{key} is sent {} times", earlier.len()));
        self.counts.resent += u64::from(earlier.iter().any(|it| !refused(it)));
        if self.callers[key].holders() == 0 {
            self.counts.searches += 1;
            self.callers.get_mut(key).unwrap().searched = true;
        } else if self.callers[key].bare_sends == 0 {
            self.check_pause(client, key);
        }
        self.attempts.push(Attempt { daemon, client, key: key.to_owned(), outcome: Outcome::Pending });
        at
    }

    /// How many submissions with that key are in flight.
    pub(super) fn in_flight(&self, key: &str) -> usize {
        self.attempts.iter().filter(|it| it.key == key && it.outcome == Outcome::Pending).count()
    }

    /// An event of a job is delivered to the callback URL of the submission `key`.
    pub(super) fn event(&mut self, daemon: usize, id: usize, order: usize, key: &str, replayed: bool) {
        let Some(caller) = self.callers.get_mut(key) else { return };
        let unknown = caller.handle.job_id().is_none();
        let counts = &mut self.counts;
        if replayed {
            counts.replayed_events += 1;
            caller.misled |= unknown;
            return;
        }
        let first = self.events.insert((daemon, id, order));
        counts.duplicated_events += u64::from(!first);
        counts.early_events += u64::from(unknown && caller.holders() > 0);
        counts.late_events += u64::from(caller.holders() == 0);
        counts.reordered_events +=
            u64::from((order..3).any(|later| later > order && self.events.contains(&(daemon, id, later))));
    }

    /// A wait has ended.
    pub(super) fn ended(&mut self, subject: &Subject, result: &Result<JobResult, Error>) {
        self.log(|| format!("a wait of {subject:?} ends: {result:?}"));
        match result {
            Ok(result) => {
                self.counts.results += 1;
                self.check_result(subject, result);
            }
            Err(error) => {
                self.counts.errors += 1;
                if let Subject::Request(key) = subject {
                    self.check_follower(key, error);
                }
                self.check_error(subject, error);
            }
        }
    }

    fn may_have_arrived(&self, key: &str) -> bool {
        self.attempts.iter().any(|it| it.key == key && it.outcome != Outcome::Refused)
    }

    /// A wait is polled and does not end. `late`: when it was first polled after its deadline. It has its last look from then on.
    pub(super) fn check_late(&mut self, subject: &Subject, late: &mut Option<Instant>) {
        if self.is_past_deadline(subject) {
            let late = *late.get_or_insert_with(Instant::now);
            let overdue = late.elapsed() > AFTER_DEADLINE;
            self.check(!overdue, || format!("a wait of {subject:?} goes on after its deadline"));
        }
    }

    /// A wait ends that began before its deadline and was polled all the time.
    pub(super) fn check_deadline(&mut self, subject: &Subject) {
        let overdue = matches!(subject, Subject::Request(key) if self.callers[key].is_past_deadline_by(AFTER_DEADLINE));
        self.check(!overdue, || format!("a wait of {subject:?} ends late after its deadline"));
    }

    pub(super) fn is_past_deadline(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Request(key) if self.callers[key].is_past_deadline_by(Duration::ZERO))
    }

    /// Whether an event of another job may have named the job of the submission. A client that knows that the daemon supports keys
    /// confirms the id by the key, up to three times, unless the daemon has asked it to pause or the deadline has passed.
    fn is_misled(&self, key: &str) -> bool {
        let caller = &self.callers[key];
        let mut attempts = self.attempts.iter().filter(|it| it.key == key);
        let may_send = self.pauses.is_empty() && !caller.is_past_deadline_by(Duration::ZERO);
        let confirmed = attempts.clone().count() < 4 && attempts.all(|it| self.daemons[it.daemon].plan.keys_assumed);
        caller.misled && !(may_send && confirmed)
    }

    pub(super) fn check_result(&mut self, subject: &Subject, result: &JobResult) {
        if let Subject::Request(key) = subject
            && self.is_misled(key)
        {
            return;
        }
        let daemon = URLS.iter().position(|url| Some(*url) == result.daemon());
        let id: usize = result.job_id().as_str().parse().unwrap();
        let job = daemon.and_then(|daemon| self.daemons[daemon].jobs.get(id));
        let marker = result.content().map(|marker| marker.into_owned()).or_else(|| result.error().map(str::to_owned));
        let shown = format!("{job:?} of daemon {daemon:?}");
        let right = job.is_some_and(|job| {
            let own = match subject {
                Subject::Request(key) => job.key == *key,
                Subject::Job(at, job) => (daemon, id) == (Some(*at), *job),
            };
            own && job.has_ended() && job.state() == result.state().as_str() && marker.as_ref() == Some(&job.marker)
        });
        self.check(right, || format!("a wait of {subject:?} ends with the result of {shown}: {result:?}"));
    }

    /// What an error says of the job is true.
    pub(super) fn check_error(&mut self, subject: &Subject, error: &Error) {
        self.counts.deadlines += u64::from(error.is_deadline());
        self.counts.other_daemons += u64::from(error.is_other_daemon());
        // A service that fails before it is called knows of no submission, and a layer above it not what was sent without a wait.
        let uncalled = matches!(subject, Subject::Request(key) if self.callers[key].clients.is_empty());
        if error.is_safe_to_resubmit() && (uncalled || error.idempotency_key().is_none()) {
            return;
        }
        let (mut jobs, misled) = (Vec::new(), matches!(subject, Subject::Request(key) if self.is_misled(key)));
        match subject {
            Subject::Request(key) => {
                let deadline = error.is_deadline() && self.callers[key].deadline.is_none();
                // Only the first of several jobs is the one of the submission.
                for daemon in &self.daemons {
                    jobs.extend(daemon.jobs.iter().find(|job| job.key == *key).map(Job::has_ended));
                }
                self.check(!error.is_safe_to_resubmit() || !self.may_have_arrived(key), || {
                    format!("{key} may have arrived, despite {error:?}")
                });
                self.check(!deadline, || format!("{key} has no deadline: {error:?}"));
                self.check(misled || !error.is_not_found(), || format!("job of {key} is known: {error:?}"));
            }
            Subject::Job(daemon, id) => jobs.extend(self.daemons[*daemon].jobs.get(*id).map(Job::has_ended)),
        }
        let unfinished = !misled && jobs.contains(&false);
        self.check(!unfinished || error.may_be_running(), || format!("job of {subject:?} runs, despite {error:?}"));
        let shutdown = error.is_shutting_down() && self.counts.shutdowns == 0;
        self.check(!shutdown, || format!("nobody has called shutdown: {error:?}"));
    }

    /// What must be true at the end, when all requests and waits are gone, except for those that were leaked.
    pub(super) fn check_end(&mut self, waiting: usize) {
        let leaked = self.callers.values().filter(|caller| caller.leaked).count();
        self.check(waiting <= leaked, || format!("{waiting} slots are left after {leaked} leaks"));
        let mut wrong = Vec::new();
        for (key, caller) in &self.callers {
            let jobs = || self.daemons.iter().flat_map(|it| it.jobs.iter().filter(|job| job.key == *key));
            let count = jobs().count() as u64;
            let keys = self.attempts.iter().filter(|it| it.key == *key).all(|it| self.daemons[it.daemon].plan.keys);
            let most = if keys { 1 } else { 1 + caller.bare_sends };
            if count > most {
                wrong.push(format!("{key} has {count} jobs"));
            }
            let known = caller.handle.job_id().is_some() && caller.bare_sends == 0 && !caller.leaked && !caller.misled;
            if known && caller.on_drop == DropPolicy::Cancel && !jobs().all(Job::has_ended) {
                wrong.push(format!("the abandoned job of {key} is not cancelled"));
            }
        }
        self.violations.append(&mut wrong);
        self.check_found();
        self.counts.cancels = self.daemons.iter().flat_map(|it| &it.jobs).map(|job| u64::from(job.cancelled)).sum();
    }

    pub(super) fn check(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            let violation = violation();
            self.log(|| format!("VIOLATION: {violation}"));
            self.violations.push(violation);
        }
    }

    pub(super) fn log(&mut self, event: impl FnOnce() -> String) {
        self.trace.push(format!("{:?} {}", self.started.elapsed(), event()));
    }

    /// The first violation, and the events of the run.
    pub(super) fn verdict(&self) -> Result<Counts, String> {
        match self.violations.first() {
            None => Ok(self.counts),
            Some(violation) => Err(format!("{violation}\n{}", self.trace.join("\n"))),
        }
    }
}

/// No wait takes longer once the faults have stopped: a wait that follows one that is not polled gives up after 120 s, and then
/// there may be a window of 10 s, the timeout of a request, a job of 300 s and a slow poll.
pub(super) const LIMIT: Duration = seconds(900);
