use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

use super::queue::Queue;
use crate::api::BaseUrl;

/// The first and the longest pause of an address that has failed. In between each is twice the one before. It has no jitter, because it
/// only orders the addresses: a request is never delayed by it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

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
}

/// The failures of an address since its last response.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    failures: u32,
    failed_at: Option<Instant>,
    paused_until: Option<Instant>,
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
        let health = vec![Health::default(); bases.len()].into();
        Self { bases: bases.into(), locked: Mutex::new(Locked { in_use: 0, health }), queue: Queue::default() }
    }

    pub(crate) fn bases(&self) -> &[BaseUrl] {
        &self.bases
    }

    /// How long a request that only reads waits for the response of one address before it goes to the next one.
    pub(super) fn part_of(&self, request_timeout: Duration) -> Duration {
        request_timeout / u32::try_from(self.bases.len()).unwrap_or(u32::MAX)
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

    /// The address has responded.
    pub(super) fn responded(&self, index: usize) {
        let mut locked = self.locked();
        locked.health[index] = Health::default();
        let before = locked.in_use;
        if index == before || locked.health[before].failures == 0 {
            return;
        }
        locked.in_use = index;
        drop(locked);
        let (from, to) = (&self.bases[before], &self.bases[index]);
        tracing::warn!(%from, %to, "the daemon does not respond; using another address");
    }

    /// An attempt that began at this time has failed. Attempts that were in flight together count as one failure.
    pub(super) fn failed(&self, index: usize, began: Instant) {
        let (first, longest) = PAUSES;
        let health = &mut self.locked().health[index];
        if health.failed_at.is_some_and(|failed_at| began < failed_at) {
            return;
        }
        let now = Instant::now();
        let pause = first.saturating_mul(1 << health.failures.min(16)).min(longest);
        *health = Health {
            failures: health.failures.saturating_add(1),
            failed_at: Some(now),
            paused_until: Some(now + pause),
        };
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
    use super::*;

    fn addresses(bases: &[&str]) -> Addresses {
        let mut bases = bases.iter().map(|base| base.parse().unwrap());
        Addresses::new(bases.next().unwrap(), bases)
    }

    #[tokio::test(start_paused = true)]
    async fn address_in_use_changes_only_when_it_has_failed_and_another_responds() {
        let addresses = addresses(&["http://a", "http://b", "http://c"]);
        addresses.responded(1);
        assert_eq!(addresses.next(&[]), Some(0), "a late response of another one");
        addresses.failed(0, Instant::now());
        tokio::time::advance(PAUSES.1).await;
        assert_eq!(addresses.next(&[]), Some(1), "one that has not failed, also after the pause");
        addresses.responded(2);
        addresses.responded(0);
        assert_eq!(addresses.next(&[]), Some(2), "the first one is not used again by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn failed_addresses_get_the_first_attempt_only_after_all_others_and_further_ones_after_their_pause() {
        let addresses = addresses(&["http://a", "http://b", "http://c"]);
        addresses.failed(0, Instant::now());
        assert_eq!((addresses.next(&[1]), addresses.next(&[1, 2])), (Some(2), None));
        tokio::time::advance(PAUSES.0).await;
        assert_eq!(addresses.next(&[1, 2]), Some(0));
        addresses.failed(1, Instant::now());
        addresses.failed(2, Instant::now());
        addresses.failed(0, Instant::now());
        assert_eq!((addresses.next(&[]), addresses.next(&[1])), (Some(1), None), "the first pause to end");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_attempts_that_fail_together_count_once() {
        let addresses = addresses(&["http://a", "http://b"]);
        addresses.failed(1, Instant::now());
        let mut pause = PAUSES.0;
        for _ in 0..8 {
            let began = Instant::now();
            tokio::time::advance(pause.saturating_sub(Duration::from_millis(1))).await;
            assert_eq!(addresses.next(&[0]), None, "{pause:?}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(addresses.next(&[0]), Some(1), "{pause:?}");
            addresses.failed(1, Instant::now());
            addresses.failed(1, began);
            pause = (pause * 2).min(PAUSES.1);
        }
        addresses.responded(1);
        addresses.failed(1, Instant::now());
        tokio::time::advance(PAUSES.0).await;
        assert_eq!(addresses.next(&[0]), Some(1), "the first pause again");
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
