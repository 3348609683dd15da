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

#[cfg(test)]
mod tests;

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
