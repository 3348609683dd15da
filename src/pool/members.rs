use std::time::Duration;

use tokio::time::Instant;

use super::choice::choose;
use super::health::{Health, Trial};
use super::load::{Counted, Load, Times};
use super::models::Models;
use crate::error::Kind;
use crate::{Client, DaemonId, Error, ModelInfo};

/// How long the client of a daemon that has left is kept after its last wait, for retries that attach.
const RETENTION: Duration = Duration::from_secs(600);

/// The pause after a refusal that does not say how long.
const REFUSED: Duration = Duration::from_secs(1);

/// The daemons of a pool, and all that is known of them. No I/O and no clock.
#[derive(Debug)]
pub(super) struct Members<T> {
    all: Vec<Member<T>>,
    times: Times,
    next_number: u64,
    /// How often a submission went on to another daemon.
    pub(super) moves: u64,
}

#[derive(Debug)]
pub(super) struct Member<T> {
    pub(super) number: u64,
    pub(super) client: Client<T>,
    id: DaemonId,
    /// How many keys of the discovery it has. 0 after it has left.
    keys: usize,
    /// When it has left, or its last wait after that has ended.
    left_at: Option<Instant>,
    models: Models,
    /// Its list of models has come once, or has failed to.
    probed: bool,
    /// When the list of models is to be requested. `None` while it is requested.
    check_at: Option<Instant>,
    load: Load,
    pub(super) health: Health,
    last_failure: Option<Error>,
    counts: Counts,
}

/// Counts of one daemon since it was added.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) finished: u64,
    pub(super) moved_on: u64,
    pub(super) failures: u64,
}

/// A call that is counted at a daemon.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    counted: Counted,
    /// The trial of the daemon that depends on it.
    pub(super) trial: Option<Trial>,
}

/// Where a call goes.
#[derive(Debug)]
pub(super) struct Routed<T> {
    pub(super) client: Client<T>,
    pub(super) ticket: Ticket,
    /// Another daemon may get the submission.
    pub(super) has_others: bool,
}

/// How a call at a daemon ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallEnd<'a> {
    /// The job is done.
    Done,
    /// The job ran and failed.
    JobFailed,
    Failed(&'a Error),
    Dropped,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { all: Vec::new(), times: Times::default(), next_number: 0, moves: 0 }
    }
}

impl<T> Member<T> {
    fn has_left(&self) -> bool {
        self.keys == 0
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        !self.has_left() && self.health.is_available(now) && !self.client.is_shutting_down()
    }

    pub(super) fn url(&self) -> &str {
        self.id.base_url().as_str()
    }

    pub(super) fn daemon_id(&self) -> &DaemonId {
        &self.id
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn last_failure(&self) -> Option<&Error> {
        self.last_failure.as_ref()
    }

    pub(super) fn knows_models(&self) -> bool {
        self.models.is_known()
    }
}

impl<T> Members<T> {
    /// The daemons that have not left.
    pub(super) fn present(&self) -> impl Iterator<Item = &Member<T>> {
        self.all.iter().filter(|member| !member.has_left())
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.all.iter().any(|member| member.is_available(now))
    }

    /// Whether each daemon has listed its models once, or has failed to.
    pub(super) fn are_probed(&self) -> bool {
        self.present().all(|member| member.probed)
    }

    /// When a daemon may become available by time alone.
    pub(super) fn available_at(&self) -> Option<Instant> {
        // A client that was shut down never is, and a time that has passed would be waited for without a pause.
        let open = self.present().filter(|member| !member.client.is_shutting_down());
        open.filter_map(|member| member.health.available_at()).min()
    }

