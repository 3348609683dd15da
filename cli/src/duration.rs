use std::time::Duration;

use jiff::SignedDuration;

/// Parses a duration such as `90s`, `10m` or `1h 30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "must be a duration such as 90s, 10m or 1h30m".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be greater than zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_are_positive() {
        assert_eq!(parse("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(parse("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("200ms").unwrap(), Duration::from_millis(200));
        for invalid in ["", "10", "soon", "0s", "-5s"] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
    }
}
