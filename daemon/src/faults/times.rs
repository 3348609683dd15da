/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Times {
    /// So often from now on, and then no more; `Next(0)` takes back what was set before.
    Next(u64),
    /// Every time, until it is cleared.
    UntilCleared,
}

/// A fault that was asked for, if it was, and how often it is still to happen.
#[derive(Debug)]
pub(super) struct Armed<T>(Option<(T, Times)>);

impl<T> Default for Armed<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Armed<T> {
    /// In place of what was asked for before.
    pub(super) fn arm(&mut self, fault: T, times: Times) {
        self.0 = Some((fault, times));
    }

    /// Whether it is to happen now, which counts.
    pub(super) fn take(&mut self) -> Option<T> {
        let (fault, times) = self.0.as_mut()?;
        match times {
            Times::UntilCleared => Some(fault.clone()),
            Times::Next(left) => {
                *left = left.checked_sub(1)?;
                Some(fault.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_happens_as_often_as_it_was_asked_for_the_last_time() {
        let mut armed = Armed::default();
        assert_eq!(armed.take(), None);
        armed.arm('a', Times::UntilCleared);
        assert_eq!([armed.take(), armed.take(), armed.take()], [Some('a'); 3]);
        armed.arm('b', Times::Next(2));
        assert_eq!([armed.take(), armed.take(), armed.take()], [Some('b'), Some('b'), None]);
        armed.arm('c', Times::UntilCleared);
        armed.arm('c', Times::Next(0));
        assert_eq!(armed.take(), None);
    }
}
