//! The events of the daemons: on time, lost, late, duplicated, or sent to the callback URL of another job.

use bytes::Bytes;
use foreman_client::webhook::Secret;
use http::Request;
use http_body_util::Full;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt as _;

use super::daemon::{DaemonHttp, Job};
use super::program::EventPlan;
use crate::support::{SECRET, millis};

/// The receivers of the clients, by the host of the callback URL.
pub(super) const CALLBACKS: [&str; 2] = ["http://gateway-one.test/events", "http://gateway-two.test/events"];

impl DaemonHttp {
    /// Plans the events of a new job.
    pub(super) fn plan_events(&self, id: usize) {
        let mut world = self.world.lock().unwrap();
        let job = &world.daemons[self.daemon].jobs[id];
        if job.callback.is_none() {
            return;
        }
        let (plan, due) = (job.plan.clone(), [Instant::now(), job.starts, job.ends]);
        for (order, event) in plan.events.into_iter().enumerate() {
            let due = due[order];
            let send = |at, target| drop(tokio::spawn(self.clone().send(id, order, at, target)));
            match event {
                EventPlan::OnTime => send(due, None),
                EventPlan::Lost => world.counts.lost_events += 1,
                EventPlan::Late { by } => send(due + millis(by), None),
                EventPlan::Twice { apart } => {
                    send(due, None);
                    send(due + millis(apart), None);
                }
                EventPlan::Replayed { job, after } => {
                    send(due, None);
                    send(due + millis(after), Some(job));
                }
            }
        }
    }

    /// `target`: the job whose callback URL gets the event, if it is not the one of job `id`.
    async fn send(self, id: usize, order: usize, due: Instant, target: Option<usize>) {
        sleep_until(due).await;
        let (event, receiver) = {
            let mut world = self.world.lock().unwrap();
            let daemon = &world.daemons[self.daemon];
            let own = &daemon.jobs[id];
            let state = if order == 2 || own.cancelled { own.state() } else { ["queued", "running"][order] };
            let others: Vec<&Job> =
                daemon.jobs.iter().filter(|job| job.key != own.key && job.callback.is_some()).collect();
            let receiving = match target {
                None => own,
                Some(_) if others.is_empty() => return,
                Some(job) => others[job % others.len()],
            };
            let (url, key) = (receiving.callback.clone().unwrap(), receiving.key.clone());
            let (body, signed) = (own.json(id, state), daemon.plan.signed);
            world.event(self.daemon, id, order, &key, target.is_some());
            let host = CALLBACKS.iter().position(|callback| url.starts_with(callback)).unwrap();
            let mut event = Request::post(url);
            if signed {
                event = event.header("x-foreman-signature", Secret::new(SECRET).unwrap().sign(body.as_bytes()));
            }
            (event.body(Full::new(Bytes::from(body))).unwrap(), world.receivers[host].clone())
        };
        let status = receiver.oneshot(event).await.unwrap().status();
        self.world.lock().unwrap().log(|| format!("event {order} of job {id} to {target:?}: {status}"));
    }
}
