use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::cell::Cell;
use super::drop_policy::DropPolicy;
use super::handle::Submission;
use super::token::Token;
use crate::{Error, JobId};

/// What keeps a submission alive: held by every clone of its request and by every wait on it. When the last is gone, the
/// callback's slot is freed and the job is left to the drop policy.
#[derive(Debug)]
pub(crate) struct Hold {
    cell: Arc<Cell>,
    policy: Option<DropPolicy>,
}

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
    token: Option<Token>,
}

impl Hold {
    /// For a new submission.
    pub(crate) fn fresh(policy: Option<DropPolicy>) -> Arc<Self> {
        Arc::new(Self { cell: Cell::new(Some(Uuid::new_v4()), None), policy })
    }

    /// For a job that runs already.
    pub(crate) fn attached(job_id: JobId) -> Arc<Self> {
        Arc::new(Self { cell: Cell::new(None, Some(job_id)), policy: None })
    }

    pub(crate) fn policy(&self) -> Option<DropPolicy> {
        self.policy
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    pub(crate) fn submission(&self) -> Submission {
        Submission::new(Arc::clone(&self.cell))
    }

    /// Registers the submission with the client that is about to send it, unless one did before.
    pub(crate) fn lodge(&self, home: &Arc<dyn Home>) -> Result<(), Error> {
        if self.cell.lodging.get().is_some() {
            return Ok(());
        }
        let token = home.lodge(&self.cell)?;
        let lodging = Lodging { home: Arc::clone(home), token };
        if let Err(second) = self.cell.lodging.set(lodging) {
            // Two waits began at the same time; the other one's slot is the one in use.
            second.home.released(Released { token: second.token, ..Released::default() });
        }
        Ok(())
    }

    /// Whether events of this submission can come.
    pub(crate) fn has_callback(&self) -> bool {
        self.cell.lodging.get().is_some_and(|lodging| lodging.token.is_some())
    }

    pub(crate) fn callback_url(&self) -> Option<String> {
        let lodging = self.cell.lodging.get()?;
        Some(lodging.home.callback_url(lodging.token?))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let (unfinished, lost) = self.cell.abandon();
        if let Some(lodging) = self.cell.lodging.get() {
            let (token, policy) = (lodging.token, self.policy);
            Arc::clone(&lodging.home).released(Released { token, unfinished, lost, policy });
        }
    }
}
