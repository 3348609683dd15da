use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use uuid::Uuid;

use super::cell::Cell;
use super::drop_policy::DropPolicy;
use super::handle::Submission;
use super::token::Token;
use crate::{Error, JobId};

/// What keeps a submission alive: held by every request and by every wait on it. When the last is gone, the callback's slot is
/// freed and the job is left to the drop policy. Counted in the cell itself, since there is one for each waiting job.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Cell>);

/// The client that sends a submission: where its events come to, and who looks after the job when nobody waits any longer.
pub(crate) trait Home: fmt::Debug + Send + Sync {
    /// Makes room for the events of `cell`; `None` where events do not come.
    ///
    /// # Errors
    ///
    /// When there is no room.
    fn lodge(&self, cell: &Arc<Cell>) -> Result<Option<Token>, Error>;

    /// The URL for the events of that token.
    fn callback_url(&self, token: Token) -> String;

    /// An event that is to be believed has come.
    fn heard(&self);

    /// The last hold is gone, or the slot was not needed. Called from a drop: must not block or panic.
    fn released(self: Arc<Self>, released: Released);
}

/// What is left of a submission that nobody holds any longer.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) token: Option<Token>,
    /// The job, if it is known and has not ended.
    pub(crate) unfinished: Option<JobId>,
    /// Whether the submission may have become a job whose id is not known.
    pub(crate) lost: bool,
    /// What the request says is to be done; else it is the client's to say.
    pub(crate) policy: Option<DropPolicy>,
}

/// Where a submission was first sent from; it stays there, so that a re-send is the same bytes.
#[derive(Debug)]
pub(super) struct Lodging {
    pub(super) home: Arc<dyn Home>,
    pub(super) token: Option<Token>,
}

impl Hold {
    /// For a new submission.
    pub(crate) fn fresh(policy: Option<DropPolicy>) -> Self {
        // In the order of time: a daemon that has a million keys in a file finds the place of a new one at the end.
        Self(Cell::new(Some(Uuid::now_v7()), None, policy))
    }

    /// For a job that runs already.
    pub(crate) fn attached(job_id: JobId) -> Self {
        Self(Cell::new(None, Some(job_id), None))
    }

    pub(crate) fn policy(&self) -> Option<DropPolicy> {
        self.0.policy
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.0
    }

    pub(crate) fn submission(&self) -> Submission {
        Submission::new(Arc::clone(&self.0))
    }

    /// Registers the submission with the client that is about to send it, unless one did before.
    pub(crate) fn lodge(&self, home: &Arc<dyn Home>) -> Result<(), Error> {
        if self.0.lodging.get().is_some() {
            return Ok(());
        }
        let token = home.lodge(&self.0)?;
        let lodging = Lodging { home: Arc::clone(home), token };
        if let Err(second) = self.0.lodging.set(lodging) {
            // Two waits began at the same time; the other one's slot is the one in use.
            second.home.released(Released { token: second.token, ..Released::default() });
        }
        Ok(())
    }

    /// Whether events of this submission can come.
    pub(crate) fn has_callback(&self) -> bool {
        self.0.lodging.get().is_some_and(|lodging| lodging.token.is_some())
    }

    pub(crate) fn callback_url(&self) -> Option<String> {
        self.0.callback_url()
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        // As in `Arc`: whoever clones holds one already, so nothing need be ordered.
        self.0.holds.fetch_add(1, Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.holds.fetch_sub(1, AcqRel) != 1 {
            return;
        }
        let (unfinished, lost) = self.0.abandon();
        if let Some(lodging) = self.0.lodging.get() {
            let (token, policy) = (lodging.token, self.0.policy);
            Arc::clone(&lodging.home).released(Released { token, unfinished, lost, policy });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_time() {
        let keys = [(); 100].map(|()| Hold::fresh(None).cell().key());
        assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
    }
}
