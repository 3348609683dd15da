use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::JobId;
use crate::store::Delivery;

/// The events that were put after the next event of their job and are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Reordered(Mutex<HashMap<JobId, Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    /// The id of the next event, if it has been delivered and its attempts go on for these.
    delivered: Option<Box<str>>,
}

/// An event and, after it, those that were put after it.
#[derive(Debug)]
pub(super) struct Queue {
    next: Delivery,
    is_delivered: bool,
    waiting: VecDeque<Delivery>,
}

impl Reordered {
    pub(super) fn push(&self, delivery: Delivery) {
        self.lock().entry(delivery.job_id.clone()).or_default().deliveries.push_back(delivery);
    }

    /// Takes the events that wait for this one.
    pub(super) fn take(&self, next: Delivery) -> Queue {
        let waiting = self.lock().remove(&next.job_id).unwrap_or_default();
        let is_delivered = waiting.delivered.as_deref() == Some(&*next.event_id);
        Queue { next, is_delivered, waiting: waiting.deliveries }
    }

    /// Keeps the events that were not delivered for the next attempt.
    pub(super) fn put_back(&self, queue: Queue) {
        let Queue { next, is_delivered, waiting: deliveries } = queue;
        if !deliveries.is_empty() {
            let delivered = is_delivered.then_some(next.event_id);
            self.lock().insert(next.job_id, Waiting { deliveries, delivered });
        }
    }

    /// Ignores poisoning: no change can panic halfway.
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    pub(super) fn front(&self) -> Option<&Delivery> {
        if self.is_delivered { self.waiting.front() } else { Some(&self.next) }
    }

    pub(super) fn pop_front(&mut self) {
        if self.is_delivered {
            self.waiting.pop_front();
        } else {
            self.is_delivered = true;
        }
    }
}
