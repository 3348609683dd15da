use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Schedule, Sender};
use crate::failure::failure;
use crate::faults::{Hold, Next};
use crate::jobs::Jobs;
use crate::store::{Claim, Delivery, Verdict};

/// How long a store is left alone that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends what is due, at most `at_once` events at a time. After `closing` it sends what is due by then, and ends.
pub(crate) async fn deliver(
    jobs: Arc<Jobs>,
    sender: Arc<Sender>,
    schedule: Arc<Schedule>,
    at_once: NonZeroUsize,
    closing: CancellationToken,
) {
    let mut sending = JoinSet::new();
    // They take no place from the others, and when they go they wait for none.
    let mut held = JoinSet::new();
    loop {
        while sending.try_join_next().is_some() || held.try_join_next().is_some() {}
        if sending.len() >= at_once.get() {
            sending.join_next().await;
            continue;
        }
        let next = match jobs.claim().await {
            Ok(Claim::Now(mail)) => {
                let hold = sender.faults.as_ref().and_then(|faults| faults.hold(&mail));
                let (jobs, sender, schedule) = (Arc::clone(&jobs), Arc::clone(&sender), Arc::clone(&schedule));
                match hold {
                    None => sending.spawn(send(jobs, sender, schedule, mail, closing.clone())),
                    Some(hold) => held.spawn(send_held(jobs, sender, schedule, mail, hold, closing.clone())),
                };
                continue;
            }
            Ok(Claim::At(next)) => Some(next),
            Ok(Claim::Nothing) => None,
            Err(error) => {
                tracing::error!(%error, "the webhooks that are due cannot be read");
                Some(Instant::now() + PAUSE)
            }
        };
        if closing.is_cancelled() && sending.is_empty() && held.is_empty() {
            return;
        }
        tokio::select! {
            () = jobs.event_due.notified() => {}
            Some(_) = sending.join_next() => {}
            Some(_) = held.join_next() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = closing.cancelled(), if !closing.is_cancelled() => {}
        }
    }
}

async fn send_held(
    jobs: Arc<Jobs>,
    sender: Arc<Sender>,
    schedule: Arc<Schedule>,
    mail: Delivery,
    hold: Hold,
    closing: CancellationToken,
) {
    match hold.over(&jobs, &mail, &closing).await {
        Next::Send => send(jobs, sender, schedule, mail, closing).await,
        Next::PutBehind => settle(&jobs, &mail, Verdict::Behind, &closing).await,
    }
}

async fn send(
    jobs: Arc<Jobs>,
    sender: Arc<Sender>,
    schedule: Arc<Schedule>,
    mail: Delivery,
    closing: CancellationToken,
) {
    jobs.counters.webhook_attempts.add();
    let sent = sender.send(&mail).await;
    let verdict = schedule.verdict(&sent, mail.attempt, Instant::now());
    match &verdict {
        Verdict::Delivered => jobs.counters.webhooks_delivered.add(),
        Verdict::Again(_) | Verdict::Behind => {
            tracing::debug!(job_id = %mail.job_id, ?sent, "a webhook is sent again later");
        }
        Verdict::GiveUp | Verdict::Stop => {
            jobs.counters.webhooks_given_up.add();
            tracing::warn!(job_id = %mail.job_id, ?sent, attempts = mail.attempt, "a webhook is given up");
        }
    }
    settle(&jobs, &mail, verdict, &closing).await;
}

/// Asks the store until it has noted it: a disk that is full is no reason to send an event again and again. A daemon that closes
/// asks once more, and sends the event again after its next start.
async fn settle(jobs: &Jobs, mail: &Delivery, verdict: Verdict, closing: &CancellationToken) {
    loop {
        let last = closing.is_cancelled();
        let Err(error) = jobs.settle(&mail.job_id, verdict.clone()).await else { return };
        tracing::error!(job_id = %mail.job_id, error = %failure(&error), "what came of a webhook cannot be kept");
        if last {
            return;
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = closing.cancelled() => {}
        }
    }
}
