//! Hexadecimal digits of signatures and callback tokens. Only lower-case digits are valid, so that each value has one spelling.

/// The value of each ASCII character as a digit, or [`INVALID`].
const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut value: u8 = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};
const DIGITS: &[u8; 16] = b"0123456789abcdef";
const INVALID: u8 = 0xff;

/// Decodes exactly `2 * N` lower-case digits.
#[must_use]
pub fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let (mut bytes, mut seen) = ([0; N], 0);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    // Digits are below 16. One test at the end is faster than two for each byte.
    (seen < 16).then_some(bytes)
}

/// Appends two lower-case digits for each byte.
pub fn encode_to(text: &mut Vec<u8>, bytes: &[u8]) {
    let start = text.len();
    // In place, which is faster than to append each pair.
    text.resize(start + 2 * bytes.len(), 0);
    for (pair, byte) in text[start..].chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_reverses_encode() {
        let all: [u8; 256] = std::array::from_fn(|byte| u8::try_from(byte).unwrap());
        let mut text = b"x".to_vec();
        encode_to(&mut text, &all);
        assert!(text.starts_with(b"x000102") && text.ends_with(b"fdfeff"), "{text:?}");
        assert_eq!(decode(&text[1..]), Some(all));
    }

    #[test]
    fn other_text_is_invalid() {
        for text in ["0", "000", "0G", "0A", "A0", "+1", " 1", "0\n", "\u{e9}"] {
            assert_eq!(decode::<1>(text.as_bytes()), None, "{text}");
        }
    }
}
