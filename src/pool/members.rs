use std::time::Duration;

use tokio::time::Instant;

use super::choice::choose;
use super::clients::Clients;
use super::health::Health;
use super::load::{Load, Times};
use super::member::{CallEnd, Counts, Member, Ticket};
use super::models::Models;
use crate::error::Kind;
use crate::{Client, DaemonId, Error, ModelInfo};

/// How long the client of a daemon that has left is kept after its last wait, for retries that attach.
const RETENTION: Duration = Duration::from_secs(600);

/// The daemons of a pool, and all that is known of them. No I/O and no clock.
#[derive(Debug)]
pub(super) struct Members<T> {
    all: Vec<Member<T>>,
    times: Times,
    next_number: u64,
    /// How often a submission went on to another daemon.
    pub(super) moves: u64,
}

/// A client of a daemon was added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    /// The number of the daemon.
    pub(super) number: u64,
    /// The number of the client, among those of the daemon.
    pub(super) insertion: u64,
    /// Whether the daemon was not there.
    pub(super) is_new: bool,
}

/// What a pool needs no longer. It is dropped outside of the lock, since that runs code of the caller.
pub(super) type Forgotten<T> = (Vec<Member<T>>, Vec<Client<T>>);

/// Where a call goes.
#[derive(Debug)]
pub(super) struct Routed<T> {
    pub(super) client: Client<T>,
    pub(super) ticket: Ticket,
    /// Another daemon may get the submission.
    pub(super) has_others: bool,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { all: Vec::new(), times: Times::default(), next_number: 0, moves: 0 }
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
        let open = self.present().filter(|member| !member.client().is_shutting_down());
        open.filter_map(|member| member.health.available_at()).min()
    }

    /// Adds a client, and its daemon unless that is there already.
    pub(super) fn enter(&mut self, client: Client<T>, id: DaemonId, now: Instant) -> Entered {
        if let Some(member) = self.all.iter_mut().find(|member| member.id == id) {
            member.left_at = None;
            return Entered { number: member.number, insertion: member.clients.insert(client), is_new: false };
        }
        let number = self.next_number;
        self.next_number += 1;
        self.all.push(Member {
            number,
            clients: Clients::new(client),
            id,
            left_at: None,
            models: Models::default(),
            probed: false,
            check_at: Some(now),
            load: Load::default(),
            health: Health::default(),
            last_failure: None,
            counts: Counts::default(),
        });
        Entered { number, insertion: 0, is_new: true }
    }

    /// The key of that client was removed, or has another one.
    pub(super) fn leave(&mut self, of: Entered, now: Instant) {
        if let Some(member) = self.get_mut(of.number) {
            member.clients.retire(of.insertion);
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
        Some((member.client().clone(), Ticket { number, counted, trial }))
    }

    /// A call at a daemon ended. `jitter`: from 0 to 1.
    pub(super) fn end(&mut self, ticket: Ticket, end: CallEnd<'_>, now: Instant, jitter: f64) {
        let Some(member) = self.all.iter_mut().find(|member| member.number == ticket.number) else { return };
        if let Some((model, sample)) = member.load.end(ticket.counted, now, matches!(end, CallEnd::Done)) {
            self.times.record(&model, sample, now);
        }
        member.ended(ticket.trial, end, now, jitter);
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
        for member in self.all.iter_mut().filter(|member| !member.has_left()) {
            let Some(at) = member.check_at else { continue };
            // A daemon that fails is asked when its pause is over, and not before.
            let at = member.health.probe_at().unwrap_or(at);
            if at <= now {
                member.check_at = None;
                due.push((member.number, member.client().clone()));
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

    /// Removes the daemons that have left and the clients that were replaced, once they are not needed any more. Returns when the next daemon
    /// is not.
    pub(super) fn forget(&mut self, now: Instant) -> (Forgotten<T>, Option<Instant>) {
        let over = |member: &mut Member<T>| {
            member.load.pending() == 0 && member.left_at.is_some_and(|left| left + RETENTION <= now)
        };
        let members = self.all.extract_if(.., over).collect();
        let clients = self.all.iter_mut().flat_map(|member| member.clients.forget_idle()).collect();
        let kept = self.all.iter().filter(|member| member.load.pending() == 0).filter_map(|member| member.left_at);
        ((members, clients), kept.min().map(|left| left + RETENTION))
    }
}
