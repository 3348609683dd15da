use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::in_doubt::what_became_of;
use super::locked_tokens::LockedTokens;
use super::repetition::Repetitions;
use super::tokens::{Lock, free_tokens};
use super::transaction::{Failure, add};
use super::{Outcome, Submission, split};
use crate::failure::failure as describe;
use crate::owner::Owner;
use crate::store::postgres::store::Shared;
use crate::store::{NewJob, StoreError};

/// How long groups pass over locked tokens after one has waited in vain. So tokens that are locked for long cost others little of the time,
/// however many there are.
const PAUSE: Duration = Duration::from_secs(1);

/// Adds submissions, and replies to them.
#[derive(Debug)]
pub(super) struct Submissions {
    shared: Shared,
    locked: LockedTokens,
    repetitions: Repetitions,
    /// Until when locked tokens are passed over.
    impatient: Mutex<Option<Instant>>,
}

impl Submissions {
    pub(super) fn new(shared: &Shared) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            locked: LockedTokens::default(),
            repetitions: Repetitions::new(),
            impatient: Mutex::default(),
        })
    }

    fn impatient(&self) -> MutexGuard<'_, Option<Instant>> {
        self.impatient.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the submissions out of a group whose tokens are locked.
    pub(super) fn leave_locked(&self, group: &mut Vec<Submission>) {
        refuse(self.locked.leave(group), &StoreError::token_locked());
    }

    /// Adds the submissions of one transaction. Those that it cannot add wait for their tokens, or are left to one of these tasks.
    pub(super) async fn add(self: &Arc<Self>, part: Vec<Submission>, tasks: &mut JoinSet<()>) {
        let lock = match *self.impatient() {
            Some(until) if Instant::now() < until => Lock::Skip,
            _ if self.locked.is_empty() => Lock::Wait,
            _ => Lock::WaitBriefly,
        };
        if self.add_with(lock, part, tasks).await && lock != Lock::Skip {
            *self.impatient() = Some(Instant::now() + PAUSE);
        }
    }

    /// Returns whether a token is locked.
    async fn add_with(self: &Arc<Self>, lock: Lock, part: Vec<Submission>, tasks: &mut JoinSet<()>) -> bool {
        match add(&self.shared, jobs(&part), lock).await {
            Ok(outcomes) => self.conclude(part, outcomes, tasks),
            Err(failure) => {
                tasks.spawn(Arc::clone(self).settle(part, failure));
                false
            }
        }
    }

    /// Returns whether a token is locked.
    fn conclude(self: &Arc<Self>, part: Vec<Submission>, outcomes: Vec<Outcome>, tasks: &mut JoinSet<()>) -> bool {
        self.shared.feed.notify_one();
        let mut locked = Vec::new();
        for (submission, outcome) in part.into_iter().zip(outcomes) {
            match outcome {
                None => locked.push(submission),
                Some(Ok(submitted)) if submitted.replayed && Repetitions::moves(&submission.new) => {
                    let own = Arc::clone(self);
                    tasks.spawn(async move {
                        let Submission { new, until, .. } = &submission;
                        let applied = own.repetitions.apply(&own.shared, new, &submitted.job_id, *until).await;
                        submission.reply(applied.map(|()| Ok(submitted)));
                    });
                }
                Some(decision) => submission.reply(Ok(decision)),
            }
        }
        let is_locked = !locked.is_empty();
        if is_locked {
            self.locked.add(locked);
        }
        is_locked
    }

    /// A transaction has failed. Where that is the fault of one submission, the others are added without it.
    async fn settle(self: Arc<Self>, part: Vec<Submission>, failure: Failure) {
        let mut tasks = JoinSet::new();
        let mut failed = vec![(part, failure)];
        while let Some((mut part, failure)) = failed.pop() {
            match what_became_of(&self.shared, failure).await {
                Ok(outcomes) => drop(self.conclude(part, outcomes, &mut tasks)),
                Err(error) if error.is_refused_value() && part.len() > 1 => {
                    let half = part.split_off(part.len() / 2);
                    for part in [part, half] {
                        match add(&self.shared, jobs(&part), Lock::Skip).await {
                            Ok(outcomes) => drop(self.conclude(part, outcomes, &mut tasks)),
                            Err(failure) => failed.push((part, failure)),
                        }
                    }
                }
                // Not that of a token, for example that of the table.
                Err(error) if error.is_locked() => self.locked.add(part),
                Err(error) => refuse(part, &error),
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Adds the submissions whose tokens were locked when these are free, for ever.
    ///
    /// One look finds all tokens that are free. If none is, this waits for one token and holds no other lock. A token that other daemons
    /// lock all the time is got only by a wait.
    pub(super) async fn add_locked(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        loop {
            self.locked.wait().await;
            refuse(self.locked.expired(Instant::now()), &StoreError::token_locked());
            let (mut lock, mut free) = (Lock::Skip, self.free(self.locked.tokens(), Lock::Skip).await);
            if free.is_empty()
                && let Some(next) = self.locked.next()
            {
                (lock, free) = (Lock::Wait, self.free(vec![next], Lock::Wait).await);
            }
            let mut rest = self.locked.free(&free);
            while !rest.is_empty() {
                let part = split(&mut rest);
                self.add_with(lock, part, &mut tasks).await;
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    /// Which of these tokens are free. All of them are if the database does not say, so that their submissions fail as others do.
    async fn free(&self, tokens: Vec<Owner>, lock: Lock) -> Vec<Owner> {
        free_tokens(&self.shared, tokens.clone(), lock).await.unwrap_or_else(|error| {
            tracing::debug!(error = %describe(&error), "cannot find out which tokens are locked");
            tokens
        })
    }
}

fn jobs(part: &[Submission]) -> Vec<Arc<NewJob>> {
    part.iter().map(|submission| Arc::clone(&submission.new)).collect()
}

fn refuse(submissions: Vec<Submission>, error: &StoreError) {
    for submission in submissions {
        submission.reply(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::postgres::tests::support::{Schema, submit};

    #[tokio::test(flavor = "multi_thread")]
    async fn submission_that_has_waited_for_its_token_for_too_long_is_refused() {
        let Some(schema) = Schema::new() else { return };
        let daemon = schema.open().await;
        submit(&daemon, "go").await;
        let _lock = schema.lock(Owner::ANONYMOUS).await;
        let (submissions, mut tasks) = (Submissions::new(&daemon.shared), JoinSet::new());
        let (reply, refused) = oneshot::channel();
        let new = Arc::new(NewJob::of_test(r#"{"model":"m"}"#));
        submissions.add(vec![Submission { new, reply, until: Instant::now() }], &mut tasks).await;
        tasks.spawn(submissions.add_locked());
        assert_eq!(refused.await.unwrap().unwrap_err().to_string(), "queue of the token locked in the database");
    }
}
