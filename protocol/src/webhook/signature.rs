use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::hex;
use crate::InvalidValue;

/// Prefix of the value of `X-Foreman-Signature`.
const HEX: &str = "sha256=";
/// Prefix of a Standard Webhooks signature that is made with a shared secret.
const V1: &str = "v1,";

/// HMAC-SHA256, initialized with a key.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(key: &[u8]) -> Result<Self, InvalidValue> {
        // HMAC accepts keys of every length, so this does not fail. The caller rejects an empty key.
        let keyed =
            Hmac::new_from_slice(key).map_err(|_| InvalidValue::new("webhook_secret", "cannot be used as a key"))?;
        Ok(Self(keyed))
    }

    /// Signs the concatenation of the parts.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> Signature {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        Signature(mac.finalize().into_bytes().into())
    }
}

/// A signature of a webhook, 32 bytes. There is no `==`, since its duration depends on the position of the first difference;
/// [`matches`](Self::matches) takes constant time.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Parses `sha256=HEX`, the format of `X-Foreman-Signature`. Returns `None` for any other text, also for upper-case digits.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        hex::decode(text.strip_prefix(HEX.as_bytes())?).map(Self)
    }

    /// Parses `v1,BASE64`, the format of one signature in `webhook-signature`. Returns `None` for any other text, also for base64
    /// without padding.
    #[must_use]
    pub fn from_v1(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 33];
        match STANDARD.decode_slice(text.strip_prefix(V1.as_bytes())?, &mut bytes) {
            Ok(32) => bytes.first_chunk().copied().map(Self),
            _ => None,
        }
    }

    /// Formats the signature as `sha256=HEX`, in lower case.
    #[must_use]
    pub fn to_hex(self) -> String {
        let mut text = HEX.as_bytes().to_vec();
        hex::encode_to(&mut text, &self.0);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Formats the signature as `v1,BASE64`.
    #[must_use]
    pub fn to_v1(self) -> String {
        format!("{V1}{}", STANDARD.encode(self.0))
    }

    /// Whether both signatures are equal. The comparison takes constant time.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, cases 1 to 7. Case 5 has the first 128 bits only.
    #[test]
    fn signatures_match_rfc_4231() {
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
    fn only_written_formats_are_parsed() {
        let signature = Key::new(b"key").unwrap().sign(&[b"message"]);
        let (hex, v1) = (signature.to_hex(), signature.to_v1());
        assert!(Signature::from_hex(hex.as_bytes()).unwrap().matches(&signature));
        assert!(Signature::from_v1(v1.as_bytes()).unwrap().matches(&signature));

        let digits = hex.strip_prefix("sha256=").unwrap();
        let upper = format!("sha256={}", digits.to_uppercase());
        let longer = format!("{hex}00");
        for invalid in ["", "sha256=", digits, &upper, &hex[..hex.len() - 1], &hex[..hex.len() - 2], &longer, &v1] {
            assert!(Signature::from_hex(invalid.as_bytes()).is_none(), "{invalid}");
        }
        let code = v1.strip_prefix("v1,").unwrap();
        let unpadded = v1.trim_end_matches('=');
        for invalid in
            ["", "v1", "v1,", code, unpadded, &format!("V1,{code}"), &format!("v2,{code}"), &format!("{v1}AA=="), &hex]
        {
            assert!(Signature::from_v1(invalid.as_bytes()).is_none(), "{invalid}");
        }
    }
}
