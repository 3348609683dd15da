use std::time::Duration;

use tokio::time::Instant;

use super::clients::Clients;
use super::health::{Health, Trial};
use super::load::{Counted, Load};
use super::models::Models;
use crate::error::Kind;
use crate::{Client, DaemonId, Error};

/// The pause after a refusal that does not say how long.
const REFUSED: Duration = Duration::from_secs(1);

/// A daemon of a pool, and all that is known of it.
#[derive(Debug)]
pub(super) struct Member<T> {
    pub(super) number: u64,
    /// All are retired after it has left.
    pub(super) clients: Clients<T>,
    pub(super) id: DaemonId,
    /// When it has left, or its last wait after that has ended.
    pub(super) left_at: Option<Instant>,
    pub(super) models: Models,
    /// Its list of models has come once, or has failed to.
    pub(super) probed: bool,
    /// When the list of models is to be requested. `None` while it is requested.
    pub(super) check_at: Option<Instant>,
    pub(super) load: Load,
    pub(super) health: Health,
    pub(super) last_failure: Option<Error>,
    pub(super) counts: Counts,
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
    pub(super) counted: Counted,
    /// The trial of the daemon that depends on it.
    pub(super) trial: Option<Trial>,
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

impl<T> Member<T> {
    pub(super) fn has_left(&self) -> bool {
        self.clients.are_all_retired()
    }

    /// The client for new calls.
    pub(super) fn client(&self) -> &Client<T> {
        self.clients.current()
    }

    /// Also clients before that one which still have waits.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Client<T>> {
        self.clients.all()
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        !self.has_left() && self.health.is_available(now) && !self.client().is_shutting_down()
    }

    pub(super) fn url(&self) -> &str {
        self.id.base_url().as_str()
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn knows_models(&self) -> bool {
        self.models.is_known()
    }

    /// A call ended. `trial`: the one that depends on it. `jitter`: from 0 to 1.
    pub(super) fn ended(&mut self, trial: Option<Trial>, end: CallEnd<'_>, now: Instant, jitter: f64) {
        if self.has_left() {
            self.left_at = Some(now);
        }
        match end {
            CallEnd::Done | CallEnd::JobFailed => {
                self.counts.finished += 1;
                self.health.accepted();
            }
            CallEnd::Failed(error) => {
                if let Some(pause) = pause_after(error) {
                    self.health.refused(now, pause);
                } else if is_failure(error) {
                    self.counts.failures += 1;
                    self.last_failure = Some(error.clone());
                    self.health.failed(now, jitter);
                } else if let Some(trial) = trial {
                    self.health.not_tried(trial);
                }
            }
            CallEnd::Dropped => {
                if let Some(trial) = trial {
                    self.health.not_tried(trial);
                }
            }
        }
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
