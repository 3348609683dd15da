//! Submissions: those that arrive together are one transaction, so that they share its sync, and the lock of their token.

mod group;
mod in_doubt;
mod insert;
mod locked_tokens;
mod repetition;
mod submissions;
mod tokens;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::submissions::Submissions;
use super::store::Shared;
use crate::store::{NewJob, StoreError, SubmitError, Submitted};

/// The largest group, in submissions. It bounds how long the first one waits.
const MAX_GROUP: usize = 256;

/// How long a group waits for the submitters of the one before it. Without it, those that submit one job after another fall into two
/// groups that take turns.
const LINGER: Duration = Duration::from_micros(150);

/// The largest group, in bytes of bodies. One submission may have more.
const MAX_GROUP_BYTES: usize = 32 << 20;

/// How long a submission waits for a lock that another session has: that of its token, or that of the job which it repeats.
const MAX_WAIT: Duration = Duration::from_secs(10);

type Decision = Result<Submitted, SubmitError>;

/// `None` if the token of the submission is locked.
type Outcome = Option<Decision>;

type Reply = oneshot::Sender<Result<Decision, StoreError>>;

/// A submission that waits for its group.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) new: Arc<NewJob>,
    pub(super) reply: Reply,
}

/// A submission of a group.
#[derive(Debug)]
struct Submission {
    new: Arc<NewJob>,
    reply: Reply,
    /// Until when it waits for a lock.
    until: Instant,
}

impl Submission {
    fn reply(self, reply: Result<Decision, StoreError>) {
        // The receiver may have been dropped.
        let _ = self.reply.send(reply);
    }
}

/// Commits submissions in groups, for ever.
pub(super) async fn commit(shared: &Shared, mut pending: mpsc::UnboundedReceiver<Pending>) {
    let (submissions, mut tasks) = (Submissions::new(shared), JoinSet::new());
    let locked = Arc::clone(&submissions).add_locked();
    tasks.spawn(shared.options.vital.clone().guard("submissions to locked tokens", locked));
    let (mut received, mut last) = (Vec::new(), 1);
    while pending.recv_many(&mut received, MAX_GROUP).await > 0 {
        linger(&mut pending, &mut received, last).await;
        last = received.len();
        let until = Instant::now() + MAX_WAIT;
        let submission = |Pending { new, reply }| Submission { new, reply, until };
        let mut group: Vec<_> = received.drain(..).map(submission).collect();
        submissions.leave_locked(&mut group);
        while !group.is_empty() {
            submissions.add(split(&mut group), &mut tasks).await;
            submissions.leave_locked(&mut group);
            while tasks.try_join_next().is_some() {}
        }
    }
}

/// Takes the submissions of one transaction.
fn split(group: &mut Vec<Submission>) -> Vec<Submission> {
    let mut bytes = 0;
    let fits = |submission: &&Submission| {
        bytes += submission.new.body.len();
        bytes <= MAX_GROUP_BYTES
    };
    let size = group.iter().take(MAX_GROUP).take_while(fits).count().max(1);
    group.drain(..size).collect()
}

/// Waits for the next submissions of those that were in the last group. One submitter alone does not wait.
///
/// It yields, since tokio's timers are not that short.
async fn linger(pending: &mut mpsc::UnboundedReceiver<Pending>, group: &mut Vec<Pending>, last: usize) {
    let until = Instant::now() + LINGER;
    let expected = (group.len() + last).min(MAX_GROUP);
    while last > 1 && group.len() < expected && Instant::now() < until {
        tokio::task::yield_now().await;
        while group.len() < MAX_GROUP
            && let Ok(next) = pending.try_recv()
        {
            group.push(next);
        }
    }
}
