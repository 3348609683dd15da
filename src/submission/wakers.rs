use std::task::Waker;

use slab::Slab;

/// The wakers of the tasks that watch one submission: nearly always one, which needs no allocation.
///
/// A wake-up takes a waker and leaves one that does nothing in its place, since the slot belongs to its task until the task gives it
/// back, and the task registers again when it is polled.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    more: Option<Box<Slab<Waker>>>,
}

/// The place of one task among the [`Wakers`]: taken at the first registration, given back by [`Wakers::remove`].
///
/// 0: none. 1: the first. Above: a key of the others, plus 2.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(u32);

#[derive(Debug, Clone, Copy)]
enum Place {
    None,
    First,
    More(usize),
}

impl WakerSlot {
    fn place(&self) -> Place {
        match self.0 {
            0 => Place::None,
            1 => Place::First,
            more => Place::More(more as usize - 2),
        }
    }
}

impl Wakers {
    /// Whether registering this waker would change nothing.
    pub(crate) fn is_registered(&self, slot: &WakerSlot, waker: &Waker) -> bool {
        let registered = match slot.place() {
            Place::None => None,
            Place::First => self.first.as_ref(),
            Place::More(at) => self.more.as_ref().and_then(|more| more.get(at)),
        };
        registered.is_some_and(|registered| registered.will_wake(waker))
    }

    /// Registers a waker in the slot. Returns the one that was there before, for the caller to drop outside the lock.
    pub(crate) fn register(&mut self, slot: &mut WakerSlot, waker: Waker) -> Option<Waker> {
        match slot.place() {
            Place::First => self.first.replace(waker),
            Place::More(at) => {
                let registered = self.more.as_mut()?.get_mut(at)?;
                Some(std::mem::replace(registered, waker))
            }
            Place::None if self.first.is_none() => {
                slot.0 = 1;
                self.first.replace(waker)
            }
            Place::None => {
                let at = self.more.get_or_insert_default().insert(waker);
                slot.0 = u32::try_from(at + 2).unwrap_or(0);
                None
            }
        }
    }

    /// Gives the slot back. Returns its waker, for the caller to drop outside the lock.
    pub(crate) fn remove(&mut self, slot: &mut WakerSlot) -> Option<Waker> {
        match std::mem::take(slot).place() {
            Place::None => None,
            Place::First => self.first.take(),
            Place::More(at) => self.more.as_mut()?.try_remove(at),
        }
    }

    /// Takes all wakers, to be woken outside the lock.
    pub(crate) fn take(&mut self) -> Taken {
        let take = |waker: &mut Waker| std::mem::replace(waker, Waker::noop().clone());
        let more = self.more.as_mut().map(|more| more.iter_mut().map(|(_, waker)| take(waker)).collect());
        Taken { first: self.first.as_mut().map(take), more: more.unwrap_or_default() }
    }
}

/// The wakers of a change.
#[must_use]
pub(crate) struct Taken {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Taken {
    pub(crate) fn wake(self) {
        if let Some(first) = self.first {
            first.wake();
        }
        self.more.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    struct Tasks {
        wakers: Wakers,
        counts: [Arc<Count>; 4],
        slots: [WakerSlot; 4],
    }

    impl Tasks {
        fn register(&mut self, tasks: &[usize]) {
            for &task in tasks {
                let waker = Arc::clone(&self.counts[task]).into();
                if !self.wakers.is_registered(&self.slots[task], &waker) {
                    self.wakers.register(&mut self.slots[task], waker);
                }
            }
        }

        fn remove(&mut self, tasks: &[usize]) {
            for &task in tasks {
                self.wakers.remove(&mut self.slots[task]);
            }
        }

        fn woken(&mut self) -> [usize; 4] {
            self.wakers.take().wake();
            std::array::from_fn(|task| self.counts[task].0.swap(0, Relaxed))
        }
    }

    #[test]
    fn each_registered_task_is_woken_once() {
        let mut tasks = Tasks { wakers: Wakers::default(), counts: Default::default(), slots: Default::default() };
        tasks.register(&[0, 1, 2, 1, 0]);
        assert_eq!(tasks.woken(), [1, 1, 1, 0]);
        assert_eq!(tasks.woken(), [0, 0, 0, 0], "a task registers again when it is polled");

        // The slot of a task that was woken and is not polled yet stays its own.
        tasks.register(&[3, 1]);
        assert_eq!(tasks.woken(), [0, 1, 0, 1]);
        tasks.register(&[0, 2]);
        tasks.remove(&[0, 1, 1]);
        assert_eq!(tasks.woken(), [0, 0, 1, 0]);
        tasks.register(&[3, 0, 2]);
        assert_eq!(tasks.woken(), [1, 0, 1, 1]);
    }
}
