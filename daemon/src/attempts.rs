use std::time::Duration;

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// How many attempts a job has, and the pauses between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    /// The maximum number of attempts.
    pub(crate) most: u64,
    /// The pause before the second attempt. Each further pause is twice as long.
    pub(crate) pause: Duration,
}

impl Attempts {
    /// The pause after `attempt`, counted from 1; `None` after the last one.
    pub(crate) fn pause(&self, attempt: u64) -> Option<Duration> {
        let doubled = u32::try_from(attempt.saturating_sub(1)).ok().and_then(|power| 2_u32.checked_pow(power));
        (attempt < self.most).then(|| self.pause.saturating_mul(doubled.unwrap_or(u32::MAX)).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_one_minute() {
        let attempts = Attempts { most: 9, pause: Duration::from_secs(1) };
        let pauses: Vec<_> = (1..=9).map(|attempt| attempts.pause(attempt).map(|pause| pause.as_secs())).collect();
        let expected = [1, 2, 4, 8, 16, 32, 60, 60].map(Some);
        assert_eq!(pauses[..8], expected);
        assert_eq!(pauses[8], None);
        assert_eq!(Attempts { most: u64::MAX, ..attempts }.pause(u64::MAX - 1), Some(LONGEST));
    }
}
