use std::sync::Arc;
use std::time::Duration;

use super::{SendState, SubmissionState};
use crate::submission::SharedSubmission;
use crate::submission::draft::Draft;
use crate::submission::history::{History, StateChange};
use crate::{Error, JobId};

/// Waits come and go, and handles observe.
impl SubmissionState {
    /// A wait starts.
    pub(crate) fn wait_started(&mut self) {
        self.waits += 1;
        self.waited_for = true;
        if let Some(rare) = &mut self.rare {
            rare.failure = None;
        }
    }

    /// A wait ends with this error. It is the reason that handles report when the last wait is gone.
    pub(crate) fn wait_failed(&mut self, error: Error) {
        self.rare().failure = Some(error);
    }

    /// A wait is gone.
    pub(crate) fn wait_ended(&mut self) {
        self.waits = self.waits.saturating_sub(1);
        self.changed |= self.waits == 0;
    }

    /// A retry policy may start another wait, so that the end of this one means nothing to the handles.
    pub(crate) fn reattach(&mut self) {
        self.reattaching = self.reattaching.saturating_add(1);
    }

    /// It starts no further wait.
    pub(crate) fn give_up_reattach(&mut self) {
        self.reattaching = self.reattaching.saturating_sub(1);
        self.changed |= self.waits == 0;
    }

    /// Sets when a renewed submission began, from the first call.
    pub(crate) fn begin_at(&mut self, time: Duration) {
        self.rare().began_at = time;
    }

    /// When the submission began, from the first call. Zero unless it is a renewed one.
    pub(crate) fn began_at(&self) -> Duration {
        self.rare.as_ref().map_or(Duration::ZERO, |rare| rare.began_at)
    }

    /// The job failed and runs again as `submission`.
    pub(crate) fn renew_as(&mut self, submission: &Arc<SharedSubmission>) {
        self.rare().renewed = Some(Arc::clone(submission));
        self.changed = true;
    }

    pub(crate) fn renewed(&self) -> Option<&Arc<SharedSubmission>> {
        self.rare.as_ref()?.renewed.as_ref()
    }

    /// The response to the submission was lost, for this reason.
    pub(crate) fn explain_loss(&mut self, error: &Error) {
        self.rare().loss = Some(error.clone());
    }

    /// Why the response to the submission was lost, if a wait has seen it.
    pub(crate) fn loss(&self) -> Option<&Error> {
        self.rare.as_ref()?.loss.as_ref()
    }

    /// Why the last wait failed.
    pub(in crate::submission) fn failure(&self) -> Option<&Error> {
        self.rare.as_ref()?.failure.as_ref()
    }

    /// Starts the history, with the state known by now.
    pub(in crate::submission) fn keep_history(&mut self) {
        if self.history().is_some() {
            return;
        }
        let mut history = History::default();
        if let Some((result, via)) = self.result() {
            history.push(StateChange::of(result.status(), via));
        } else if let Some(state) = &self.last_state {
            history.push(StateChange { state: state.clone(), at: None, position: None, via: self.via });
        }
        self.rare().history = Some(history);
    }

    pub(in crate::submission) fn history(&self) -> Option<&History> {
        self.rare.as_ref()?.history.as_ref()
    }

    /// The id of the job, if it is known and the job has not ended.
    pub(crate) fn unfinished_job(&self) -> Option<JobId> {
        self.job_id.clone().filter(|_| self.result.is_none())
    }

    /// A wait ends. If no response has named the job, the last holder needs the conversation to find it.
    pub(crate) fn leave_draft(&mut self, draft: &Arc<Draft>) {
        if self.is_lost() {
            self.rare().draft = Some(Arc::clone(draft));
        }
    }

    /// The conversation to find a lost job by, once.
    pub(in crate::submission) fn take_lost_draft(&mut self) -> Option<Arc<Draft>> {
        let draft = self.rare.as_mut()?.draft.take()?;
        self.is_lost().then_some(draft)
    }

    /// Whether the response is lost, so that the job is not known, or known by an event only.
    fn is_lost(&self) -> bool {
        self.sending == SendState::Lost || self.is_named_by_event()
    }

    /// The last request and the last wait are gone. Returns the id of the job if it has not ended, and whether the submission may
    /// have become a job whose id is not known.
    pub(in crate::submission) fn abandon(&mut self) -> (Option<JobId>, bool) {
        self.abandoned = true;
        self.changed = true;
        let (unconfirmed, lost) = (self.is_named_by_event(), self.sending == SendState::Lost);
        // The job that an event has named may be another caller's.
        (self.unfinished_job().filter(|_| !unconfirmed), lost || unconfirmed)
    }
}
