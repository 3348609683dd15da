use std::time::Duration;

/// An `Option<Duration>` in 8 bytes, for the fields that each waiting job has. Longer than 584 years is for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nanos(u64);

impl Nanos {
    pub(crate) const NONE: Self = Self(u64::MAX);

    pub(crate) fn get(self) -> Option<Duration> {
        (self != Self::NONE).then(|| Duration::from_nanos(self.0))
    }
}

impl From<Duration> for Nanos {
    fn from(time: Duration) -> Self {
        u64::try_from(time.as_nanos()).map_or(Self::NONE, Self)
    }
}

impl From<Option<Duration>> for Nanos {
    fn from(time: Option<Duration>) -> Self {
        time.map_or(Self::NONE, Self::from)
    }
}

impl Default for Nanos {
    fn default() -> Self {
        Self::NONE
    }
}

impl std::fmt::Debug for Nanos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}
