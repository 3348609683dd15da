use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::signature::{Key, Signature};
use crate::InvalidValue;

/// How the text of a Standard Webhooks secret begins; the rest is the key in base64.
const WHSEC: &str = "whsec_";

/// What the daemon and the receiver both know, and by which an event is known to be the daemon's.
///
/// Any text that is not empty; its bytes are the key. A text that begins with `whsec_`, as those of
/// [Standard Webhooks](https://www.standardwebhooks.com) do, is taken the same way for `X-Foreman-Signature`, and stands for
/// the base64-decoded rest of it for `webhook-signature`.
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
/// Cloning is cheap, and `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Arc<Keys>);

struct Keys {
    /// For `X-Foreman-Signature`.
    foreman: Key,
    /// For `webhook-signature`.
    standard: Key,
}

impl Secret {
    /// Takes the text of a secret, byte for byte: blanks and line ends are part of it.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for an empty text, and for `whsec_` before what is empty or not base64.
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
                // The cause is left out: it would name a byte of the secret.
                Err(_) => return Err(InvalidValue::new("webhook_secret", "must be base64 after `whsec_`")),
            },
        };
        Ok(Self(Arc::new(Keys { foreman, standard })))
    }

    /// The value of `X-Foreman-Signature` for a body: `sha256=` and the HMAC-SHA256 of the bytes as they are sent, in lower
    /// case hexadecimal.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        self.foreman(body).to_hex()
    }

    /// The value of `webhook-signature` for a body, as of Standard Webhooks: `v1,` and the HMAC-SHA256 of
    /// `{id}.{timestamp}.{body}` in base64.
    ///
    /// `id` is the value of `webhook-id`, the same at each attempt to deliver one event, and without `.`, since receivers
    /// refuse such a one; `timestamp` is the value of `webhook-timestamp`, the time of this attempt in seconds since the Unix
    /// epoch.
    #[must_use]
    pub fn sign_standard(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        self.standard(id.as_bytes(), timestamp.to_string().as_bytes(), body).to_v1()
    }

    /// The signature for `X-Foreman-Signature`, to be compared with the one that came.
    #[must_use]
    pub fn foreman(&self, body: &[u8]) -> Signature {
        self.0.foreman.sign(&[body])
    }

    /// The signature for `webhook-signature`, to be compared with those that came. It takes the timestamp as it was sent, so that
    /// what is verified is what was signed.
    #[must_use]
    pub fn standard(&self, id: &[u8], timestamp: &[u8], body: &[u8]) -> Signature {
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
    fn an_empty_or_broken_secret_is_refused() {
        for text in ["", "whsec_", "whsec_?", "whsec_a", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_ MfKQ"] {
            let error = Secret::new(text).unwrap_err();
            assert!(error.to_string().starts_with("invalid webhook_secret: must "), "{error}");
        }
        for text in ["a", " ", "whsec", "WHSEC_?", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            Secret::new(text).unwrap();
        }
    }

    #[test]
    fn signs_as_github_documents_it() {
        let secret = Secret::new("It's a Secret to Everybody").unwrap();
        let signature = secret.sign(b"Hello, World!");
        assert_eq!(signature, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn signs_as_the_libraries_of_standard_webhooks_do() {
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
    fn foreman_signs_under_the_text_whatever_it_begins_with() {
        let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let as_text = Key::new(whsec.as_bytes()).unwrap().sign(&[b"body"]).to_hex();
        assert_eq!(Secret::new(whsec).unwrap().sign(b"body"), as_text);
    }

    #[test]
    fn shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2").unwrap()), "Secret(…)");
    }
}
