use std::future::pending;
use std::pin::pin;

use tokio::time::{Instant, sleep, sleep_until};

use super::WorkerContext;
use crate::store::Taken;
use crate::until_stored::STORE_RETRY;

/// Takes the next job. Without one, it waits until there may be one, or until `closing` is cancelled.
///
/// For a short time, an idle worker leaves jobs whose model another backend has loaded to that one. After a job it takes the next one in
/// any case (`was_idle`), so that the turns of the tokens and the batches of a long queue are the same whatever is loaded.
pub(super) async fn next_job(context: &WorkerContext, was_idle: bool) -> Option<Taken> {
    let WorkerContext { jobs, backends, member, closing, .. } = context;
    let mut queued = pin!(jobs.work(member.index));
    // Registered before the queue is read: a job that is queued in between wakes this worker, and each of two such jobs wakes a
    // worker of its own.
    queued.as_mut().enable();
    let wanted = member.wanted();
    let own = backends.own_jobs(member, &wanted, jobs.current_fleet().as_deref());
    let may_leave = was_idle && !jobs.is_deadline_within(backends.loaded_wait.saturating_mul(2));
    let mut leaves_until = own.as_ref().filter(|_| may_leave).and_then(|_| member.patience.begin(backends.loaded_wait));
    let first = own.as_ref().filter(|_| leaves_until.is_some()).unwrap_or(&wanted);
    match jobs.take(first).await {
        Ok(taken) => {
            if taken.is_some() {
                return taken;
            }
            // No job is left: the time begins with the next one. The count of a shared queue may be out of date.
            if leaves_until.is_none() || jobs.fleet().is_none() && jobs.queued() == 0 {
                member.patience.end();
                leaves_until = None;
            }
            tokio::select! {
                () = queued => {}
                () = until(leaves_until) => {}
                () = closing.cancelled() => {}
            }
        }
        Err(error) => {
            tracing::debug!(%error, "cannot take a job from the store");
            tokio::select! {
                () = sleep(STORE_RETRY) => {}
                () = closing.cancelled() => {}
            }
        }
    }
    None
}

/// Without a time, it never completes.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
