//! A wait that the steps of a program share, and wakers that come back to it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

use foreman_client::{Error, JobResult};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::model::{Subject, World};
use super::program::WakerPlan;

pub(super) struct Wait {
    world: Arc<Mutex<World>>,
    subject: Subject,
    /// The service was ready when it was to be called.
    in_time: bool,
    future: Mutex<Option<Held>>,
    ended: AtomicBool,
    leaked: AtomicBool,
    pub(super) neglected: AtomicBool,
    /// A task polls it.
    driven: AtomicBool,
    /// The waker of that task. A poll by another waker replaces it in the wait.
    driver: Mutex<Option<Waker>>,
    /// When it was first polled after its deadline.
    late: Mutex<Option<Instant>>,
}

/// The wait counts as alive until it is dropped.
struct Held {
    future: BoxFuture<'static, Result<JobResult, Error>>,
    _alive: Arc<()>,
}

impl Wait {
    pub(super) fn new(
        world: &Arc<Mutex<World>>,
        subject: Subject,
        future: BoxFuture<'static, Result<JobResult, Error>>,
        alive: Arc<()>,
        in_time: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            subject,
            in_time,
            future: Mutex::new(Some(Held { future, _alive: alive })),
            ended: AtomicBool::new(false),
            leaked: AtomicBool::new(false),
            neglected: AtomicBool::new(false),
            driven: AtomicBool::new(false),
            driver: Mutex::new(None),
            late: Mutex::new(None),
        })
    }

    /// Polls it, unless it is being polled by a caller of this.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(mut held) = self.future.try_lock() else { return Poll::Pending };
        let Some(wait) = held.as_mut().filter(|_| !self.ended.load(Relaxed)) else { return Poll::Ready(()) };
        let polled = wait.future.poll_unpin(cx);
        let mut world = self.world.lock().unwrap();
        match polled {
            Poll::Ready(result) => {
                world.ended(&self.subject, &result);
                self.ended.store(true, Relaxed);
                drop(world);
                if !self.in_time {
                    // What called the wait has dropped it.
                    *held = None;
                }
                Poll::Ready(())
            }
            Poll::Pending => {
                if self.in_time {
                    world.check_late(&self.subject, &mut self.late.lock().unwrap());
                }
                Poll::Pending
            }
        }
    }

    /// Polls it once. Its task, if it has one, polls it afterwards, since its waker is not registered any more.
    pub(super) fn poll_once(&self, waker: &Waker) {
        let _ = self.poll(&mut Context::from_waker(waker));
        self.wake_driver();
    }

    fn wake_driver(&self) {
        let driver = self.driver.lock().unwrap().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Polls it to the end, unless another task does.
    pub(super) async fn drive(self: Arc<Self>) {
        if self.driven.swap(true, Relaxed) {
            return;
        }
        let driven = Driven(&self);
        poll_fn(|cx| {
            *driven.0.driver.lock().unwrap() = Some(cx.waker().clone());
            driven.0.poll(cx)
        })
        .await;
    }

    /// The same, without a pause between its polls.
    pub(super) async fn drive_steadily(self: Arc<Self>) {
        let late = self.world.lock().unwrap().is_past_deadline(&self.subject);
        Arc::clone(&self).drive().await;
        if self.in_time && !late && self.ended.load(Relaxed) {
            self.world.lock().unwrap().check_deadline(&self.subject);
        }
    }

    pub(super) fn discard(&self) {
        let Ok(Some(held)) = self.future.try_lock().map(|mut held| held.take()) else { return };
        let in_flight = || match &self.subject {
            Subject::Request(key) => self.world.lock().unwrap().in_flight(key),
            Subject::Job(..) => 0,
        };
        let before = in_flight();
        drop(held);
        self.wake_driver();
        if in_flight() < before {
            self.world.lock().unwrap().counts.dropped_while_sending += 1;
        }
    }

    /// Whether it is a wait of that request and has not ended. It may be leaked.
    pub(super) fn is_waiting_for(&self, key: &str) -> bool {
        let of_request = matches!(&self.subject, Subject::Request(own) if own == key);
        of_request && !self.ended.load(Relaxed) && (self.leaked.load(Relaxed) || self.future.lock().unwrap().is_some())
    }

    pub(super) fn leak(&self) {
        let held = self.future.lock().unwrap().take();
        let Some(held) = held else { return };
        let mut world = self.world.lock().unwrap();
        world.counts.leaked_waits += 1;
        if let Subject::Request(key) = &self.subject {
            world.callers.get_mut(key).unwrap().leaked = true;
        }
        drop(world);
        self.leaked.store(true, Relaxed);
        std::mem::forget(held);
        self.wake_driver();
    }
}

/// The task may stop polling before the end.
struct Driven<'a>(&'a Wait);

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        *self.0.driver.lock().unwrap() = None;
        self.0.driven.store(false, Relaxed);
    }
}

/// Polls or drops a wait when it is woken, in whatever the client is doing at that moment.
struct Reentrant {
    wait: Weak<Wait>,
    drops: bool,
}

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        let Some(wait) = self.wait.upgrade() else { return };
        if self.drops {
            wait.world.lock().unwrap().counts.reentrant_drops += 1;
            wait.discard();
        } else {
            wait.world.lock().unwrap().counts.reentrant_polls += 1;
            wait.poll_once(&Waker::from(self));
        }
    }
}

/// The waker of a plan, which means one of `waits`.
pub(super) fn waker(plan: WakerPlan, waits: &[Arc<Wait>]) -> Waker {
    let (wait, drops) = match plan {
        WakerPlan::Nothing => return Waker::noop().clone(),
        WakerPlan::Polls { wait } => (wait, false),
        WakerPlan::Drops { wait } => (wait, true),
    };
    let wait = Arc::downgrade(&waits[wait % waits.len()]);
    Arc::new(Reentrant { wait, drops }).into()
}
