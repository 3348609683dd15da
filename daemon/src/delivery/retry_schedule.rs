use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::DeliveryOutcome;
use crate::store::Verdict;

/// The number of attempts at an event that the receiver rejects.
const MAX_REJECTED_ATTEMPTS: u32 = 3;
/// The largest `Retry-After` that counts; a longer one is cut to it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Decides whether and when an event is sent again.
#[derive(Debug, Clone)]
pub(crate) struct RetrySchedule {
    /// Before the second attempt, the third, …
    pauses: Vec<Duration>,
}

impl RetrySchedule {
    pub(crate) fn new(pauses: Vec<Duration>) -> Self {
        Self { pauses }
    }

    /// Maps the outcome of an attempt to the event's next step. The first attempt is 1.
    pub(super) fn verdict(&self, outcome: &DeliveryOutcome, attempt: u32, now: Instant) -> Verdict {
        let DeliveryOutcome::Response { status, retry_after } = outcome else {
            return if matches!(outcome, DeliveryOutcome::Forbidden) {
                Verdict::Stop
            } else {
                self.again(None, attempt, now)
            };
        };
        match *status {
            status if status.is_success() => Verdict::Delivered,
            StatusCode::GONE => Verdict::Stop,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                self.again(*retry_after, attempt, now)
            }
            status if status.is_server_error() => self.again(*retry_after, attempt, now),
            // A rejection or a redirect. Redirects are not followed: they would let a receiver choose the address.
            _ if attempt >= MAX_REJECTED_ATTEMPTS => Verdict::GiveUp,
            _ => self.again(*retry_after, attempt, now),
        }
    }

    fn again(&self, retry_after: Option<Duration>, attempt: u32, now: Instant) -> Verdict {
        let pause = usize::try_from(attempt).ok().and_then(|attempt| self.pauses.get(attempt.saturating_sub(1)));
        let Some(pause) = pause else { return Verdict::GiveUp };
        // Jitter of 20 %, so that events that failed together are not retried together.
        let pause = pause.mul_f64(0.8 + 0.4 * fastrand::f64());
        Verdict::Again(now + pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
    }
}

impl Default for RetrySchedule {
    /// 1 s, 5 s, 30 s, 2 min, 10 min, 30 min, then hourly for a day.
    fn default() -> Self {
        let first = [1, 5, 30, 120, 600, 1800].map(Duration::from_secs);
        Self::new(first.into_iter().chain(std::iter::repeat_n(MAX_RETRY_AFTER, 24)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16) -> DeliveryOutcome {
        DeliveryOutcome::Response { status: StatusCode::from_u16(status).unwrap(), retry_after: None }
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_map_to_verdicts() {
        let now = Instant::now();
        let schedule = RetrySchedule::new(vec![Duration::ZERO; 4]);
        let again = || Verdict::Again(now);
        for (outcome, attempt, verdict) in [
            (response(200), 1, Verdict::Delivered),
            (response(204), 5, Verdict::Delivered),
            (response(410), 1, Verdict::Stop),
            (DeliveryOutcome::Forbidden, 1, Verdict::Stop),
            (DeliveryOutcome::Failed, 1, again()),
            (DeliveryOutcome::Failed, 4, again()),
            (DeliveryOutcome::Failed, 5, Verdict::GiveUp),
            (response(500), 4, again()),
            (response(503), 5, Verdict::GiveUp),
            (response(408), 4, again()),
            (response(425), 4, again()),
            (response(429), 4, again()),
            (response(302), 2, again()),
            (response(302), 3, Verdict::GiveUp),
            (response(304), 3, Verdict::GiveUp),
            (response(404), 2, again()),
            (response(404), 3, Verdict::GiveUp),
            (response(401), 3, Verdict::GiveUp),
        ] {
            assert_eq!(schedule.verdict(&outcome, attempt, now), verdict, "{outcome:?} at attempt {attempt}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_have_jitter_and_retry_after_is_capped() {
        let now = Instant::now();
        let pause = |verdict| match verdict {
            Verdict::Again(at) => at - now,
            other => panic!("{other:?}"),
        };
        let schedule = RetrySchedule::default();
        for (attempt, seconds) in [(1, 1.0), (2, 5.0), (3, 30.0), (4, 120.0), (6, 1800.0), (7, 3600.0), (30, 3600.0)] {
            let actual = pause(schedule.verdict(&DeliveryOutcome::Failed, attempt, now)).as_secs_f64();
            assert!((0.8 * seconds..=1.2 * seconds).contains(&actual), "{attempt}: {actual}");
        }
        assert_eq!(schedule.verdict(&DeliveryOutcome::Failed, 31, now), Verdict::GiveUp);
        let retry_after = |seconds| DeliveryOutcome::Response {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(pause(schedule.verdict(&retry_after(60), 1, now)), Duration::from_secs(60));
        assert_eq!(pause(schedule.verdict(&retry_after(u64::MAX), 1, now)), MAX_RETRY_AFTER);
    }
}
