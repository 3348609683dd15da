use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;
use crate::json::raw;

/// One message of a conversation (an element of `messages` on the wire, in Ollama's shape).
///
/// It is the JSON text of an object, and goes to the daemon byte for byte; the helpers write the usual ones.
///
/// ```
/// # fn main() -> Result<(), foreman_protocol::InvalidValue> {
/// use foreman_protocol::Message;
///
/// let plain = Message::user("Why is the sky blue?");
/// let own = Message::from_json(r#"{ "role": "user", "content": "…", "x": 1.0 }"#)?;
/// assert_eq!(plain.as_json(), r#"{"role":"user","content":"Why is the sky blue?"}"#);
/// assert_eq!(own.as_json(), r#"{ "role": "user", "content": "…", "x": 1.0 }"#);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Message(Box<RawValue>);

impl Message {
    /// What the user says.
    #[must_use]
    pub fn user(content: impl AsRef<str>) -> Self {
        Self::of("user", content.as_ref())
    }

    /// What the model is told beforehand.
    #[must_use]
    pub fn system(content: impl AsRef<str>) -> Self {
        Self::of("system", content.as_ref())
    }

    /// What the model said before.
    #[must_use]
    pub fn assistant(content: impl AsRef<str>) -> Self {
        Self::of("assistant", content.as_ref())
    }

    /// What a tool gave.
    #[must_use]
    pub fn tool(content: impl AsRef<str>) -> Self {
        Self::of("tool", content.as_ref())
    }

    /// What the user says, with images; they are base64 on the wire.
    #[must_use]
    pub fn user_with_images<I>(content: impl AsRef<str>, images: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        use base64::Engine as _;
        let images = images.into_iter().map(|image| base64::engine::general_purpose::STANDARD.encode(image)).collect();
        Self::written(&Said { role: "user", content: content.as_ref(), images })
    }

    /// A message given as JSON text, kept byte for byte (but for white space around it).
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if it is not a JSON object.
    pub fn from_json(json: impl Into<String>) -> Result<Self, InvalidValue> {
        let json = RawValue::from_string(json.into())
            .map_err(|error| InvalidValue::new("messages", "a message is not JSON").with_source(error))?;
        Self::checked(json)
    }

    /// A message given as any value that is an object in JSON; a [`RawValue`] is kept byte for byte.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if it is not an object.
    pub fn from_value(value: &(impl Serialize + ?Sized)) -> Result<Self, InvalidValue> {
        Self::checked(raw("messages", value)?)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    fn checked(json: Box<RawValue>) -> Result<Self, InvalidValue> {
        if json.get().starts_with('{') {
            return Ok(Self(json));
        }
        Err(InvalidValue::new(
            "messages",
            format!("a message must be a JSON object, and this is {}", kind_of(json.get())),
        ))
    }

    fn of(role: &'static str, content: &str) -> Self {
        Self::written(&Said { role, content, images: Vec::new() })
    }

    #[expect(clippy::expect_used, reason = "a struct of strings is always JSON")]
    fn written(said: &Said<'_>) -> Self {
        Self(raw("messages", said).expect("strings are JSON"))
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::checked(Box::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
}

fn kind_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_no_object_is_refused_by_name() {
        for (json, what) in
            [("[]", "an array"), ("\"a\"", "a string"), ("null", "null"), ("true", "a boolean"), ("7", "a number")]
        {
            let error = Message::from_json(json).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid messages: a message must be a JSON object, and this is {what}")
            );
        }
        assert!(Message::from_json("{").unwrap_err().to_string().contains("not JSON"));
        assert_eq!(Message::from_value(&7).unwrap_err().field(), "messages");
        assert!(serde_json::from_str::<Message>("7").is_err());
    }

    #[test]
    fn images_are_base64() {
        let message = Message::user_with_images("what is it?", [b"hi"]);
        assert_eq!(message.as_json(), r#"{"role":"user","content":"what is it?","images":["aGk="]}"#);
    }

    #[test]
    fn json_is_kept_byte_for_byte() {
        let odd = r#"{"b":1.0e5,  "a":"\u00e4","a":2}"#;
        assert_eq!(Message::from_json(odd).unwrap().as_json(), odd);
        let array: Vec<Message> = serde_json::from_str(&format!("[{odd}]")).unwrap();
        assert_eq!(serde_json::to_string(&array).unwrap(), format!("[{odd}]"));
    }
}
