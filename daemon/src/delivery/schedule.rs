use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::sender::Sent;
use crate::store::Verdict;

/// How often an event is sent that the receiver refuses.
const TRIES: u32 = 3;
/// How long a receiver can ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// When an event is sent again.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Before the second attempt, the third, …
    pauses: Vec<Duration>,
}

impl Schedule {
    pub(crate) fn new(pauses: Vec<Duration>) -> Self {
        Self { pauses }
    }

    /// What is to become of an event after that attempt, the first of which is 1.
    pub(super) fn verdict(&self, sent: &Sent, attempt: u32, now: Instant) -> Verdict {
        let Sent::Answered { status, retry_after } = sent else {
            return if matches!(sent, Sent::Forbidden) { Verdict::Stop } else { self.again(None, attempt, now) };
        };
        match *status {
            status if status.is_success() => Verdict::Delivered,
            StatusCode::GONE => Verdict::Stop,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                self.again(*retry_after, attempt, now)
            }
            status if status.is_server_error() => self.again(*retry_after, attempt, now),
            // A refusal, or a redirection, which is not followed: it would let a receiver choose who is asked.
            _ if attempt >= TRIES => Verdict::GiveUp,
            _ => self.again(*retry_after, attempt, now),
        }
    }

    fn again(&self, retry_after: Option<Duration>, attempt: u32, now: Instant) -> Verdict {
        let pause = usize::try_from(attempt).ok().and_then(|attempt| self.pauses.get(attempt.saturating_sub(1)));
        let Some(pause) = pause else { return Verdict::GiveUp };
        // Spread by a fifth, so that what failed together does not come back together.
        let pause = pause.mul_f64(0.8 + 0.4 * fastrand::f64());
        Verdict::Again(now + pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
    }
}

impl Default for Schedule {
    /// 1 s, 5 s, 30 s, 2 min, 10 min, 30 min, then hourly for a day.
    fn default() -> Self {
        let first = [1, 5, 30, 120, 600, 1800].map(Duration::from_secs);
        Self::new(first.into_iter().chain(std::iter::repeat_n(MAX_RETRY_AFTER, 24)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Sent {
        Sent::Answered { status: StatusCode::from_u16(status).unwrap(), retry_after: None }
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_of_an_event() {
        let now = Instant::now();
        let schedule = Schedule::new(vec![Duration::ZERO; 4]);
        let again = || Verdict::Again(now);
        for (sent, attempt, verdict) in [
            (answered(200), 1, Verdict::Delivered),
            (answered(204), 5, Verdict::Delivered),
            (answered(410), 1, Verdict::Stop),
            (Sent::Forbidden, 1, Verdict::Stop),
            (Sent::Broken, 1, again()),
            (Sent::Broken, 4, again()),
            (Sent::Broken, 5, Verdict::GiveUp),
            (answered(500), 4, again()),
            (answered(503), 5, Verdict::GiveUp),
            (answered(408), 4, again()),
            (answered(425), 4, again()),
            (answered(429), 4, again()),
            (answered(302), 2, again()),
            (answered(302), 3, Verdict::GiveUp),
            (answered(304), 3, Verdict::GiveUp),
            (answered(404), 2, again()),
            (answered(404), 3, Verdict::GiveUp),
            (answered(401), 3, Verdict::GiveUp),
        ] {
            assert_eq!(schedule.verdict(&sent, attempt, now), verdict, "{sent:?} at attempt {attempt}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_spread_and_retry_after_is_clamped() {
        let now = Instant::now();
        let pause = |verdict| match verdict {
            Verdict::Again(at) => at - now,
            other => panic!("{other:?}"),
        };
        let schedule = Schedule::default();
        for (attempt, seconds) in [(1, 1.0), (2, 5.0), (3, 30.0), (4, 120.0), (6, 1800.0), (7, 3600.0), (30, 3600.0)] {
            let is = pause(schedule.verdict(&Sent::Broken, attempt, now)).as_secs_f64();
            assert!((0.8 * seconds..=1.2 * seconds).contains(&is), "{attempt}: {is}");
        }
        assert_eq!(schedule.verdict(&Sent::Broken, 31, now), Verdict::GiveUp);
        let asked = |seconds| Sent::Answered {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(pause(schedule.verdict(&asked(60), 1, now)), Duration::from_secs(60));
        assert_eq!(pause(schedule.verdict(&asked(u64::MAX), 1, now)), MAX_RETRY_AFTER);
    }
}
