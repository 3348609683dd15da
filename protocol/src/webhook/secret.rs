use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::signature::{Key, Signature};
use crate::InvalidValue;

/// Prefix of a Standard Webhooks secret. The key follows in base64.
const WHSEC: &str = "whsec_";

/// The secret that the daemon and the receiver of its webhooks share.
///
/// A secret is any text that is not empty. Its bytes are the HMAC key of both signatures, with one exception: if the text begins
/// with `whsec_`, the key for `webhook-signature` is the rest of the text, decoded from base64, as
/// [Standard Webhooks](https://www.standardwebhooks.com) defines.
///
/// ```
/// use foreman_protocol::webhook::Secret;
///
/// let secret = Secret::new("It's a Secret to Everybody")?;
/// assert_eq!(
///     secret.sign(b"Hello, World!"),
///     "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
/// );
/// # Ok::<(), foreman_protocol::InvalidValue>(())
/// ```
///
/// Cloning is cheap. `Debug` does not print the secret.
#[derive(Clone)]
pub struct Secret(Arc<Keys>);

struct Keys {
    /// For `X-Foreman-Signature`.
    foreman: Key,
    /// For `webhook-signature`.
    standard: Key,
}

impl Secret {
    /// Creates a secret. The text is used byte for byte; it is not trimmed.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for the option `webhook_secret` if the text is empty, or if it begins with `whsec_` and the rest is empty
    /// or not base64.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidValue> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidValue::new("webhook_secret", "must not be empty"));
        }
        let foreman = Key::new(text.as_bytes())?;
        let standard = match text.strip_prefix(WHSEC) {
            None => foreman.clone(),
            Some("") => return Err(InvalidValue::new("webhook_secret", "must not be empty after `whsec_`")),
            Some(code) => match STANDARD.decode(code) {
                Ok(key) => Key::new(&key)?,
                // Without the cause, which names a byte of the secret.
                Err(_) => return Err(InvalidValue::new("webhook_secret", "must be base64 after `whsec_`")),
            },
        };
        Ok(Self(Arc::new(Keys { foreman, standard })))
    }

    /// The value of `X-Foreman-Signature` for a body: `sha256=` and the HMAC-SHA256 of the body's bytes in lower-case
    /// hexadecimal.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        self.foreman_signature(body).to_hex()
    }

    /// The value of `webhook-signature` for a body, as Standard Webhooks defines it: `v1,` and the HMAC-SHA256 of
    /// `{id}.{timestamp}.{body}` in base64.
    ///
    /// `id` is the value of `webhook-id`. It must not contain `.`, since receivers reject such an id. `timestamp` is the value of
    /// `webhook-timestamp`: the time of the attempt, in seconds since the Unix epoch.
    #[must_use]
    pub fn sign_standard(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        self.standard_signature(id.as_bytes(), timestamp.to_string().as_bytes(), body).to_v1()
    }

    /// The expected signature in `X-Foreman-Signature`. Compare it by `Signature::matches`.
    #[must_use]
    pub fn foreman_signature(&self, body: &[u8]) -> Signature {
        self.0.foreman.sign(&[body])
    }

    /// The expected signature in `webhook-signature`. Compare it by `Signature::matches`.
    ///
    /// `id` and `timestamp` are the values of `webhook-id` and `webhook-timestamp` as received, since these bytes are signed.
    #[must_use]
    pub fn standard_signature(&self, id: &[u8], timestamp: &[u8], body: &[u8]) -> Signature {
        self.0.standard.sign(&[id, b".", timestamp, b".", body])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_or_malformed_secret_is_rejected() {
        for text in ["", "whsec_", "whsec_?", "whsec_a", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_ MfKQ"] {
            let error = Secret::new(text).unwrap_err();
            assert!(error.to_string().starts_with("invalid webhook_secret: must "), "{error}");
        }
        for text in ["a", " ", "whsec", "WHSEC_?", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            Secret::new(text).unwrap();
        }
    }

    #[test]
    fn signature_matches_example_of_github() {
        let secret = Secret::new("It's a Secret to Everybody").unwrap();
        let signature = secret.sign(b"Hello, World!");
        assert_eq!(signature, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn signature_matches_standard_webhooks_libraries() {
        let go = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            go.sign_standard("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        );
        let rust = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        assert_eq!(
            rust.sign_standard("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        );
    }

    #[test]
    fn foreman_signature_uses_text_with_whsec_prefix() {
        let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let as_text = Key::new(whsec.as_bytes()).unwrap().sign(&[b"body"]).to_hex();
        assert_eq!(Secret::new(whsec).unwrap().sign(b"body"), as_text);
    }

    #[test]
    fn debug_hides_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2").unwrap()), "Secret(…)");
    }
}
