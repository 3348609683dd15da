use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::cell::Cell;
use super::handle::Submission;
use super::token::Token;
use crate::{Error, JobId, JobState};

/// What keeps a submission alive: held by every clone of its request and by every wait on it. When the last is gone, the
/// callback's slot is freed and the job is left to the drop policy.
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

    /// The last hold is gone.
    fn released(&self, token: Option<Token>, job_id: Option<JobId>, last_state: Option<JobState>);
}

/// Where a submission was first sent from; it stays there, so that a re-send is the same bytes.
#[derive(Debug)]
pub(super) struct Lodging {
    pub(super) home: Arc<dyn Home>,
    token: Option<Token>,
}

impl Hold {
    /// For a new submission.
    pub(crate) fn fresh() -> Arc<Self> {
        Arc::new(Self(Cell::new(Some(Uuid::new_v4()), None)))
    }

    /// For a job that runs already.
    pub(crate) fn attached(job_id: JobId) -> Arc<Self> {
        Arc::new(Self(Cell::new(None, Some(job_id))))
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
            second.home.released(second.token, None, None);
        }
        Ok(())
    }

    /// Whether events of this submission can come.
    pub(crate) fn has_callback(&self) -> bool {
        self.0.lodging.get().is_some_and(|lodging| lodging.token.is_some())
    }

    pub(crate) fn callback_url(&self) -> Option<String> {
        let lodging = self.0.lodging.get()?;
        Some(lodging.home.callback_url(lodging.token?))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let (job_id, last_state) = self.0.abandon();
        if let Some(lodging) = self.0.lodging.get() {
            lodging.home.released(lodging.token, job_id, last_state);
        }
    }
}
