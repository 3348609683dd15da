use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How often it is noted which transactions have begun.
const NOTE: Duration = Duration::from_secs(1);

/// The longest time from the start of a transaction of a daemon to its end, which the limits of its session ensure.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(60);

/// The number of a transaction, and that of a job that it has changed.
type Key = (i64, i64);

/// Which changes a feed has seen.
///
/// A transaction that began before another may commit after it, so that a position in the order of the transactions is not enough to find
/// all changes. The feed reads again all changes since the oldest transaction that was in progress, and leaves out those that it has seen.
#[derive(Debug)]
pub(super) struct Position {
    /// All changes of earlier transactions were seen.
    seen_before: i64,
    /// The changes since then that were seen.
    seen: HashSet<Key>,
    /// When which transactions had not begun yet.
    begun: VecDeque<(Instant, i64)>,
    /// The hash of the daemons that were read last.
    pub(super) boxes: Option<i64>,
}

impl Position {
    /// `since`: the oldest transaction in progress.
    pub(super) fn new(since: i64) -> Self {
        Self { seen_before: since, seen: HashSet::new(), begun: VecDeque::new(), boxes: None }
    }

    /// The first transaction whose changes are to be read.
    pub(super) fn since(&self) -> i64 {
        self.seen_before
    }

    pub(super) fn has_seen(&self, change: Key) -> bool {
        self.seen.contains(&change)
    }

    pub(super) fn see(&mut self, change: Key) {
        self.seen.insert(change);
    }

    /// All changes were seen that were committed when `oldest` was the oldest transaction in progress, and `next` the next one to begin.
    pub(super) fn advance(&mut self, oldest: i64, next: i64, now: Instant) {
        if self.begun.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= NOTE) {
            self.begun.push_back((now, next));
        }
        let mut before = oldest;
        // A long transaction of another program keeps `oldest` back.
        while let Some((at, begun)) = self.begun.front().copied()
            && now.saturating_duration_since(at) > LONGEST_TRANSACTION
        {
            before = before.max(begun);
            self.begun.pop_front();
        }
        // A database that was set back begins with lower numbers again.
        before = before.max(self.seen_before).min(next);
        self.seen.retain(|(changed, _)| *changed >= before);
        self.seen_before = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_again_while_an_older_transaction_is_in_progress() {
        let (mut position, now) = (Position::new(0), Instant::now());
        position.see((4, 1));
        position.see((7, 2));
        position.advance(5, 9, now);
        assert_eq!((position.since(), position.has_seen((4, 1)), position.has_seen((7, 2))), (5, false, true));
        position.advance(9, 9, now);
        assert_eq!((position.since(), position.seen.len()), (9, 0));
    }

    #[test]
    fn long_transaction_of_another_program_is_not_waited_for() {
        let (mut position, now) = (Position::new(0), Instant::now());
        position.advance(5, 9, now);
        position.advance(5, 30, now + LONGEST_TRANSACTION);
        assert_eq!(position.since(), 5);
        position.advance(5, 50, now + 2 * LONGEST_TRANSACTION);
        assert_eq!(position.since(), 9);
    }

    #[test]
    fn database_that_was_set_back_is_followed_from_where_it_is() {
        let (mut position, now) = (Position::new(500), Instant::now());
        position.advance(20, 20, now);
        assert_eq!(position.since(), 20);
    }
}
