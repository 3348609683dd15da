use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::channel::Channel;
use super::event::{Key, data, job, number};
use super::reader::Reader;
use crate::JobStatus;
use crate::owner::Owner;
use crate::stats::Counter;

/// How long a channel is kept that nobody reads, so that a client that was cut off can continue.
const KEPT: Duration = Duration::from_secs(120);

/// How often unused channels are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// The size of all events that are kept, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// How many channels there may be.
const MAX_CHANNELS: usize = 4096;

/// The channels by owner and name. A change of a job is an event only if somebody reads it, or has just done so.
///
/// The stores publish each change after its transaction, in the order of the transactions.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Differs for each process: a position means nothing to another one.
    pub(super) boot: Box<str>,
    max_readers: usize,
    locked: Mutex<Locked>,
    /// How many channels there are.
    channels: AtomicUsize,
    /// Events sent.
    pub(crate) events: Counter,
    /// Resets sent.
    pub(crate) resets: Counter,
}

#[derive(Debug)]
pub(super) struct Locked {
    channels: HashMap<Key, Channel>,
    /// The events of all channels, oldest first. Those of a channel that is gone stay until they are the oldest.
    order: VecDeque<(u64, Key)>,
    bytes: usize,
    /// The number of the last event.
    last: u64,
    readers: usize,
    swept: Instant,
    /// Cancelled while the store's changes are not heard.
    suspended: CancellationToken,
}

impl Streams {
    /// With up to `max_readers` at a time.
    pub(crate) fn new(max_readers: usize) -> Arc<Self> {
        let locked = Locked {
            channels: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            last: 0,
            readers: 0,
            swept: Instant::now(),
            suspended: CancellationToken::new(),
        };
        Arc::new(Self {
            boot: Uuid::new_v4().simple().to_string().into(),
            max_readers,
            locked: Mutex::new(locked),
            channels: AtomicUsize::new(0),
            events: Counter::default(),
            resets: Counter::default(),
        })
    }

    /// Whether no event would be read.
    pub(crate) fn are_unused(&self) -> bool {
        self.channels.load(Ordering::Acquire) == 0
    }

