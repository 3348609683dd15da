use std::fmt;
use std::num::NonZeroU64;

/// The last segment of a callback URL: 128 random bits, which identify a submission and are known to its daemon only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallbackToken {
    /// Never zero, so that an `Option` takes no further space: there is one for each waiting job.
    high: NonZeroU64,
    low: u64,
}

impl CallbackToken {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        loop {
            // The loop repeats once in 2^64 times.
            if let Some(high) = NonZeroU64::new(getrandom::u64()?) {
                return Ok(Self { high, low: getrandom::u64()? });
            }
        }
    }

    /// Reads the format that [`Display`](fmt::Display) writes and no other: each token has one spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (high, low) = if hex { text.split_at(16) } else { return None };
        let [high, low] = [high, low].map(|half| u64::from_str_radix(half, 16).ok());
        Some(Self { high: NonZeroU64::new(high?)?, low: low? })
    }
}

impl fmt::Display for CallbackToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

/// A token is a secret: logs show nothing of it.
impl fmt::Debug for CallbackToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_takes_only_the_displayed_spelling() {
        let token = CallbackToken::random().unwrap();
        assert_eq!(CallbackToken::parse(&token.to_string()), Some(token));
        let text = "0000000000000abc0000000000000def";
        assert_eq!(CallbackToken::parse(text).unwrap().to_string(), text);
        let zero_half = "0".repeat(16) + &text[16..];
        for other in
            ["", "abc", &text.to_uppercase(), &text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), &zero_half]
        {
            assert_eq!(CallbackToken::parse(other), None, "{other}");
        }
        assert_eq!(format!("{token:?}"), "CallbackToken(…)");
        assert_eq!(size_of::<Option<CallbackToken>>(), 16);
    }
}
