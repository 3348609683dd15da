use std::fmt;
use std::time::Duration;

/// A duration as a message has it: `40 ms`, `2.5 s`, `3 s`, `1 min 30 s`, `2 h`.
///
/// It is rounded to a millisecond below 1 s, to a tenth of a second below 1 min, and else to a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let (millis, tenths, seconds) = (round(micros, 1_000), round(micros, 100_000), round(micros, 1_000_000));
        if micros == 0 {
            return f.write_str("0 s");
        }
        if millis < 1_000 {
            return write!(f, "{} ms", millis.max(1));
        }
        if tenths < 600 {
            return match tenths % 10 {
                0 => write!(f, "{} s", tenths / 10),
                tenth => write!(f, "{}.{tenth} s", tenths / 10),
            };
        }
        let mut space = "";
        for (number, unit) in [(seconds / 3_600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")] {
            if number > 0 {
                write!(f, "{space}{number} {unit}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

fn round(micros: u128, unit: u128) -> u128 {
    micros.saturating_add(unit / 2) / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_rounded_as_people_do() {
        for (micros, expected) in [
            (0, "0 s"),
            (1, "1 ms"),
            (20_499, "20 ms"),
            (999_499, "999 ms"),
            (999_500, "1 s"),
            (2_500_000, "2.5 s"),
            (2_999_515, "3 s"),
            (59_949_999, "59.9 s"),
            (59_950_000, "1 min"),
            (90_000_000, "1 min 30 s"),
            (3_599_500_000, "1 h"),
            (3_661_000_000, "1 h 1 min 1 s"),
            (7_230_000_000, "2 h 30 s"),
        ] {
            assert_eq!(HumanDuration(Duration::from_micros(micros)).to_string(), expected, "{micros}");
        }
        assert!(HumanDuration(Duration::MAX).to_string().ends_with(" h 16 s"), "{}", HumanDuration(Duration::MAX));
    }
}
