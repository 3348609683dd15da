use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::handle::Faults;
use crate::daemon::jobs::Jobs;
use crate::daemon::store::Mail;

/// An event that is not sent yet.
#[derive(Debug)]
pub(crate) struct Hold {
    faults: Faults,
    why: Why,
    released: watch::Receiver<()>,
}

#[derive(Debug)]
enum Why {
    Late(Duration),
    /// Until there is another event of its job.
    Behind,
}

/// What comes after a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Send,
    /// Another event of the job goes first.
    PutBehind,
}

impl Faults {
    /// Whether an event that is due is to be held.
    pub(crate) fn hold(&self, mail: &Mail) -> Option<Hold> {
        let is_last = mail.status.state.is_terminal();
        let mut state = self.state();
        let may_move = !is_last && !state.reordered.contains(&mail.event_id);
        let why = if may_move && state.of_event(is_last, |events| events.reorder.take()).is_some() {
            state.reordered.insert(mail.event_id.clone());
            Why::Behind
        } else {
            Why::Late(state.of_event(is_last, |events| events.delay.take())?)
        };
        let released = state.send.subscribe();
        drop(state);
        if let Why::Late(_) = why {
            self.note(|seen| seen.late_events += 1);
        }
        Some(Hold { faults: self.clone(), why, released })
    }
}

impl Hold {
    /// Returns when the hold is over: after its time, when it is released, or when the daemon ends.
    pub(crate) async fn over(mut self, jobs: &Jobs, mail: &Mail, ended: &CancellationToken) -> Next {
        let next = tokio::select! {
            biased;
            next = self.why.over(jobs, mail) => next,
            _ = self.released.changed() => Next::Send,
            () = ended.cancelled() => Next::Send,
        };
        if next == Next::PutBehind {
            self.faults.note(|seen| seen.reordered_events += 1);
        }
        next
    }
}

impl Why {
    async fn over(&self, jobs: &Jobs, mail: &Mail) -> Next {
        match self {
            Self::Late(delay) => {
                sleep(*delay).await;
                Next::Send
            }
            Self::Behind => {
                let mut watch = jobs.watch(&mail.job_id);
                loop {
                    match jobs.status(&mail.job_id).await {
                        // A state and its event are one: in another state there is another event.
                        Ok(Some(status)) if status.state != mail.status.state => return Next::PutBehind,
                        Ok(None) => return Next::Send,
                        Ok(Some(_)) | Err(_) => watch.changed().await,
                    }
                }
            }
        }
    }
}
