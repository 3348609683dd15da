use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::JobEvent;
use crate::JobId;

/// How many events are kept, and their size in bytes.
const MAX_EVENTS: usize = 4096;
const MAX_BYTES: usize = 8 << 20;

/// How long one is kept: longer than a response to a submission takes.
const KEPT: Duration = Duration::from_secs(60);

/// The last event of each job that nobody waits for. The response to its submission may be on its way.
#[derive(Debug, Default)]
pub(super) struct EarlyEvents {
    events: HashMap<JobId, Early>,
    /// In the order of the first event of each job. Entries of events that have been taken remain until they reach its front.
    order: VecDeque<(JobId, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Early {
    event: JobEvent,
    at: Instant,
    bytes: usize,
}

impl EarlyEvents {
    /// Keeps an event of so many bytes. Returns how many others were dropped.
    pub(super) fn keep(&mut self, event: JobEvent, bytes: usize, now: Instant) -> u16 {
        let job_id = event.status.job_id.clone();
        let (at, replaced) = match self.events.get(&job_id) {
            Some(earlier) => (earlier.at, earlier.bytes),
            None => {
                self.order.push_back((job_id.clone(), now));
                (now, 0)
            }
        };
        self.bytes = self.bytes - replaced + bytes;
        self.events.insert(job_id, Early { event, at, bytes });
        self.expire(now)
    }

    /// The last event of a job, once.
    pub(super) fn take(&mut self, job_id: &JobId) -> Option<JobEvent> {
        let early = self.events.remove(job_id)?;
        self.bytes -= early.bytes;
        Some(early.event)
    }

    /// Drops what is over the limits. Returns how many events were dropped.
    pub(super) fn expire(&mut self, now: Instant) -> u16 {
        let is_kept = |(job_id, at): &(JobId, Instant)| self.events.get(job_id).is_some_and(|early| early.at == *at);
        if self.order.len() > 2 * MAX_EVENTS {
            self.order.retain(is_kept);
        }
        let mut dropped = 0_u16;
        while let Some((job_id, at)) = self.order.front() {
            let taken = self.events.get(job_id).is_none_or(|early| early.at != *at);
            let over = self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES;
            if !taken && !over && now.saturating_duration_since(*at) < KEPT {
                break;
            }
            if !taken && let Some(early) = self.events.remove(job_id) {
                self.bytes -= early.bytes;
                dropped = dropped.wrapping_add(1);
            }
            self.order.pop_front();
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobStatus;

    fn event(id: usize, state: &str) -> JobEvent {
        let status = JobStatus::new(JobId::new(id.to_string()).unwrap(), state.into());
        JobEvent { status, truncated: false }
    }

    #[tokio::test(start_paused = true)]
    async fn last_event_is_kept_within_the_limits() {
        let (mut early, now) = (EarlyEvents::default(), Instant::now());
        let id = |id: usize| JobId::new(id.to_string()).unwrap();
        let state = |event: Option<JobEvent>| event.map(|event| event.status.state.as_str().to_owned());
        early.keep(event(1, "queued"), 10, now);
        early.keep(event(1, "running"), 20, now);
        assert_eq!(early.bytes, 20);
        assert_eq!(state(early.take(&id(1))).as_deref(), Some("running"));
        assert_eq!((state(early.take(&id(1))), early.bytes), (None, 0));

        // An event that was taken does not end the time of a later one of the same job.
        early.keep(event(1, "done"), 10, now + KEPT / 2);
        early.expire(now + KEPT);
        assert_eq!(state(early.take(&id(1))).as_deref(), Some("done"));

        let now = now + KEPT;
        for at in 0..MAX_EVENTS + 1 {
            early.keep(event(at, "queued"), 1, now);
        }
        assert_eq!((early.events.len(), early.order.len()), (MAX_EVENTS, MAX_EVENTS));
        assert!(early.take(&id(0)).is_none() && early.take(&id(MAX_EVENTS)).is_some());
        early.keep(event(7, "running"), MAX_BYTES, now);
        assert!(early.bytes <= MAX_BYTES);
        early.expire(now + KEPT);
        assert_eq!((early.events.len(), early.order.len(), early.bytes), (0, 0, 0));
    }
}
