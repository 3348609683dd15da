//! The events of the daemon: lost, late, twice, out of order, or not its own.

use bytes::Bytes;
use foreman_client::webhook::Secret;
use http::Request;
use http_body_util::Full;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt as _;

use super::{Double, MS, SECRET, State, told};

impl Double {
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
                0 => state.note("an event lost"),
                2 => state.note("an event twice"),
                _ => {}
            }
            for copy in 0..copies {
                self.send(url, due + MS(delay + copy * 700), at, order, false);
            }
        }
        if state.rng.u64(0..4) == 0 {
            let due = Instant::now() + MS(state.rng.u64(0..20_000));
            state.note("an event forged");
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
            // Whoever forges it does not have the secret. Without one, only the daemon is believed, which is asked.
            let body = if forged { told(at, order).replace("done", "failed") } else { told(at, order) };
            let mut event = Request::post(url);
            if signed {
                let secret = Secret::new(if forged { "a guess" } else { SECRET }).unwrap();
                event = event.header("x-foreman-signature", secret.sign(body.as_bytes()));
            }
            let event = event.body(Full::new(Bytes::from(body))).unwrap();
            let answer = receiver.oneshot(event).await.unwrap().status().as_u16();
            let mut state = this.state();
            state.log(&format!("job-{at} event {order} forged: {forged}: {answer}"));
            if forged {
                assert!(if signed { [401, 404].contains(&answer) } else { [204, 404].contains(&answer) });
                return;
            }
            assert!([204, 404].contains(&answer), "{answer}");
            if answer == 404 {
                state.note("an event late");
            }
            if !state.jobs[at].answered {
                state.note("an event before the answer to the submission");
            }
            if order < state.jobs[at].told {
                state.note("an event out of order");
            }
            state.jobs[at].told = order;
        });
    }
}
