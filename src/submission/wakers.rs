use std::task::Waker;

/// The one who wants to be woken when a cell changes; nearly always there is one.
#[derive(Debug, Default)]
pub(super) struct FirstWaker(Option<Waker>);

/// The others.
#[derive(Debug, Default)]
pub(super) struct MoreWakers(Vec<Option<Waker>>);

/// A place among the wakers, taken at the first registration and given back with `leave`; the waker stays until then.
#[derive(Debug, Default)]
pub(crate) struct Seat(Place);

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    #[default]
    None,
    First,
    More(u32),
}

impl FirstWaker {
    /// Registers, unless the place is another's.
    pub(super) fn register(&mut self, seat: &mut Seat, waker: &Waker) -> bool {
        match (seat.0, &mut self.0) {
            (Place::More(_), _) | (Place::None, Some(_)) => return false,
            (_, Some(known)) => known.clone_from(waker),
            (_, empty) => *empty = Some(waker.clone()),
        }
        seat.0 = Place::First;
        true
    }

    /// Gives the place back, if it is this one.
    pub(super) fn leave(&mut self, seat: &mut Seat) -> bool {
        let mine = matches!(seat.0, Place::First);
        if mine {
            (self.0, seat.0) = (None, Place::None);
        }
        mine
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Waker> {
        self.0.iter()
    }
}

impl MoreWakers {
    pub(super) fn register(&mut self, seat: &mut Seat, waker: &Waker) {
        if let Place::More(at) = seat.0
            && let Some(place) = self.0.get_mut(at as usize)
        {
            *place = Some(waker.clone());
            return;
        }
        let at = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[at] = Some(waker.clone());
        seat.0 = u32::try_from(at).map_or(Place::None, Place::More);
    }

    pub(super) fn leave(&mut self, seat: &mut Seat) {
        if let Place::More(at) = std::mem::take(&mut seat.0)
            && let Some(place) = self.0.get_mut(at as usize)
        {
            *place = None;
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Waker> {
        self.0.iter().flatten()
    }
}
