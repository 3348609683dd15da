use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Submission;
use crate::owner::Owner;

/// How many submissions may wait for one token.
const MAX_BACKLOG: usize = 256;

/// The submissions to tokens whose rows another session has locked. They delay no submission to another token.
#[derive(Debug, Default)]
pub(super) struct LockedTokens {
    state: Mutex<State>,
    /// There is a token that was found locked.
    found: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// None is empty.
    backlogs: HashMap<Owner, VecDeque<Submission>>,
    /// The tokens, in the order in which they are waited for. May have some that are not locked any more.
    order: VecDeque<Owner>,
}

impl LockedTokens {
    pub(super) fn is_empty(&self) -> bool {
        self.state().backlogs.is_empty()
    }

    /// Takes the submissions whose tokens are locked out of a group, and returns those for which there is no place.
    pub(super) fn leave(&self, group: &mut Vec<Submission>) -> Vec<Submission> {
        let (mut state, mut refused) = (self.state(), Vec::new());
        if state.backlogs.is_empty() {
            return refused;
        }
        for submission in std::mem::take(group) {
            match state.backlogs.get_mut(&submission.new.owner) {
                None => group.push(submission),
                Some(backlog) if backlog.len() < MAX_BACKLOG => backlog.push_back(submission),
                Some(_) => refused.push(submission),
            }
        }
        refused
    }

    /// Submissions whose tokens were locked. They come before those that have come since.
    pub(super) fn add(&self, part: Vec<Submission>) {
        let mut state = self.state();
        let State { backlogs, order } = &mut *state;
        for submission in part.into_iter().rev() {
            let owner = submission.new.owner;
            match backlogs.entry(owner) {
                Entry::Occupied(mut backlog) => backlog.get_mut().push_front(submission),
                Entry::Vacant(backlog) => {
                    backlog.insert(VecDeque::from([submission]));
                    // One that was only busy is free soon; those before it may not be.
                    order.retain(|other| *other != owner);
                    order.push_front(owner);
                }
            }
        }
        drop(state);
        self.found.notify_one();
    }

    /// Waits until a token is locked.
    pub(super) async fn wait(&self) {
        while self.is_empty() {
            self.found.notified().await;
        }
    }

    /// Takes the submissions that have waited for too long.
    pub(super) fn expired(&self, now: Instant) -> Vec<Submission> {
        let (mut state, mut expired) = (self.state(), Vec::new());
        state.backlogs.retain(|_, backlog| {
            let waited = std::mem::take(backlog);
            let (late, rest): (VecDeque<_>, _) = waited.into_iter().partition(|submission| submission.until <= now);
            expired.extend(late);
            *backlog = rest;
            !backlog.is_empty()
        });
        expired
    }

    pub(super) fn tokens(&self) -> Vec<Owner> {
        self.state().backlogs.keys().copied().collect()
    }

    /// The token that is to be waited for now. It is the last one then.
    pub(super) fn next(&self) -> Option<Owner> {
        let mut state = self.state();
        while let Some(owner) = state.order.pop_front() {
            if state.backlogs.contains_key(&owner) {
                state.order.push_back(owner);
                return Some(owner);
            }
        }
        None
    }

    /// These tokens are not locked any more. Returns the submissions that wait for them.
    pub(super) fn free(&self, owners: &[Owner]) -> Vec<Submission> {
        let mut state = self.state();
        owners.iter().filter_map(|owner| state.backlogs.remove(owner)).flatten().collect()
    }

    /// No method panics while it has the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::store::NewJob;

    fn submission(token: u8, until: Instant) -> Submission {
        let new = NewJob { owner: Owner::from_bytes([token; 16]), ..NewJob::of_test("{}") };
        Submission { new: Arc::new(new), reply: oneshot::channel().0, until }
    }

    fn tokens(submissions: &[Submission]) -> Vec<u8> {
        submissions.iter().map(|submission| submission.new.owner.as_bytes()[0]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn submissions_leave_when_their_time_is_over() {
        let (locked, now) = (LockedTokens::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        locked.add(vec![submission(1, now), submission(1, later), submission(2, now)]);
        assert!(locked.expired(now - Duration::from_nanos(1)).is_empty());
        let mut expired = tokens(&locked.expired(now));
        expired.sort_unstable();
        assert_eq!(expired, [1, 2]);
        assert_eq!(locked.tokens(), [Owner::from_bytes([1; 16])]);
        assert_eq!(tokens(&locked.expired(later)), [1]);
        assert!(locked.is_empty() && locked.next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_waited_for_in_turn_and_the_last_one_first() {
        let (locked, until) = (LockedTokens::default(), Instant::now());
        locked.add(vec![submission(1, until)]);
        locked.add(vec![submission(2, until)]);
        let next = || locked.next().map(|owner| owner.as_bytes()[0]);
        assert_eq!([next(), next(), next()], [Some(2), Some(1), Some(2)]);
        locked.add(vec![submission(3, until)]);
        assert_eq!([next(), next()], [Some(3), Some(1)]);
        assert_eq!(tokens(&locked.free(&[Owner::from_bytes([2; 16])])), [2]);
        assert_eq!([next(), next(), next()], [Some(3), Some(1), Some(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn backlog_of_a_token_is_in_order_and_bounded() {
        let (locked, now) = (LockedTokens::default(), Instant::now());
        let numbered = |number: usize| submission(1, now + Duration::from_secs(u64::try_from(number).unwrap()));
        locked.add(vec![numbered(0), numbered(1)]);
        let mut group: Vec<_> = (2..=MAX_BACKLOG).map(numbered).collect();
        group.push(submission(2, now));
        assert_eq!(locked.leave(&mut group).len(), 1);
        assert_eq!(tokens(&group), [2]);
        let waited = locked.free(&[Owner::from_bytes([1; 16])]);
        assert_eq!(waited.len(), MAX_BACKLOG);
        assert!(waited.is_sorted_by_key(|submission| submission.until));
    }
}