    /// How many streams are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.locked().readers
    }

    /// Opens a stream of all jobs of the owner, or of those with this stream name, after the event with this id. `None` if there are too
    /// many.
    pub(crate) fn open(self: &Arc<Self>, owner: Owner, name: Option<&str>, last_id: Option<&str>) -> Option<Reader> {
        let (key, now) = (Key { owner, name: name.map(Arc::from) }, Instant::now());
        let mut locked = self.locked();
        let new = !locked.channels.contains_key(&key);
        if locked.is_to_be_swept(now) || (new && locked.channels.len() >= MAX_CHANNELS) {
            locked.sweep(now);
        }
        let new = !locked.channels.contains_key(&key);
        if new && locked.channels.len() >= MAX_CHANNELS {
            locked.evict();
        }
        // One token does not keep all others out.
        let share = self.max_readers - self.max_readers / 4;
        if locked.readers >= self.max_readers
            || locked.readers_of(owner) >= share
            || (new && locked.channels.len() >= MAX_CHANNELS)
        {
            self.channels.store(locked.channels.len(), Ordering::Release);
            return None;
        }
        if new {
            // So that nobody continues in it from a position of a channel before it.
            locked.last += 1;
        }
        let last = locked.last;
        let channel = locked.channels.entry(key.clone()).or_insert_with(|| Channel::new(last, now));
        let changed = channel.enter();
        // One that has been dropped since is lost, as the reader finds out.
        let position = last_id.map(|id| number(&self.boot, id).filter(|number| *number <= last));
        locked.readers += 1;
        let suspended = locked.suspended.clone();
        self.channels.store(locked.channels.len(), Ordering::Release);
        drop(locked);
        Some(Reader::new(Arc::clone(self), key, changed, suspended, position, last))
    }

    /// The store's changes are not heard: ends all streams, and those that are opened before [`resume`](Self::resume). Clients that have
    /// other daemons of the queue continue there.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn suspend(&self) {
        self.locked().suspended.cancel();
    }

    /// The store's changes are heard again, with those that were missed.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn resume(&self) {
        let mut locked = self.locked();
        if locked.suspended.is_cancelled() {
            locked.suspended = CancellationToken::new();
        }
    }

    /// Whether the store's changes are not heard.
    pub(crate) fn are_suspended(&self) -> bool {
        self.locked().suspended.is_cancelled()
    }

    /// Whether an event of a job of the owner with this stream name would be kept.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn are_read(&self, owner: Owner, name: Option<&str>) -> bool {
        !self.are_unused() && !self.locked().keys(owner, name).is_empty()
    }

    /// A transaction has changed a job to this state.
    pub(crate) fn publish(&self, owner: Owner, name: Option<&str>, status: &JobStatus) {
        if self.are_unused() {
            return;
        }
        let now = Instant::now();
        let mut locked = self.locked();
        if locked.is_to_be_swept(now) {
            locked.sweep(now);
            self.channels.store(locked.channels.len(), Ordering::Release);
        }
        if locked.keys(owner, name).is_empty() {
            return;
        }
        // Without the lock, since a result may be large.
        drop(locked);
        let Some(data) = data(status) else { return };
        let mut locked = self.locked();
        locked.last += 1;
        let event = job(&self.boot, locked.last, &data);
        for key in locked.keys(owner, name) {
            locked.push(key, event.clone());
        }
    }

    /// Reads a channel. It exists as long as it has a reader.
    pub(super) fn read<R>(&self, key: &Key, read: impl FnOnce(&Channel, u64) -> R) -> Option<R> {
        let locked = self.locked();
        locked.channels.get(key).map(|channel| read(channel, locked.last))
    }

    pub(super) fn leave(&self, key: &Key) {
        let mut locked = self.locked();
        locked.readers -= 1;
        if let Some(channel) = locked.channels.get_mut(key) {
            channel.leave(Instant::now());
        }
    }

    fn locked(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locked {
    /// The channels of a job.
    fn keys(&self, owner: Owner, name: Option<&str>) -> Vec<Key> {
        let named = name.map(|name| Key { owner, name: Some(name.into()) });
        let keys = [Some(Key { owner, name: None }), named].into_iter().flatten();
        keys.filter_map(|key| Some(self.channels.get_key_value(&key)?.0.clone())).collect()
    }

    fn push(&mut self, key: Key, event: Bytes) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        self.bytes += event.len();
        channel.push(self.last, event);
        self.order.push_back((self.last, key));
        self.limit();
    }

    /// Drops the oldest events until the rest is within the limit.
    fn limit(&mut self) {
        while let Some((number, key)) = self.order.front() {
            let is_kept = self.channels.get(key).is_some_and(|channel| channel.has(*number));
            if self.bytes <= MAX_BYTES && is_kept {
                return;
            }
            if let Some(size) = self.channels.get_mut(key).and_then(|channel| channel.drop_oldest(*number)) {
                self.bytes -= size;
            }
            self.order.pop_front();
        }
    }

    /// Removes the channel that nobody has read for the longest time.
    fn evict(&mut self) {
        let unused = self.channels.iter().filter_map(|(key, channel)| Some((channel.unused_since()?, key)));
        if let Some(key) = unused.min_by_key(|(since, _)| *since).map(|(_, key)| key.clone())
            && let Some(channel) = self.channels.remove(&key)
        {
            self.bytes -= channel.size();
        }
    }

    /// How many streams the owner has open.
    fn readers_of(&self, owner: Owner) -> usize {
        self.channels.iter().filter(|(key, _)| key.owner == owner).map(|(_, channel)| channel.readers()).sum()
    }

    fn is_to_be_swept(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.swept) >= SWEEP
    }

    /// Removes the channels that nobody has read for a while.
    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        let bytes = &mut self.bytes;
        self.channels.retain(|_, channel| {
            let kept = channel.unused_since().is_none_or(|since| now.saturating_duration_since(since) < KEPT);
            if !kept {
                *bytes -= channel.size();
            }
            kept
        });
        let kept: usize = self.channels.values().map(Channel::len).sum();
        if self.order.len() > 2 * kept + 1024 {
            let channels = &self.channels;
            self.order.retain(|(number, key)| channels.get(key).is_some_and(|channel| channel.has(*number)));
        }
        self.limit();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use tokio_test::assert_pending;

    use super::*;
    use crate::{JobId, JobState};

    fn status(job: usize, length: usize) -> JobStatus {
        let mut status = JobStatus::new(JobId::new(job.to_string()).unwrap(), JobState::Done);
        status.result = Some(RawValue::from_string(format!("\"{}\"", "x".repeat(length))).unwrap());
        status
    }

    async fn next(reader: &mut Reader) -> String {
        let part = reader.next(&CancellationToken::new()).await.unwrap();
        String::from_utf8(part.to_vec()).unwrap()
    }

    async fn is_idle(reader: &mut Reader) -> bool {
        tokio_test::task::spawn(reader.next(&CancellationToken::new())).poll().is_pending()
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reader_holds_a_bounded_size_and_is_reset() {
        let streams = Streams::new(9);
        let mut slow = streams.open(Owner::ANONYMOUS, None, None).unwrap();
        assert!(next(&mut slow).await.starts_with("id: "));
        let events = MAX_BYTES / 32_000 + 10;
        for job in 0..events {
            streams.publish(Owner::ANONYMOUS, Some("a"), &status(job, 32_000));
        }
        {
            let locked = streams.locked();
            assert!(locked.bytes <= MAX_BYTES && locked.bytes > MAX_BYTES - 33_000, "{}", locked.bytes);
            let kept: usize = locked.channels.values().map(Channel::size).sum();
            assert_eq!((kept, locked.order.len() < events), (locked.bytes, true));
        }
        assert!(next(&mut slow).await.contains(&format!("-{}\nevent: reset\n", events + 1)));
        assert!(is_idle(&mut slow).await);
        streams.publish(Owner::ANONYMOUS, None, &status(7, 1));
        assert!(next(&mut slow).await.contains("event: job\n"));
        assert_eq!((streams.events.get(), streams.resets.get()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeat_comes_after_15_s_of_silence() {
        let streams = Streams::new(9);
        let mut reader = streams.open(Owner::ANONYMOUS, Some("a"), None).unwrap();
        next(&mut reader).await;
        let start = Instant::now();
        for beat in 1..=3 {
            assert_eq!(next(&mut reader).await, ":\n\n");
            assert_eq!(start.elapsed().as_secs(), beat * 15);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unused_channel_is_kept_for_2_min() {
        let streams = Streams::new(9);
        let open = |last_id: Option<&str>| streams.open(Owner::ANONYMOUS, Some("a"), last_id).unwrap();
        assert!(streams.are_unused());
        let mut reader = open(None);
        let position = next(&mut reader).await.trim().strip_prefix("id: ").unwrap().to_owned();
        tokio::time::advance(KEPT * 3).await;
        streams.publish(Owner::ANONYMOUS, Some("a"), &status(1, 1));
        assert!(next(&mut reader).await.contains("event: job\n"));
        drop(reader);
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        let mut reader = open(Some(&position));
        assert_eq!(next(&mut reader).await, format!("id: {position}\n\n"));
        assert!(next(&mut reader).await.contains("event: job\n"));
        drop(reader);
        tokio::time::advance(KEPT).await;
        streams.publish(Owner::ANONYMOUS, Some("a"), &status(2, 1));
        assert!(streams.are_unused());
        {
            let locked = streams.locked();
            assert_eq!((locked.bytes, locked.order.len()), (0, 0));
        }
        // Also for the second one that comes back.
        for _ in 0..2 {
            assert!(next(&mut open(Some(&position))).await.contains("event: reset\n"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn channels_and_readers_are_limited() {
        let streams = Streams::new(1);
        let reader = streams.open(Owner::ANONYMOUS, None, None).unwrap();
        assert!(streams.open(Owner::ANONYMOUS, None, None).is_none());
        drop(reader);
        for channel in 1..MAX_CHANNELS {
            assert!(streams.open(Owner::ANONYMOUS, Some(&channel.to_string()), None).is_some());
        }
        // The one that was unused for the longest time makes room.
        assert!(streams.open(Owner::ANONYMOUS, Some("x"), None).is_some());
        assert_eq!(streams.locked().channels.len(), MAX_CHANNELS);
        let streams = Streams::new(8);
        let own: Vec<_> = std::iter::from_fn(|| streams.open(Owner::ANONYMOUS, None, None)).collect();
        assert_eq!(own.len(), 6);
        assert!(streams.open(Owner::from_token(b"another"), None, None).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn events_of_channels_that_are_gone_are_forgotten() {
        let streams = Streams::new(9);
        let mut idle = streams.open(Owner::ANONYMOUS, Some("idle"), None).unwrap();
        next(&mut idle).await;
        streams.publish(Owner::ANONYMOUS, Some("idle"), &status(0, 1));
        for round in 0..200 {
            let name = round.to_string();
            let _reader = streams.open(Owner::ANONYMOUS, Some(&name), None).unwrap();
            for job in 0..100 {
                streams.publish(Owner::ANONYMOUS, Some(&name), &status(job, 1));
            }
            tokio::time::advance(KEPT).await;
        }
        let entries = streams.locked().order.len();
        assert!(entries < 2_000, "{entries}");
    }

    #[tokio::test(start_paused = true)]
    async fn end_comes_after_the_last_event() {
        let (streams, ended) = (Streams::new(1), CancellationToken::new());
        let mut reader = streams.open(Owner::ANONYMOUS, None, None).unwrap();
        next(&mut reader).await;
        let mut waiting = tokio_test::task::spawn(reader.next(&ended));
        assert_pending!(waiting.poll());
        streams.publish(Owner::ANONYMOUS, None, &status(1, 1));
        ended.cancel();
        assert!(waiting.await.is_some());
        assert_eq!(reader.next(&ended).await, None);
    }
    #[tokio::test(start_paused = true)]
    async fn streams_end_while_changes_are_not_heard_and_continue_after_that() {
        let streams = Streams::new(9);
        let open = |last_id: Option<&str>| streams.open(Owner::ANONYMOUS, Some("a"), last_id).unwrap();
        let ended = CancellationToken::new();
        let mut reader = open(None);
        let position = next(&mut reader).await.trim().strip_prefix("id: ").unwrap().to_owned();
        let mut waiting = tokio_test::task::spawn(reader.next(&ended));
        assert_pending!(waiting.poll());
        streams.suspend();
        assert_eq!((waiting.await, streams.are_suspended()), (None, true));
        streams.publish(Owner::ANONYMOUS, Some("a"), &status(1, 1));
        streams.resume();
        assert!(!streams.are_suspended());
        let mut reader = open(Some(&position));
        assert_eq!(next(&mut reader).await, format!("id: {position}\n\n"));
        assert!(next(&mut reader).await.contains("event: job\n"));
        assert!(is_idle(&mut reader).await);
    }
}
