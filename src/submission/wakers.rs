use std::task::Waker;

/// Those who want to be woken when a cell changes. Nearly always one, so a vector of one.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Option<Waker>>);

/// A place among the wakers, taken at the first registration and given back with `leave`; the waker stays until then.
#[derive(Debug, Default)]
pub(crate) struct Seat(Option<usize>);

impl Wakers {
    pub(super) fn register(&mut self, seat: &mut Seat, waker: &Waker) {
        let at = *seat.0.get_or_insert_with(|| match self.0.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.0.reserve_exact(1);
                self.0.push(None);
                self.0.len() - 1
            }
        });
        match &mut self.0[at] {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    pub(super) fn leave(&mut self, seat: &mut Seat) {
        if let Some(at) = seat.0.take() {
            self.0[at] = None;
        }
    }

    /// All of them, to be woken once the lock is released: a waker may run anything.
    pub(super) fn all(&self) -> Vec<Waker> {
        self.0.iter().flatten().cloned().collect()
    }
}
