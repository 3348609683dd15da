use std::task::Waker;

use super::cell::{Claim, Trust};
use super::history::{History, StateChange, Via};
use super::wakers::{FirstWaker, MoreWakers, Seat};
use crate::{JobId, JobResult, JobState, JobStatus};

/// How far a submission has come, and who wants to know: what a [`Cell`](super::Cell) keeps behind its lock.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) sending: Sending,
    /// An attempt to send it may have arrived, whatever is said of later ones.
    pub(super) perhaps_arrived: bool,
    pub(super) abandoned: bool,
    /// What told the end.
    pub(super) via: Via,
    /// How far the job has come, to tell a late event from news.
    pub(super) order: u32,
    /// Counts the signed events that came and were not the end: what they say is known, and nothing need be asked.
    pub(super) heard: u32,
    /// Counts the unsigned events: each is a reason to ask.
    pub(super) hints: u32,
    pub(super) job_id: Option<JobId>,
    pub(super) last: Option<JobState>,
    pub(super) finished: Option<JobResult>,
    pub(super) waker: FirstWaker,
    pub(super) rare: Option<Box<Rare>>,
}

/// What few submissions need.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// The job of an unverified event that came before the answer to the submission: believed only if that answer is lost.
    pub(super) rumour: Option<JobId>,
    /// `None` until somebody asks for the states.
    pub(super) history: Option<History>,
    pub(super) wakers: MoreWakers,
}

/// How far the submission has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// Not sent, or surely not arrived.
    #[default]
    Fresh,
    /// One of the waits is sending it.
    InFlight,
    /// It may have arrived, and no answer came.
    Lost,
    /// The daemon has accepted it.
    Accepted,
}

impl From<Sending> for Claim {
    fn from(sending: Sending) -> Self {
        match sending {
            Sending::Fresh => Self::Mine,
            Sending::InFlight => Self::Behind,
            Sending::Lost => Self::Lost,
            Sending::Accepted => Self::Accepted,
        }
    }
}

impl Progress {
    pub(super) fn new(job_id: Option<JobId>) -> Self {
        Self {
            sending: if job_id.is_some() { Sending::Accepted } else { Sending::Fresh },
            perhaps_arrived: false,
            abandoned: false,
            via: Via::Poll,
            order: 0,
            heard: 0,
            hints: 0,
            job_id,
            last: None,
            finished: None,
            waker: FirstWaker::default(),
            rare: None,
        }
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn history(&self) -> Option<&History> {
        self.rare.as_ref()?.history.as_ref()
    }

    pub(super) fn told_end(&self) -> Option<(JobResult, Via)> {
        self.finished.clone().map(|result| (result, self.via))
    }

    pub(super) fn register(&mut self, seat: &mut Seat, waker: &Waker) {
        if !self.waker.register(seat, waker) {
            self.rare().wakers.register(seat, waker);
        }
    }

    pub(super) fn leave(&mut self, seat: &mut Seat) {
        if !self.waker.leave(seat)
            && let Some(rare) = &mut self.rare
        {
            rare.wakers.leave(seat);
        }
    }

    pub(super) fn wakers(&self) -> Vec<Waker> {
        let more = self.rare.iter().flat_map(|rare| rare.wakers.all());
        self.waker.all().chain(more).cloned().collect()
    }

    /// What an event says of which job this is.
    pub(super) fn learn_job(&mut self, job_id: &JobId, trust: Trust) {
        if self.job_id.is_some() {
            return;
        }
        // Lost -> Accepted: the first event on the submission's own URL says which job it became.
        // InFlight, signed: the job is known before the answer; the answer will only say it again.
        // InFlight, unsigned: kept, and believed only if the answer is lost.
        match (self.sending, trust) {
            (Sending::Lost, _) => {
                self.job_id = Some(job_id.clone());
                self.sending = Sending::Accepted;
            }
            (_, Trust::Signed) => self.job_id = Some(job_id.clone()),
            (_, Trust::Token) => {
                self.rare().rumour.get_or_insert_with(|| job_id.clone());
            }
        }
    }

    /// Notes a state that is news; says whether it was.
    pub(super) fn record(&mut self, status: &JobStatus, via: Via) -> bool {
        if self.finished.is_some() || self.last.as_ref() == Some(&status.state) {
            return false;
        }
        let order = order(status);
        if order != 0 && order < self.order {
            return false;
        }
        self.order = order.max(self.order);
        (self.last, self.via) = (Some(status.state.clone()), via);
        if let Some(history) = self.rare.as_mut().and_then(|rare| rare.history.as_mut()) {
            history.push(StateChange::of(status, via));
        }
        true
    }
}

/// A number that grows as a job goes on: queued, running (attempt 1), queued again, running (attempt 2), …, the end. 0 where
/// the daemon does not tell enough to say.
fn order(status: &JobStatus) -> u32 {
    let attempt = u32::try_from(status.attempt).unwrap_or(u32::MAX);
    match status.state {
        JobState::Queued => attempt.saturating_mul(2).saturating_add(1),
        JobState::Running => attempt.saturating_mul(2),
        JobState::Done | JobState::Failed => u32::MAX,
        _ => 0,
    }
}
