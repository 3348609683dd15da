use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::InvalidValue;

/// How the value of `X-Foreman-Signature` begins.
const HEX: &str = "sha256=";
/// How a signature of Standard Webhooks begins that is made with a shared secret.
const V1: &str = "v1,";

/// An HMAC-SHA256 that has its key and waits for a message.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(key: &[u8]) -> Result<Self, InvalidValue> {
        // HMAC takes keys of every length, so this says no to none; an empty one is the caller's to refuse.
        let keyed = Hmac::new_from_slice(key).map_err(|_| InvalidValue::new("webhook_secret", "cannot be a key"))?;
        Ok(Self(keyed))
    }

    /// Signs the parts as one message.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> Signature {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        Signature(mac.finalize().into_bytes().into())
    }
}

/// The 32 bytes of a signature, ours or theirs. It has no `==`: [`matches`](Self::matches) takes the same time wherever the
/// difference is.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads `sha256=HEX`, in the one spelling that [`to_hex`](Self::to_hex) has.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let digits = text.strip_prefix(HEX.as_bytes())?;
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// Reads `v1,BASE64`, in the one spelling that [`to_v1`](Self::to_v1) has.
    #[must_use]
    pub fn from_v1(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 33];
        match STANDARD.decode_slice(text.strip_prefix(V1.as_bytes())?, &mut bytes) {
            Ok(32) => bytes.first_chunk().copied().map(Self),
            _ => None,
        }
    }

    /// Writes `sha256=HEX`, in lower case.
    #[must_use]
    pub fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| DIGITS[usize::from(nibble)]);
        HEX.chars().chain(digits.map(char::from)).collect()
    }

    /// Writes `v1,BASE64`.
    #[must_use]
    pub fn to_v1(self) -> String {
        format!("{V1}{}", STANDARD.encode(self.0))
    }

    /// Whether both are the same, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// The value of one digit, in lower case only.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, cases 1 to 7. Case 5 gives the first 128 bits only.
    #[test]
    fn signs_as_rfc_4231_does() {
        let counted: Vec<u8> = (1..=25).collect();
        let long_key = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let long_both = b"This is a test using a larger than block-size key and a larger than block-size data. \
            The key needs to be hashed before being used by the HMAC algorithm.";
        let cases: [(&[u8], &[u8], &str); 7] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (&counted, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (&[0x0c; 20], b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
            (&[0xaa; 131], long_key, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (&[0xaa; 131], long_both, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ];
        for (case, (key, message, hex)) in (1..).zip(cases) {
            let signature = Key::new(key).unwrap().sign(&[message]);
            assert!(signature.to_hex().starts_with(&format!("sha256={hex}")), "case {case}");
            let halves = message.split_at(message.len() / 2);
            assert!(signature.matches(&Key::new(key).unwrap().sign(&[halves.0, halves.1])), "case {case} in two parts");
        }
    }

    #[test]
    fn reads_the_spellings_it_writes_and_no_others() {
        let signature = Key::new(b"key").unwrap().sign(&[b"message"]);
        let (hex, v1) = (signature.to_hex(), signature.to_v1());
        assert!(Signature::from_hex(hex.as_bytes()).unwrap().matches(&signature));
        assert!(Signature::from_v1(v1.as_bytes()).unwrap().matches(&signature));

        let digits = hex.strip_prefix("sha256=").unwrap();
        let upper = format!("sha256={}", digits.to_uppercase());
        let longer = format!("{hex}00");
        for odd in ["", "sha256=", digits, &upper, &hex[..hex.len() - 1], &hex[..hex.len() - 2], &longer, &v1] {
            assert!(Signature::from_hex(odd.as_bytes()).is_none(), "{odd}");
        }
        let code = v1.strip_prefix("v1,").unwrap();
        let unpadded = v1.trim_end_matches('=');
        for odd in
            ["", "v1", "v1,", code, unpadded, &format!("V1,{code}"), &format!("v2,{code}"), &format!("{v1}AA=="), &hex]
        {
            assert!(Signature::from_v1(odd.as_bytes()).is_none(), "{odd}");
        }
    }
}
