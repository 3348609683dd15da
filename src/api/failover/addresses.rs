use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health::{Failure, Health};
use super::queue::Queue;
use crate::api::BaseUrl;

/// In this time a request that only reads tries all addresses: the timeout of a request unless set otherwise.
const READS: Duration = Duration::from_secs(30);

/// The addresses of one queue, and which of them is in use.
///
/// The address in use changes only when it has failed and another one has responded, so that requests do not alternate between two boxes.
pub(crate) struct Addresses {
    bases: Box<[BaseUrl]>,
    locked: Mutex<Locked>,
    pub(super) queue: Queue,
}

struct Locked {
    in_use: usize,
    health: Box<[Health]>,
    /// Cancelled when another address is in use, unless the one before only refuses requests.
    left: CancellationToken,
}

impl Addresses {
    /// Two spellings of one address count once.
    pub(crate) fn new(first: BaseUrl, others: impl IntoIterator<Item = BaseUrl>) -> Self {
        let mut bases = vec![first];
        for base in others {
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        let health = bases.iter().map(|_| Health::default()).collect();
        let locked = Locked { in_use: 0, health, left: CancellationToken::new() };
        Self { bases: bases.into(), locked: Mutex::new(locked), queue: Queue::default() }
    }

    pub(crate) fn bases(&self) -> &[BaseUrl] {
        &self.bases
    }

    /// How long a request that only reads waits for the response of one address before it goes to the next one.
    pub(super) fn part(&self) -> Duration {
        READS / u32::try_from(self.bases.len()).unwrap_or(u32::MAX)
    }

    /// The URL at this address, of a request that was made for the first one.
    pub(super) fn url(&self, index: usize, url: &Uri) -> Result<Uri, http::Error> {
        let (first, base) = (&self.bases[0], &self.bases[index]);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        base.endpoint(path.strip_prefix(first.path()).unwrap_or(path).to_owned().into())
    }

    /// The address for the next attempt of a request: the one in use, unless it has failed, else the next one in their order. One that is in a
    /// pause gets only the first attempt of a request, and only if all are.
    pub(super) fn next(&self, tried: &[usize]) -> Option<usize> {
        let (now, locked, count) = (Instant::now(), self.locked(), self.bases.len());
        let pause = |index: usize| locked.health[index].paused_until.filter(|until| *until > now);
        let order = |index: &usize| {
            let distance = (index + count - locked.in_use) % count;
            (pause(*index), locked.health[*index].failures > 0, distance)
        };
        let untried = (0..count).filter(|index| !tried.contains(index));
        untried.filter(|index| tried.is_empty() || pause(*index).is_none()).min_by_key(order)
    }

    pub(super) fn is_in_use(&self, index: usize) -> bool {
        self.locked().in_use == index
    }

    /// Whether the address has failed since it last responded.
    pub(super) fn has_failed(&self, index: usize) -> bool {
        self.locked().health[index].failures > 0
    }

    /// Cancelled when another address than the present one is in use.
    pub(super) fn left(&self) -> CancellationToken {
        self.locked().left.clone()
    }

    /// The daemon at this address has responded.
    pub(super) fn responded(&self, index: usize) {
        let mut locked = self.locked();
        locked.health[index].responded();
        let before = locked.in_use;
        if index == before || locked.health[before].failures == 0 {
            return;
        }
        locked.in_use = index;
        let failure = locked.health[before].last_failure.clone();
        let left = std::mem::take(&mut locked.left);
        drop(locked);
        let (from, to) = (&self.bases[before], &self.bases[index]);
        let reason = failure.as_ref().map(tracing::field::display);
        tracing::warn!(%from, %to, reason, "an address of the daemon has failed; using another one");
        // A daemon that refuses a submission may still have an event stream.
        if failure != Some(Failure::Refused) {
            left.cancel();
        }
    }

    /// Something has responded at this address.
    pub(super) fn heard(&self, index: usize) {
        self.locked().health[index].heard();
    }

    /// An attempt that began at this time has failed.
    pub(super) fn failed(&self, index: usize, began: Instant, failure: Failure) {
        let mut locked = self.locked();
        let health = &mut locked.health[index];
        let stranger = match &failure {
            Failure::Stranger(reason) if health.last_failure.as_ref() != Some(&failure) => Some(reason.clone()),
            _ => None,
        };
        health.failed(began, failure);
        drop(locked);
        if let Some(reason) = stranger {
            tracing::warn!(reason, "an address is not used");
        }
    }

    /// The caller of an attempt that began at this time has given up. A response was due after `due`.
    pub(super) fn unanswered(&self, index: usize, began: Instant, due: Duration) {
        let health = &mut self.locked().health[index];
        if health.unanswered(began, due) {
            health.failed(began, Failure::Silent);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("bases", &self.bases).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::PAUSES;
    use super::*;

    fn fail(addresses: &Addresses, index: usize, began: Instant) {
        addresses.failed(index, began, Failure::Silent);
    }

    fn addresses(bases: &[&str]) -> Addresses {
        let mut bases = bases.iter().map(|base| base.parse().unwrap());
        Addresses::new(bases.next().unwrap(), bases)
    }

    #[tokio::test(start_paused = true)]
    async fn address_in_use_changes_only_when_it_has_failed_and_another_responds() {
        let addresses = addresses(&["http://a", "http://b", "http://c"]);
        addresses.responded(1);
        assert_eq!(addresses.next(&[]), Some(0), "a late response of another one");
        fail(&addresses, 0, Instant::now());
        tokio::time::advance(PAUSES.1).await;
        assert_eq!(addresses.next(&[]), Some(1), "one that has not failed, also after the pause");
        addresses.responded(2);
        addresses.responded(0);
        assert_eq!(addresses.next(&[]), Some(2), "the first one is not used again by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn failed_addresses_get_the_first_attempt_only_after_all_others_and_further_ones_after_their_pause() {
        let addresses = addresses(&["http://a", "http://b", "http://c"]);
        fail(&addresses, 0, Instant::now());
        assert_eq!((addresses.next(&[1]), addresses.next(&[1, 2])), (Some(2), None));
        tokio::time::advance(PAUSES.0).await;
        assert_eq!(addresses.next(&[1, 2]), Some(0));
        fail(&addresses, 1, Instant::now());
        fail(&addresses, 2, Instant::now());
        fail(&addresses, 0, Instant::now());
        assert_eq!((addresses.next(&[]), addresses.next(&[1])), (Some(1), None), "the first pause to end");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_attempts_that_fail_together_count_once() {
        let addresses = addresses(&["http://a", "http://b"]);
        fail(&addresses, 1, Instant::now());
        let mut pause = PAUSES.0;
        for _ in 0..8 {
            let began = Instant::now();
            tokio::time::advance(pause.saturating_sub(Duration::from_millis(1))).await;
            assert_eq!(addresses.next(&[0]), None, "{pause:?}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(addresses.next(&[0]), Some(1), "{pause:?}");
            fail(&addresses, 1, Instant::now());
            fail(&addresses, 1, began);
            pause = (pause * 2).min(PAUSES.1);
        }
        addresses.responded(1);
        fail(&addresses, 1, Instant::now());
        tokio::time::advance(PAUSES.0).await;
        assert_eq!(addresses.next(&[0]), Some(1), "the first pause again");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_have_the_first_pause_and_leave_the_event_stream() {
        let addresses = addresses(&["http://a", "http://b"]);
        let left = addresses.left();
        for _ in 0..5 {
            addresses.failed(0, Instant::now(), Failure::Refused);
            assert_eq!(addresses.next(&[1]), None);
            tokio::time::advance(PAUSES.0).await;
            assert_eq!(addresses.next(&[1]), Some(0));
        }
        addresses.responded(1);
        assert!(addresses.is_in_use(1) && !left.is_cancelled());
        let left = addresses.left();
        fail(&addresses, 1, Instant::now());
        assert!(!left.is_cancelled(), "nothing else responds");
        addresses.responded(0);
        assert!(left.is_cancelled() && !addresses.left().is_cancelled());
    }

    #[test]
    fn url_has_the_path_of_its_address() {
        let addresses = addresses(&["http://a/one", "https://b", "http://c:81/two/", "http://A:80/one/"]);
        assert_eq!(addresses.bases().len(), 3);
        let url = "http://a/one/jobs?limit=1".parse().unwrap();
        for (index, expected) in ["http://a/one/jobs?limit=1", "https://b/jobs?limit=1", "http://c:81/two/jobs?limit=1"]
            .into_iter()
            .enumerate()
        {
            assert_eq!(addresses.url(index, &url).unwrap(), expected);
        }
    }
}
