use std::time::Duration;

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a job is run that fails by what may go away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    pub(crate) most: u64,
    /// Before the second attempt; each further pause is twice the one before.
    pub(crate) pause: Duration,
}

impl Attempts {
    /// How long to wait after that attempt, the first of which is 1; `None` if it was the last.
    pub(crate) fn pause(&self, attempt: u64) -> Option<Duration> {
        let doubled = u32::try_from(attempt.saturating_sub(1)).ok().and_then(|power| 2_u32.checked_pow(power));
        (attempt < self.most).then(|| self.pause.saturating_mul(doubled.unwrap_or(u32::MAX)).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_the_attempts() {
        let attempts = Attempts { most: 9, pause: Duration::from_secs(1) };
        let pauses: Vec<_> = (1..=9).map(|attempt| attempts.pause(attempt).map(|pause| pause.as_secs())).collect();
        let told = [1, 2, 4, 8, 16, 32, 60, 60].map(Some);
        assert_eq!(pauses[..8], told);
        assert_eq!(pauses[8], None);
        assert_eq!(Attempts { most: u64::MAX, ..attempts }.pause(u64::MAX - 1), Some(LONGEST));
    }
}
