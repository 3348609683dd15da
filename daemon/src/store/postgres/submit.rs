//! Submissions: those that arrive together are one transaction, so that they share its sync, and the lock of their token.

mod in_doubt;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::in_doubt::what_became_of;
use self::transaction::{Failure, LockTimeout, Outcome, add};
use super::store::Shared;
use crate::store::{NewJob, StoreError};

/// The largest group, in submissions. It bounds how long the first one waits.
const MAX_GROUP: usize = 256;

/// How long a group waits for the submitters of the one before it. Without it, those that submit one job after another fall into two
/// groups that take turns.
const LINGER: Duration = Duration::from_micros(150);

/// The largest group, in bytes of bodies. One submission may have more.
const MAX_GROUP_BYTES: usize = 32 << 20;

/// How many parts of groups may wait for locked tokens at once. Each takes a connection.
const MAX_LOCKED: usize = 3;

type Reply = oneshot::Sender<Result<Outcome, StoreError>>;

/// A submission that waits for its group.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) new: NewJob,
    pub(super) reply: Reply,
}

/// Commits submissions in groups, for ever.
pub(super) async fn commit(shared: &Shared, mut pending: mpsc::UnboundedReceiver<Pending>) {
    let (mut group, mut last) = (Vec::new(), 1);
    // The groups that have failed. They do not delay the next ones.
    let (mut failed, locked) = (JoinSet::new(), Arc::new(Semaphore::new(MAX_LOCKED)));
    while pending.recv_many(&mut group, MAX_GROUP).await > 0 {
        linger(&mut pending, &mut group, last).await;
        last = group.len();
        while !group.is_empty() {
            let mut bytes = 0;
            let fits = |pending: &&Pending| {
                bytes += pending.new.body.len();
                bytes <= MAX_GROUP_BYTES
            };
            let size = group.iter().take_while(fits).count().max(1);
            let group = Group::new(group.drain(..size));
            let all = (0..group.jobs.len()).collect();
            match add(shared, &group.jobs, all, LockTimeout::Short).await {
                Ok(outcomes) => group.reply(shared, Ok(outcomes)),
                Err(failure) => drop(failed.spawn(settle(Arc::clone(shared), Arc::clone(&locked), group, failure))),
            }
            while failed.try_join_next().is_some() {}
        }
    }
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

/// Submissions in one transaction.
struct Group {
    jobs: Arc<[NewJob]>,
    replies: Vec<Reply>,
}

impl Group {
    fn new(pending: impl Iterator<Item = Pending>) -> Self {
        let (jobs, replies): (Vec<_>, Vec<_>) = pending.map(|pending| (pending.new, pending.reply)).unzip();
        Self { jobs: jobs.into(), replies }
    }

    fn reply(self, shared: &Shared, outcomes: Result<Vec<Outcome>, StoreError>) {
        reply(shared, self.replies, outcomes);
    }
}

fn reply(shared: &Shared, replies: Vec<Reply>, mut outcomes: Result<Vec<Outcome>, StoreError>) {
    if outcomes.is_ok() {
        shared.feed.notify_one();
    }
    for reply in replies.into_iter().rev() {
        let outcome = match &mut outcomes {
            Ok(outcomes) => outcomes.pop().ok_or_else(StoreError::closed),
            Err(error) => Err(error.clone()),
        };
        // The receiver may have been dropped.
        let _ = reply.send(outcome);
    }
}

/// A group has failed. Where that is the fault of one submission or one token, the others are added without it.
async fn settle(shared: Shared, locked: Arc<Semaphore>, group: Group, failure: Failure) {
    let parts = match what_became_of(&shared, failure).await {
        Err(error) if error.is_refused_value() => (0..group.jobs.len()).map(|index| vec![index]).collect(),
        Err(error) if error.is_locked() => by_token(&group.jobs),
        settled => return group.reply(&shared, settled),
    };
    let mut replies: Vec<_> = group.replies.into_iter().map(Some).collect();
    let parts = parts.into_iter().map(|part: Vec<usize>| {
        let replies = part.iter().filter_map(|index| replies[*index].take()).collect();
        let (shared, jobs, locked) = (&shared, &group.jobs, &locked);
        async move {
            // It is never closed.
            let _permit = locked.acquire().await;
            let outcomes = match add(shared, jobs, part, LockTimeout::OfSession).await {
                Ok(outcomes) => Ok(outcomes),
                Err(failure) => what_became_of(shared, failure).await,
            };
            reply(shared, replies, outcomes);
        }
    });
    join_all(parts).await;
}

fn by_token(jobs: &[NewJob]) -> Vec<Vec<usize>> {
    let mut tokens = BTreeMap::<_, Vec<usize>>::new();
    for (index, new) in jobs.iter().enumerate() {
        tokens.entry(new.owner.as_bytes()).or_default().push(index);
    }
    tokens.into_values().collect()
}
