//! Submissions: those that arrive together are one transaction, so that they share its sync, and the lock of their token.

mod in_doubt;
mod locked_tokens;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::in_doubt::what_became_of;
use self::locked_tokens::LockedTokens;
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

type Reply = oneshot::Sender<Result<Outcome, StoreError>>;

/// A submission that waits for its group.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) new: Arc<NewJob>,
    pub(super) reply: Reply,
}

/// Commits submissions in groups, for ever.
pub(super) async fn commit(shared: &Shared, mut pending: mpsc::UnboundedReceiver<Pending>) {
    let (mut group, mut last) = (Vec::new(), 1);
    // The groups that have failed. They do not delay the next ones.
    let (mut failed, locked) = (JoinSet::new(), Arc::new(LockedTokens::new()));
    while pending.recv_many(&mut group, MAX_GROUP).await > 0 {
        linger(&mut pending, &mut group, last).await;
        last = group.len();
        leave_locked(shared, &locked, &mut group);
        while !group.is_empty() {
            let mut bytes = 0;
            let fits = |pending: &&Pending| {
                bytes += pending.new.body.len();
                bytes <= MAX_GROUP_BYTES
            };
            let size = group.iter().take_while(fits).count().max(1);
            let part: Vec<_> = group.drain(..size).collect();
            match add(shared, jobs(&part), LockTimeout::Short).await {
                Ok(outcomes) => reply(shared, part, Ok(outcomes)),
                Err(failure) => drop(failed.spawn(settle(Arc::clone(shared), Arc::clone(&locked), part, failure))),
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

/// Takes the submissions out of a group that have to wait behind others of their tokens.
fn leave_locked(shared: &Shared, locked: &LockedTokens, group: &mut Vec<Pending>) {
    if group.iter().any(|pending| locked.contains(pending.new.owner)) {
        for pending in std::mem::take(group) {
            match locked.hold(pending) {
                Ok(()) => {}
                Err(pending) if locked.contains(pending.new.owner) => {
                    reply(shared, vec![pending], Err(StoreError::token_locked()));
                }
                Err(pending) => group.push(pending),
            }
        }
    }
}

fn jobs(part: &[Pending]) -> Vec<Arc<NewJob>> {
    part.iter().map(|pending| Arc::clone(&pending.new)).collect()
}

fn reply(shared: &Shared, part: Vec<Pending>, mut outcomes: Result<Vec<Outcome>, StoreError>) {
    if outcomes.is_ok() {
        shared.feed.notify_one();
    }
    for pending in part.into_iter().rev() {
        let outcome = match &mut outcomes {
            Ok(outcomes) => outcomes.pop().ok_or_else(StoreError::closed),
            Err(error) => Err(error.clone()),
        };
        // The receiver may have been dropped.
        let _ = pending.reply.send(outcome);
    }
}

/// A group has failed. Where that is the fault of one submission or one token, the others are added without it.
async fn settle(shared: Shared, locked: Arc<LockedTokens>, group: Vec<Pending>, failure: Failure) {
    let settled = what_became_of(&shared, failure).await;
    let (mut settled, mut waits) = (vec![(group, settled)], Vec::new());
    while let Some((mut part, outcomes)) = settled.pop() {
        let parts = match &outcomes {
            Err(error) if error.is_refused_value() && part.len() > 1 => {
                let half = part.split_off(part.len() / 2);
                vec![part, half]
            }
            Err(error) if error.is_locked() => by_token(part),
            _ => {
                reply(&shared, part, outcomes);
                continue;
            }
        };
        if outcomes.is_err_and(|error| error.is_locked()) && parts.len() == 1 {
            waits.extend(parts);
            continue;
        }
        for part in parts {
            let outcomes = added(&shared, &part, LockTimeout::Short).await;
            settled.push((part, outcomes));
        }
    }
    join_all(waits.into_iter().map(|part| wait_for_token(&shared, &locked, part))).await;
}

/// Waits for the lock of the token of these submissions, and adds them and those that have come meanwhile.
async fn wait_for_token(shared: &Shared, locked: &LockedTokens, part: Vec<Pending>) {
    let Some(owner) = part.first().map(|pending| pending.new.owner) else { return };
    let Some(mut part) = locked.begin(owner, part) else { return };
    while !part.is_empty() {
        let _permit = locked.permit().await;
        let outcomes = added(shared, &part, LockTimeout::OfSession).await;
        let outcomes = outcomes.map_err(|error| if error.is_locked() { StoreError::token_locked() } else { error });
        let error = outcomes.as_ref().err().cloned();
        reply(shared, part, outcomes);
        if let Some(error) = error {
            reply(shared, locked.give_up(owner), Err(error));
            return;
        }
        part = locked.next(owner);
    }
}

async fn added(shared: &Shared, part: &[Pending], lock_timeout: LockTimeout) -> Result<Vec<Outcome>, StoreError> {
    match add(shared, jobs(part), lock_timeout).await {
        Ok(outcomes) => Ok(outcomes),
        Err(failure) => what_became_of(shared, failure).await,
    }
}

fn by_token(group: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut tokens = HashMap::<_, Vec<_>>::new();
    for pending in group {
        tokens.entry(pending.new.owner).or_default().push(pending);
    }
    tokens.into_values().collect()
}
