//! What the stores have reported, which must hold.

use std::collections::{HashMap, HashSet};

use crate::store::{Cancelled, Submitted, Taken};
use crate::{JobId, JobState};

/// What a change returned, in the order in which the replies of changes that ran at once are applied.
pub(super) enum Reply {
    Settled(usize, JobId, bool),
    Submitted(usize, Submitted),
    Taken(usize, Taken),
    Restarted(JobId, u64, Option<Taken>),
    Finished(JobId, u64, bool),
    Cancelled(JobId, Cancelled),
    Claimed(usize, JobId, JobState),
    Failed,
    Nothing,
}

impl Reply {
    fn rank(&self) -> usize {
        match self {
            Self::Settled(..) => 0,
            Self::Submitted(..) | Self::Taken(..) | Self::Restarted(..) => 1,
            Self::Finished(..) | Self::Cancelled(_, Cancelled::Ended(_)) => 2,
            Self::Cancelled(..) | Self::Claimed(..) | Self::Failed | Self::Nothing => 3,
        }
    }
}

/// What follows from the replies.
#[derive(Default)]
pub(super) struct Reported {
    /// The jobs, by the numbers of their keys.
    pub(super) jobs: HashMap<usize, JobId>,
    /// The attempts of each job that were started, and at which daemon.
    pub(super) started: HashMap<(JobId, u64), usize>,
    /// How each job has ended, and by which attempt if by one.
    pub(super) ended: HashMap<JobId, (JobState, Option<u64>)>,
    /// The events that daemons have claimed, and whether no change has settled them that failed for its caller.
    pub(super) sending: HashMap<(usize, JobId), bool>,
    /// The states whose events were claimed.
    pub(super) claimed: HashMap<JobId, Vec<JobState>>,
    pub(super) failed: usize,
}

impl Reported {
    /// Applies the replies of changes that ran at once.
    pub(super) fn apply_all(&mut self, mut replies: Vec<Reply>) {
        let ended: HashSet<_> = self.ended.keys().cloned().collect();
        replies.sort_by_key(Reply::rank);
        for reply in replies {
            if let Reply::Taken(_, taken) | Reply::Restarted(_, _, Some(taken)) = &reply {
                assert!(!ended.contains(&taken.job_id), "{} runs after its end", taken.job_id);
            }
            self.apply(reply);
        }
    }

    fn apply(&mut self, reply: Reply) {
        match reply {
            Reply::Submitted(key, job) => {
                let known = self.jobs.entry(key).or_insert_with(|| job.job_id.clone());
                assert_eq!(*known, job.job_id, "key {key} has two jobs");
            }
            Reply::Taken(daemon, taken) => self.start(daemon, &taken),
            Reply::Restarted(job_id, attempt, Some(taken)) => {
                assert_eq!((&taken.job_id, taken.attempt), (&job_id, attempt + 1));
                self.start(self.started[&(job_id, attempt)], &taken);
            }
            Reply::Finished(job_id, attempt, true) => self.end(&job_id, JobState::Done, Some(attempt)),
            Reply::Cancelled(job_id, Cancelled::Ended(status)) => {
                assert_eq!(status.state, JobState::Failed);
                self.end(&job_id, JobState::Failed, None);
            }
            Reply::Cancelled(job_id, Cancelled::Terminal(state)) => {
                let ended = self.ended.entry(job_id).or_insert_with(|| (state.clone(), None));
                assert_eq!(ended.0, state);
            }
            Reply::Cancelled(job_id, Cancelled::Unknown) => panic!("{job_id} is lost"),
            Reply::Claimed(daemon, job_id, state) => {
                let sent = |(other, is_certain): (&(usize, JobId), &bool)| *is_certain && other.1 == job_id;
                assert!(!self.sending.iter().any(sent), "{job_id}: one event at a time");
                self.claimed.entry(job_id.clone()).or_default().push(state);
                self.sending.insert((daemon, job_id), true);
            }
            Reply::Settled(daemon, job_id, true) => {
                self.sending.remove(&(daemon, job_id));
            }
            // The daemon settles it again.
            Reply::Settled(daemon, job_id, false) => {
                self.sending.insert((daemon, job_id), false);
                self.failed += 1;
            }
            Reply::Failed => self.failed += 1,
            Reply::Restarted(_, _, None) | Reply::Finished(_, _, false) | Reply::Nothing => {}
        }
    }

    fn start(&mut self, daemon: usize, taken: &Taken) {
        let twice = self.started.insert((taken.job_id.clone(), taken.attempt), daemon);
        assert!(twice.is_none(), "attempt {} of {} was started twice", taken.attempt, taken.job_id);
    }

    fn end(&mut self, job_id: &JobId, state: JobState, attempt: Option<u64>) {
        let first = self.ended.insert(job_id.clone(), (state, attempt));
        assert!(first.is_none(), "{job_id} has two ends");
    }
}
