use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A limit of the bytes that all requests of a server hold together, in addition to the limit of each.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

/// The bytes of one request. Returned to the budget when it is dropped.
#[derive(Debug)]
pub struct ByteLease {
    budget: ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// Creates a budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0) }))
    }

    /// Starts a lease of no bytes.
    #[must_use]
    pub fn lease(&self) -> ByteLease {
        ByteLease { budget: self.clone(), bytes: 0 }
    }
}

impl ByteLease {
    /// Takes so many bytes more. Takes none and returns `false` if the budget does not have them.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Inner { limit, used } = &*self.budget.0;
        let more = |used: usize| used.checked_add(bytes).filter(|used| used <= limit);
        let grown = used.fetch_update(Relaxed, Relaxed, more).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for ByteLease {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_share_the_budget() {
        let budget = ByteBudget::new(10);
        let (mut first, mut second) = (budget.lease(), budget.lease());
        assert!(first.grow(4) && first.grow(0) && second.grow(6) && !second.grow(1) && !first.grow(usize::MAX));
        drop(first);
        assert!(second.grow(4) && !second.grow(1));
        drop(second);
        assert!(budget.lease().grow(10) && budget.lease().grow(10));
    }
}
