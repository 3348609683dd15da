use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::handle::Faults;
use crate::jobs::Jobs;
use crate::store::Delivery;

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
    pub(crate) fn hold(&self, mail: &Delivery) -> Option<Hold> {
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
    pub(crate) async fn over(mut self, jobs: &Jobs, mail: &Delivery, ended: &CancellationToken) -> Next {
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
    async fn over(&self, jobs: &Jobs, mail: &Delivery) -> Next {
        match self {
            Self::Late(delay) => {
                sleep(*delay).await;
                Next::Send
            }
            Self::Behind => {
                let mut watch = jobs.watch(&mail.job_id);
                loop {
                    match jobs.progress(&mail.job_id).await {
                        // A state and its event are one: in another state there is another event.
                        Ok(Some(job)) if job.state != mail.status.state => return Next::PutBehind,
                        Ok(None) => return Next::Send,
                        Ok(Some(_)) | Err(_) => watch.changed().await,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;
    use crate::faults::Times;
    use crate::owner::Owner;
    use crate::store::{Claim, Memory, NewJob};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A job that is queued, and its first event.
    async fn queued() -> (Jobs, Delivery) {
        let jobs = Jobs::new(Box::new(Memory::new(1, std::num::NonZeroUsize::MIN, HOUR)));
        let submission = serde_json::from_str(r#"{"model":"m"}"#).unwrap();
        let webhook = Some("http://127.0.0.1:1".parse().unwrap());
        let new =
            NewJob { owner: Owner::ANONYMOUS, submission, body: "".into(), webhook, traceparent: None, key: None };
        jobs.submit(new).await.unwrap().unwrap();
        let Claim::Now(mail) = jobs.claim().await.unwrap() else { panic!("no event") };
        (jobs, mail)
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_event_is_held_for_its_time() {
        let (faults, (jobs, mail), ended) = (Faults::new(), queued().await, CancellationToken::new());
        faults.events().delay(HOUR, Times::Next(1));
        let mut over = task::spawn(faults.hold(&mail).unwrap().over(&jobs, &mail, &ended));
        assert_pending!(over.poll());
        tokio::time::advance(HOUR - Duration::from_secs(1)).await;
        assert_pending!(over.poll());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_ready_eq!(over.poll(), Next::Send);
        assert!(faults.hold(&mail).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_event_goes_when_the_faults_are_cleared_or_the_daemon_ends() {
        for set in [
            |faults: &Faults| faults.events().delay(HOUR, Times::UntilCleared),
            |faults: &Faults| {
                faults.events().reorder(Times::UntilCleared);
            },
        ] {
            let (faults, (jobs, mail), ended) = (Faults::new(), queued().await, CancellationToken::new());
            set(&faults);
            let mut over = task::spawn(faults.hold(&mail).unwrap().over(&jobs, &mail, &ended));
            assert_pending!(over.poll());
            faults.clear();
            assert_ready_eq!(over.poll(), Next::Send);

            set(&faults);
            let mut over = task::spawn(faults.hold(&mail).unwrap().over(&jobs, &mail, &ended));
            assert_pending!(over.poll());
            ended.cancel();
            assert_ready_eq!(over.poll(), Next::Send);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_put_behind_the_next_of_its_job_and_only_once() {
        let (faults, (jobs, mail), ended) = (Faults::new(), queued().await, CancellationToken::new());
        faults.events().reorder(Times::UntilCleared);
        let mut over = task::spawn(faults.hold(&mail).unwrap().over(&jobs, &mail, &ended));
        assert_pending!(over.poll());
        tokio::time::advance(HOUR).await;
        assert_pending!(over.poll());
        jobs.take().await.unwrap().unwrap();
        assert!(over.is_woken());
        assert_ready_eq!(over.poll(), Next::PutBehind);
        assert_eq!(faults.seen().reordered_events, 1);
        assert!(faults.hold(&mail).is_none());
    }

    #[tokio::test]
    async fn the_last_event_of_a_job_has_none_to_be_put_behind() {
        let (faults, (jobs, mail)) = (Faults::new(), queued().await);
        faults.events().reorder(Times::UntilCleared);
        jobs.cancel(Owner::ANONYMOUS, &mail.job_id).await.unwrap();
        let status = jobs.status(Owner::ANONYMOUS, &mail.job_id).await.unwrap().unwrap();
        assert!(faults.hold(&Delivery { status, ..mail }).is_none());
    }
}
