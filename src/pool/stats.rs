use std::time::Duration;

use tokio::time::Instant;

use super::member::Member;
use super::members::Members;
use crate::Error;

/// What a [`Pool`](super::Pool) knows of its daemons; returned by [`Pool::stats`](super::Pool::stats).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// The daemons in the pool, in the order in which they were added.
    pub daemons: Vec<DaemonStats>,
    /// How often a submission that did not arrive at one daemon went on to another one.
    pub moves: u64,
}

/// What a [`Pool`](super::Pool) knows of one daemon.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DaemonStats {
    /// The base URL.
    pub url: String,
    /// Whether it is sent jobs now.
    pub is_available: bool,
    /// Whether its list of models is known.
    pub knows_models: bool,
    /// How many calls of the pool wait there.
    pub waiting: u32,
    /// How long the jobs of these calls take, by the times of the jobs before.
    pub work: Duration,
    /// How many submissions it was chosen for.
    pub sent: u64,
    /// How many calls ended there with the result of a job.
    pub finished: u64,
    /// How many submissions did not arrive there and went on to another daemon.
    pub moved_on: u64,
    /// How many calls there failed by the daemon or the connection to it.
    pub failures: u64,
    /// The last of these failures, or of the requests for the list of models. It stays after a success.
    pub last_failure: Option<Error>,
}

impl PoolStats {
    pub(super) fn of<T>(members: &Members<T>, now: Instant) -> Self {
        let daemons = members.present().map(|member| DaemonStats::of(member, now)).collect();
        Self { daemons, moves: members.moves }
    }
}

impl DaemonStats {
    fn of<T>(member: &Member<T>, now: Instant) -> Self {
        let (load, counts) = (member.load(), member.counts());
        Self {
            url: member.url().to_owned(),
            is_available: member.is_available(now),
            knows_models: member.knows_models(),
            waiting: load.pending(),
            work: Duration::try_from_secs_f64(load.work()).unwrap_or(Duration::MAX),
            sent: counts.sent,
            finished: counts.finished,
            moved_on: counts.moved_on,
            failures: counts.failures,
            last_failure: member.last_failure.clone(),
        }
    }
}
