use std::future::Future;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::parser::{Item, Parser};
use super::{EventStream, JobEvent, SILENCE, TICK, UNSUPPORTED, UNUSED};
use crate::api::{EventStreamBody, NoEventStream, OpenEventStream};
use crate::{Error, JobStatus};

/// How long the head of the response may take.
const OPEN: Duration = Duration::from_secs(30);

/// The first and the longest pause before the stream is opened again. In between each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The longest pause that a daemon may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A connection that was open for so long was a good one: the pauses start again from the first.
const GOOD: Duration = Duration::from_secs(10);

/// Keeps the stream open until nobody needs it, or until it is closed.
pub(super) fn run(stream: &Arc<EventStream>, number: u64) -> impl Future<Output = ()> + Send + 'static {
    let closed = stream.closed.clone();
    let task = Task {
        stream: Arc::downgrade(stream),
        number,
        name: stream.name.clone(),
        source: Arc::clone(&stream.source),
        last_id: None,
        failures: 0,
        distrusts: false,
    };
    async move {
        closed.run_until_cancelled(task.run()).await;
    }
}

struct Task {
    /// Upgraded between two awaits only, so that the last user of the stream ends it.
    stream: Weak<EventStream>,
    number: u64,
    name: Box<str>,
    source: Arc<dyn OpenEventStream>,
    /// To continue after this event.
    last_id: Option<String>,
    failures: u32,
    /// The last connection was silent. A proxy may hold back what comes after the first bytes.
    distrusts: bool,
}

impl Task {
    async fn run(mut self) {
        while let ControlFlow::Continue(asked) = self.connect().await {
            let pause = self.pause(asked);
            match self.stream() {
                Some(stream) if !stream.is_unused() => stream.promise(Instant::now() + pause),
                _ => return,
            }
            sleep(pause).await;
        }
    }

    /// The stream, unless another task has replaced this one.
    fn stream(&self) -> Option<Arc<EventStream>> {
        self.stream.upgrade().filter(|stream| stream.locked().task == Some(self.number))
    }

    /// Opens the stream and reads it to its end. Continues with the pause that the daemon asks for.
    async fn connect(&mut self) -> ControlFlow<(), Option<Duration>> {
        let Some(stream) = self.stream() else { return ControlFlow::Break(()) };
        stream.promise(Instant::now() + OPEN);
        drop(stream);
        let opened = timeout(OPEN, self.source.open(&self.name, self.last_id.as_deref())).await;
        let failed = |error: &Error| {
            tracing::debug!(error = error as &dyn std::error::Error, "event stream not opened; polling meanwhile");
        };
        match opened {
            Ok(Ok(body)) => self.read(body).await,
            Ok(Err(NoEventStream::Unsupported)) => {
                tracing::debug!("the daemon has no event stream; polling");
                if let Some(stream) = self.stream() {
                    stream.locked().unsupported_until = Some(Instant::now() + UNSUPPORTED);
                }
                ControlFlow::Break(())
            }
            Ok(Err(NoEventStream::Failed(error))) => {
                failed(&error);
                ControlFlow::Continue(error.asked_pause())
            }
            Err(_) => {
                failed(&Error::new(crate::error::Kind::RequestTimeout(Some(OPEN))));
                ControlFlow::Continue(None)
            }
        }
    }

    async fn read(&mut self, mut body: EventStreamBody) -> ControlFlow<(), Option<Duration>> {
        let (opened, continues) = (Instant::now(), self.last_id.is_some());
        let (mut parser, mut connected) = (Parser::new(self.last_id.take()), false);
        let (mut heard, mut silent) = (opened, false);
        let reason = loop {
            match self.stream() {
                Some(stream) if !stream.is_unused() => stream.promise(Instant::now() + TICK),
                _ => return ControlFlow::Break(()),
            }
            let frame = match timeout(TICK, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => break error.to_string(),
                Ok(None) => break "the daemon has closed it".to_owned(),
                Err(_) if heard.elapsed() < SILENCE => continue,
                Err(_) => {
                    // Each job is polled once: what should have come may have been held back.
                    (parser, silent) = (Parser::new(None), true);
                    break "it is silent".to_owned();
                }
            };
            heard = Instant::now();
            // After a silent connection, the first bytes show nothing.
            let trusted = !self.distrusts || opened.elapsed() >= GOOD;
            let Some(stream) = self.stream() else { return ControlFlow::Break(()) };
            let Ok(data) = frame.into_data() else { continue };
            let invalid = stream.pass_on(&mut parser, &data, |stream| {
                if trusted && !std::mem::replace(&mut connected, true) {
                    stream.connected(continues);
                }
            });
            if let Err(error) = invalid {
                // It would come again after the last event.
                parser = Parser::new(None);
                connected = false;
                break format!("an event is not a job: {error}");
            }
        };
        if let Some(stream) = self.stream() {
            stream.disconnected();
        }
        tracing::debug!(reason, "event stream ended; polling until it is open again");
        self.last_id = parser.into_last_id();
        if !silent && connected && opened.elapsed() >= GOOD {
            self.failures = 0;
        }
        self.distrusts = silent || (self.distrusts && !connected);
        ControlFlow::Continue(None)
    }

    /// The pause before the stream is opened again, varied so that clients that a restart has cut off do not come back together.
    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let (first, longest) = PAUSES;
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        pause.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

/// The task may end with its runtime.
impl Drop for Task {
    fn drop(&mut self) {
        let Some(stream) = self.stream() else { return };
        stream.locked().task = None;
        stream.disconnected();
    }
}

impl EventStream {
    /// Passes on the events in the next part of the stream. `started` is called once the stream has begun.
    ///
    /// # Errors
    ///
    /// If the data of an event is not a job.
    fn pass_on(
        &self,
        parser: &mut Parser,
        data: &Bytes,
        mut started: impl FnMut(&Self),
    ) -> Result<(), serde_json::Error> {
        let mut bytes = &data[..];
        loop {
            let item = parser.read(&mut bytes);
            if parser.has_started() {
                started(self);
            }
            match item {
                None => return Ok(()),
                Some(Item::Job(json)) => self.event(JobEvent::parse(&json)?, json.len()),
                Some(Item::Reset | Item::TooLarge) => self.begin_period(),
            }
        }
    }

    /// Whether no wait needs the stream.
    fn is_unused(&self) -> bool {
        let (now, mut locked) = (Instant::now(), self.locked());
        let dropped = locked.early.expire(now);
        self.dropped.fetch_add(dropped, Relaxed);
        locked.subscribers.is_empty() && now.saturating_duration_since(locked.used) >= UNUSED
    }
}

impl JobEvent {
    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Size {
            truncated: Option<bool>,
        }
        let status: JobStatus = serde_json::from_slice(json)?;
        let complete = !status.state.is_terminal() || status.result.is_some();
        let truncated = !complete && serde_json::from_slice::<Size>(json)?.truncated.unwrap_or_default();
        Ok(Self { status, truncated })
    }
}
