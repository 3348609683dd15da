//! `Retry-After` with a refused submission is for all waits of the client, and not for those that follow another one.

use foreman_client::Error;
use tokio::time::Instant;

use super::model::{Attempt, World};
use crate::support::seconds;

impl World {
    /// The response to a submission has `Retry-After`.
    pub(super) fn asked_to_pause(&mut self, at: usize, retry_after: Option<u64>) {
        let Attempt { client, key, .. } = &self.attempts[at];
        let until = Instant::now() + seconds(retry_after.unwrap_or_default());
        let caller = self.callers.get_mut(key).unwrap();
        caller.refusals += 1;
        // The client that was called first learns of the pause from a retry, and the one that sends when its wait ends.
        let known = caller.bare_sends == 0 && caller.clients.len() == 1;
        if known && self.pauses.get(client).is_none_or(|(other, _)| *other < until) {
            self.pauses.insert(*client, (until, key.clone()));
        }
    }

    /// A wait of a client sends.
    pub(super) fn check_pause(&mut self, client: usize, key: &str) {
        let Some((until, of)) = self.pauses.get(&client).cloned() else { return };
        self.counts.paused_others += u64::from(of != key);
        // A retry inside a wait that was sending before obeys the refusals of that wait only.
        let sending = of != key && self.attempts.iter().any(|it| it.key == key && it.client == client);
        self.check(sending || Instant::now() >= until, || format!("{key} is sent within the pause of {of}"));
    }

    /// A wait that does not send does not fail for a refusal of another one, and not for a pause while another one sends.
    pub(super) fn check_follower(&mut self, key: &str, error: &Error) {
        if error.job_id().is_some() {
            return;
        }
        let caller = self.callers.get_mut(key).unwrap();
        if error.status().is_some_and(|status| matches!(status.as_u16(), 429 | 503)) {
            caller.refused_waits += 1;
            let (waits, refused) = (caller.refused_waits, caller.refusals);
            self.check(waits <= refused, || format!("{waits} waits of {key} fail after {refused} refusals: {error:?}"));
        } else if error.is_overloaded() && error.retry_after().is_some() {
            self.counts.too_long_pauses += 1;
            let sending = self.in_flight(key);
            self.check(sending == 0, || format!("{key} fails for a pause while it is sent: {error:?}"));
        }
    }
}
