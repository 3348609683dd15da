//! The events of the simulated daemon: on time, lost, late, duplicated, out of order or forged.

use bytes::Bytes;
use foreman_client::webhook::Secret;
use http::Request;
use http_body_util::Full;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt as _;

use super::{SimulatedDaemon, State, status_json};
use crate::support::{SECRET, millis};

impl SimulatedDaemon {
    pub(super) fn plan_events(&self, state: &mut State, at: usize, url: &str) {
        let job = &state.jobs[at];
        for (order, due) in [(1, job.starts), (2, job.ends)] {
            let (copies, delay) = match state.rng.u64(0..10) {
                0 | 1 => (0, 0),
                2 => (2, state.rng.u64(0..5_000)),
                3 | 4 => (1, state.rng.u64(0..20_000)),
                5 => (1, 600_000),
                _ => (1, 0),
            };
            match copies {
                0 => state.note("event lost"),
                2 => state.note("event duplicated"),
                _ => {}
            }
            for copy in 0..copies {
                self.send(url, due + millis(delay + copy * 700), at, order, false);
            }
        }
        if state.rng.u64(0..4) == 0 {
            let due = Instant::now() + millis(state.rng.u64(0..20_000));
            state.note("event forged");
            self.send(url, due, at, 2, true);
        }
    }

    /// Sends an event when it is due.
    fn send(&self, url: &str, due: Instant, at: usize, order: usize, forged: bool) {
        let (this, url) = (self.clone(), url.to_owned());
        tokio::spawn(async move {
            sleep_until(due).await;
            let (receiver, signed) = {
                let state = this.state();
                (state.receiver.clone(), state.signed)
            };
            let late = receiver.notifier().stats().late;
            // A forger does not have the secret. An unsigned event only causes a poll.
            let body = if forged { status_json(at, order).replace("done", "failed") } else { status_json(at, order) };
            let mut event = Request::post(url);
            if signed {
                let secret = Secret::new(if forged { "a guess" } else { SECRET }).unwrap();
                event = event.header("x-foreman-signature", secret.sign(body.as_bytes()));
            }
            let event = event.body(Full::new(Bytes::from(body))).unwrap();
            let response = receiver.clone().oneshot(event).await.unwrap().status().as_u16();
            let mut state = this.state();
            state.log(&format!("job-{at} event {order} forged: {forged}: {response}"));
            if forged {
                assert_eq!(response, if signed { 401 } else { 204 });
                return;
            }
            assert_eq!(response, 204);
            if receiver.notifier().stats().late > late {
                state.note("event late");
            }
            if !state.jobs[at].accepted {
                state.note("event before the 202");
            }
            if order < state.jobs[at].reported {
                state.note("event out of order");
            }
            state.jobs[at].reported = order;
        });
    }
}
