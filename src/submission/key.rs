use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderValue;
use uuid::Uuid;

use crate::Error;

/// The longest key, in characters.
const MAX_LEN: usize = 255;

/// The key of a submission (`Idempotency-Key` on the wire, draft-ietf-httpapi-idempotency-key-header): a UUID, unless
/// [`SubmitRequestBuilder::idempotency_key`](crate::SubmitRequestBuilder::idempotency_key) sets another.
///
/// A daemon that supports keys returns the same job for the same key. A key has 1 to 255 visible ASCII characters.
///
/// ```
/// # fn main() -> Result<(), foreman_client::Error> {
/// use foreman_client::IdempotencyKey;
///
/// let key: IdempotencyKey = "order-4711".parse()?;
/// assert_eq!(key.to_string(), "order-4711");
/// assert!("two words".parse::<IdempotencyKey>().is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Repr);

/// Most keys are UUIDs, which need no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Uuid(Uuid),
    /// Never the text of a UUID that the other variant can have.
    Text(Arc<str>),
}

impl IdempotencyKey {
    /// A new key. Version 7 is ordered by time, so that a daemon with a million stored keys appends a new one to its index.
    pub(crate) fn unique() -> Self {
        Self(Repr::Uuid(Uuid::now_v7()))
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.with_text(HeaderValue::from_str).ok()
    }

    /// Whether this is its text.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        self.with_text(|own| own.as_bytes() == text)
    }

    /// Without an allocation.
    fn with_text<R>(&self, read: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Repr::Uuid(uuid) => read(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Repr::Text(text) => read(text),
        }
    }
}

impl FromStr for IdempotencyKey {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::is_invalid`] for an empty key, one that is longer than 255 characters, and one with a space or a character that is not
    /// visible ASCII.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |reason| Err(Error::invalid("idempotency_key", reason));
        if text.is_empty() {
            return invalid("must not be empty");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return invalid("must consist of visible ASCII characters");
        }
        if text.len() > MAX_LEN {
            return invalid("must not be longer than 255 characters");
        }
        Ok(match Uuid::try_parse(text) {
            Ok(uuid) if uuid.to_string() == text => uuid.into(),
            _ => Self(Repr::Text(text.into())),
        })
    }
}

impl From<Uuid> for IdempotencyKey {
    fn from(uuid: Uuid) -> Self {
        Self(Repr::Uuid(uuid))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Uuid(uuid) => uuid.fmt(f),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii_of_bounded_length() {
        for valid in ["a", "!~", &"k".repeat(255), "01a21474-8287-7007-9e13-d47c71809d64"] {
            assert_eq!(valid.parse::<IdempotencyKey>().unwrap().to_string(), valid);
        }
        for (key, why) in [
            ("", "empty"),
            ("a b", "visible ASCII"),
            ("a\n", "visible ASCII"),
            ("ä", "visible ASCII"),
            (&"k".repeat(256), "255"),
        ] {
            let error = key.parse::<IdempotencyKey>().unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn header_is_the_text() {
        for text in ["order-4711", "01a21474-8287-7007-9e13-d47c71809d64"] {
            let key: IdempotencyKey = text.parse().unwrap();
            assert_eq!(key.header().unwrap(), text);
            assert!(key.is(text.as_bytes()) && !key.is(b"order-4712") && !key.is(b""));
        }
    }

    #[test]
    fn text_of_a_uuid_is_that_uuid() {
        let uuid = Uuid::now_v7();
        assert_eq!(uuid.to_string().parse::<IdempotencyKey>().unwrap(), IdempotencyKey::from(uuid));
        let upper = uuid.to_string().to_uppercase();
        assert_eq!(upper.parse::<IdempotencyKey>().unwrap().to_string(), upper);
    }

    #[test]
    fn unique_keys_are_ordered_by_time() {
        let keys = [(); 100].map(|()| IdempotencyKey::unique().to_string());
        assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
    }
}