    /// Adds a daemon. One that is there already gets one more key, and keeps its client. Returns its number, and whether it is new.
    pub(super) fn enter(&mut self, client: Client<T>, id: DaemonId, now: Instant) -> (u64, bool) {
        if let Some(member) = self.all.iter_mut().find(|member| member.id == id) {
            member.keys += 1;
            member.left_at = None;
            return (member.number, false);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.all.push(Member {
            number,
            client,
            id,
            keys: 1,
            left_at: None,
            models: Models::default(),
            probed: false,
            check_at: Some(now),
            load: Load::default(),
            health: Health::default(),
            last_failure: None,
            counts: Counts::default(),
        });
        (number, true)
    }

    /// A key of the daemon was removed.
    pub(super) fn leave(&mut self, number: u64, now: Instant) {
        if let Some(member) = self.get_mut(number) {
            member.keys = member.keys.saturating_sub(1);
            member.left_at = member.has_left().then_some(now);
        }
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Member<T>> {
        self.all.iter_mut().find(|member| member.number == number)
    }

    /// The daemons with that identity, also one that has left.
    pub(super) fn with_id(&self, id: &DaemonId) -> Option<&Member<T>> {
        self.all.iter().find(|member| member.id == *id)
    }

    /// All daemons, also those that have left.
    pub(super) fn all(&self) -> &[Member<T>] {
        &self.all
    }

    /// Chooses a daemon for a submission that may go anywhere but to those that were `tried`.
    pub(super) fn choose(&self, model: &str, tried: &[u64], now: Instant) -> Option<(u64, bool)> {
        let listed = self.present().any(|member| member.models.may_have(model));
        let available = |member: &&Member<T>| {
            member.is_available(now) && (!listed || member.models.may_have(model)) && !tried.contains(&member.number)
        };
        let candidates = || self.all.iter().filter(available);
        let costs = candidates().enumerate().map(|(at, member)| (at, member.load.cost(model, &self.times, now)));
        let number = candidates().nth(choose(costs, fastrand::f64)?)?.number;
        Some((number, candidates().nth(1).is_some()))
    }

    /// No daemon is available for the model.
    pub(super) fn unavailable(&self, model: &str, now: Instant) -> Error {
        let may_have = |member: &&Member<T>| member.models.may_have(model);
        let next = self.present().filter(may_have).min_by_key(|member| member.health.until());
        let pause = next.and_then(|next| next.health.until()).map(|until| until.saturating_duration_since(now));
        let error = Error::new(Kind::NoDaemon { model: model.into(), pause });
        match next.and_then(|next| next.last_failure.clone()) {
            Some(failure) => error.with_source(failure),
            None => error,
        }
    }

    /// Counts a call at a daemon. `whole`: it begins with the submission.
    pub(super) fn begin(&mut self, number: u64, model: &str, whole: bool, now: Instant) -> Option<(Client<T>, Ticket)> {
        let member = self.all.iter_mut().find(|member| member.number == number)?;
        let counted = member.load.begin(model, &self.times, now, whole);
        member.counts.sent += u64::from(whole);
        let trial = if whole { member.health.send(now) } else { None };
        Some((member.client.clone(), Ticket { number, counted, trial }))
    }

    /// A call at a daemon ended. `jitter`: from 0 to 1.
    pub(super) fn end(&mut self, ticket: Ticket, end: CallEnd<'_>, now: Instant, jitter: f64) {
        let Some(member) = self.all.iter_mut().find(|member| member.number == ticket.number) else { return };
        if let Some((model, sample)) = member.load.end(ticket.counted, now, matches!(end, CallEnd::Done)) {
            self.times.record(&model, sample, now);
        }
        if member.has_left() {
            member.left_at = Some(now);
        }
        match end {
            CallEnd::Done | CallEnd::JobFailed => {
                member.counts.finished += 1;
                member.health.accepted();
            }
            CallEnd::Failed(error) => {
                if let Some(pause) = pause_after(error) {
                    member.health.refused(now, pause);
                } else if is_failure(error) {
                    member.counts.failures += 1;
                    member.last_failure = Some(error.clone());
                    member.health.failed(now, jitter);
                } else if let Some(trial) = ticket.trial {
                    member.health.not_tried(trial);
                }
            }
            CallEnd::Dropped => {
                if let Some(trial) = ticket.trial {
                    member.health.not_tried(trial);
                }
            }
        }
    }

    /// A submission goes on from this daemon to another one.
    pub(super) fn moved_on(&mut self, number: u64) {
        self.moves += 1;
        if let Some(member) = self.get_mut(number) {
            member.counts.moved_on += 1;
        }
    }

    /// The daemons whose lists of models are to be requested, which is the probe of one that fails; and when the next one is.
    pub(super) fn checks(&mut self, now: Instant) -> (Vec<(u64, Client<T>)>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for member in self.all.iter_mut().filter(|member| member.keys > 0) {
            let Some(at) = member.check_at else { continue };
            // A daemon that fails is asked when its pause is over, and not before.
            let at = member.health.probe_at().unwrap_or(at);
            if at <= now {
                member.check_at = None;
                due.push((member.number, member.client.clone()));
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        (due, next)
    }

    /// The list of models came, or did not. Returns whether the daemon may have become available.
    pub(super) fn checked(
        &mut self,
        number: u64,
        listed: Result<Vec<ModelInfo>, Error>,
        interval: Duration,
        now: Instant,
        jitter: f64,
    ) -> bool {
        let Some(member) = self.get_mut(number) else { return false };
        member.check_at = Some(now + interval.mul_f64(1.0 + jitter / 10.0));
        member.probed = true;
        match listed {
            Ok(models) => {
                member.models = Models::listed(&models);
                member.health.probed(true, now, jitter);
            }
            // It may run what its model server cannot list.
            Err(error) if error.status().is_some() && !error.is_auth() => member.health.probed(true, now, jitter),
            Err(error) => {
                tracing::debug!(
                    daemon = member.url(),
                    error = &error as &dyn std::error::Error,
                    "daemon does not answer"
                );
                member.last_failure = Some(error);
                member.health.probed(false, now, jitter);
            }
        }
        true
    }

    /// Removes the daemons that have left and are not needed any more. Returns when the next one is not.
    pub(super) fn forget(&mut self, now: Instant) -> (Vec<Member<T>>, Option<Instant>) {
        let over = |member: &mut Member<T>| {
            member.load.pending() == 0 && member.left_at.is_some_and(|left| left + RETENTION <= now)
        };
        let forgotten = self.all.extract_if(.., over).collect();
        let kept = self.all.iter().filter(|member| member.load.pending() == 0).filter_map(|member| member.left_at);
        (forgotten, kept.min().map(|left| left + RETENTION))
    }
}

/// How long the daemon asks to be sent nothing.
fn pause_after(error: &Error) -> Option<Duration> {
    let refused = error.is_overloaded() && (error.status().is_some() || matches!(error.kind(), Kind::SlowDown(_)));
    refused.then(|| error.retry_after().unwrap_or(REFUSED))
}

/// Whether the error shows that the daemon fails, and not the request or the job.
fn is_failure(error: &Error) -> bool {
    match error.kind() {
        Kind::Connect | Kind::Transport | Kind::RequestTimeout(_) | Kind::Lost | Kind::Response(_) => true,
        Kind::Status { status, .. } => {
            let of_job = error.job_id().is_some();
            status.is_server_error() || matches!(status.as_u16(), 401 | 403) || (!of_job && status.as_u16() == 404)
        }
        _ => false,
    }
}
