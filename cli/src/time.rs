use std::time::Duration;

use jiff::SignedDuration;

/// Reads a time such as `90s`, `10m` or `1h 30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let time: SignedDuration = text.parse().map_err(|_| "must be a time such as 90s, 10m or 1h30m".to_owned())?;
    match Duration::try_from(time) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("must be longer than no time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(parse("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("200ms").unwrap(), Duration::from_millis(200));
        for wrong in ["", "10", "soon", "0s", "-5s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
