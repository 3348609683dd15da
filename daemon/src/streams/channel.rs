use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

/// The last events of the jobs of one owner, or of one stream name of it.
#[derive(Debug)]
pub(super) struct Channel {
    events: VecDeque<(u64, Bytes)>,
    /// All events after this one are in `events`.
    floor: u64,
    readers: usize,
    /// When the last reader was gone, or the channel was opened.
    unused_since: Instant,
    /// Wakes the readers.
    changed: watch::Sender<()>,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Event(u64, Bytes),
    /// Events after its position have been dropped.
    Lost,
    Nothing,
}

impl Channel {
    /// Of the events after `floor`.
    pub(super) fn new(floor: u64, now: Instant) -> Self {
        Self { events: VecDeque::new(), floor, readers: 0, unused_since: now, changed: watch::Sender::new(()) }
    }

    pub(super) fn push(&mut self, number: u64, event: Bytes) {
        self.events.push_back((number, event));
        self.changed.send_replace(());
    }

    /// Drops the oldest event, if it is this one. Returns its size.
    pub(super) fn drop_oldest(&mut self, number: u64) -> Option<usize> {
        self.events.front().filter(|(first, _)| *first == number)?;
        self.floor = number;
        self.events.pop_front().map(|(_, event)| event.len())
    }

    /// The first event after a position.
    pub(super) fn after(&self, position: u64) -> Next {
        if position < self.floor {
            return Next::Lost;
        }
        let at = self.events.partition_point(|(number, _)| *number <= position);
        self.events.get(at).map_or(Next::Nothing, |(number, event)| Next::Event(*number, event.clone()))
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.events.binary_search_by_key(&number, |(number, _)| *number).is_ok()
    }

    pub(super) fn enter(&mut self) -> watch::Receiver<()> {
        self.readers += 1;
        self.changed.subscribe()
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.readers -= 1;
        self.unused_since = now;
    }

    /// Since when nobody reads.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        (self.readers == 0).then_some(self.unused_since)
    }

    pub(super) fn readers(&self) -> usize {
        self.readers
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The size of all events.
    pub(super) fn size(&self) -> usize {
        self.events.iter().map(|(_, event)| event.len()).sum()
    }
}
