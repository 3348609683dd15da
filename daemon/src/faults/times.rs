/// How often a fault occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Times {
    /// The next so many times. `Next(0)` clears the fault.
    Next(u64),
    /// Every time, until it is cleared.
    UntilCleared,
}

/// A fault, if it is set, and how often it still occurs.
#[derive(Debug)]
pub(super) struct Armed<T>(Option<(T, Times)>);

impl<T> Default for Armed<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Armed<T> {
    /// Replaces what was set before.
    pub(super) fn arm(&mut self, fault: T, times: Times) {
        self.0 = Some((fault, times));
    }

    /// Returns the fault if it occurs now, and counts it.
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
    fn arm_replaces_the_fault_and_its_count() {
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
