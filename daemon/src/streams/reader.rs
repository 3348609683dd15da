use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::Next;
use super::event::{HEARTBEAT, Key, position, reset};
use super::registry::Streams;

/// The longest silence of a stream.
const SILENCE: Duration = Duration::from_secs(15);

/// One open event stream. It holds no events: it reads them from its channel when the connection takes more bytes.
#[derive(Debug)]
pub(crate) struct Reader {
    streams: Arc<Streams>,
    key: Key,
    changed: watch::Receiver<()>,
    /// Cancelled when the store's changes are not heard.
    suspended: CancellationToken,
    /// After the last event that was read.
    position: u64,
    begin: Option<Begin>,
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// With its position.
    Position,
    /// With a reset: it cannot continue where the client was.
    Reset,
}

impl Reader {
    /// `after`: the position of a client that was connected before, if it is known. `last`: the present position.
    pub(super) fn new(
        streams: Arc<Streams>,
        key: Key,
        changed: watch::Receiver<()>,
        suspended: CancellationToken,
        after: Option<Option<u64>>,
        last: u64,
    ) -> Self {
        let (position, begin) = match after {
            None => (last, Begin::Position),
            Some(Some(position)) => (position, Begin::Position),
            Some(None) => (last, Begin::Reset),
        };
        Self { streams, key, changed, suspended, position, begin: Some(begin) }
    }

    /// The next part of the stream. `None` once `ended` is cancelled, or the store's changes are not heard, and all events have been read.
    pub(crate) async fn next(&mut self, ended: &CancellationToken) -> Option<Bytes> {
        // Before the last look for events, so that none that came before the end is left out.
        let mut last_look = ended.is_cancelled() || self.suspended.is_cancelled();
        loop {
            self.changed.mark_unchanged();
            if let Some(part) = self.read() {
                return Some(part);
            }
            if last_look {
                return None;
            }
            let changed = timeout(SILENCE, self.changed.changed());
            tokio::select! {
                biased;
                changed = changed => match changed {
                    Ok(Ok(())) => {}
                    // The channel exists as long as its readers.
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(HEARTBEAT),
                },
                () = ended.cancelled() => last_look = true,
                () = self.suspended.cancelled() => last_look = true,
            }
        }
    }

    fn read(&mut self) -> Option<Bytes> {
        let boot = &self.streams.boot;
        let (next, last) = self.streams.read(&self.key, |channel, last| (channel.after(self.position), last))?;
        let begin = self.begin.take();
        match next {
            // The events that are missed follow.
            Next::Event(..) | Next::Nothing if begin == Some(Begin::Position) => Some(position(boot, self.position)),
            Next::Event(number, event) if begin.is_none() => {
                self.position = number;
                self.streams.events.add();
                Some(event)
            }
            Next::Nothing if begin.is_none() => None,
            // From the present position, since a reader that was too slow would be so again.
            Next::Event(..) | Next::Nothing | Next::Lost => {
                self.position = last;
                self.streams.resets.add();
                Some(reset(boot, last))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.streams.leave(&self.key);
    }
}
