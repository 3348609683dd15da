use std::fmt;

/// 128 random bits that stand at the end of a callback URL: whoever knows them was told by us.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token([u8; 16]);

impl Token {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self(bits))
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else: one spelling for each token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex { u128::from_str_radix(text, 16).ok().map(|bits| Self(bits.to_be_bytes())) } else { None }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A token is a secret: logs show none of it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let token = Token::random().unwrap();
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        let text = Token(0xabc_u128.to_be_bytes()).to_string();
        assert_eq!(text, "00000000000000000000000000000abc");
        for odd in ["", "abc", &text.to_uppercase(), &text[1..], &format!("{text}0"), &format!("+{}", &text[1..])] {
            assert_eq!(Token::parse(odd), None, "{odd}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
