use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;
use crate::json::raw;

/// A message of a chat (an element of `messages` in `POST /jobs`, in the shape of Ollama's `POST /api/chat`).
///
/// A message is the text of a JSON object, which is sent byte for byte. The constructors named after roles write `role`,
/// `content` and `images`; [`from_json`](Self::from_json) and [`from_value`](Self::from_value) take any object.
///
/// ```
/// # fn main() -> Result<(), foreman_protocol::InvalidValue> {
/// use foreman_protocol::Message;
///
/// let text = Message::user("Hello");
/// assert_eq!(text.as_json(), r#"{"role":"user","content":"Hello"}"#);
///
/// let json = r#"{ "role": "user", "content": "…", "x": 1.0 }"#;
/// assert_eq!(Message::from_json(json)?.as_json(), json);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Message(Box<RawValue>);

impl Message {
    /// A message with the role `user`.
    #[must_use]
    pub fn user(content: impl AsRef<str>) -> Self {
        Self::with_role("user", content.as_ref())
    }

    /// A message with the role `system`: instructions to the model.
    #[must_use]
    pub fn system(content: impl AsRef<str>) -> Self {
        Self::with_role("system", content.as_ref())
    }

    /// A message with the role `assistant`: an earlier response of the model.
    #[must_use]
    pub fn assistant(content: impl AsRef<str>) -> Self {
        Self::with_role("assistant", content.as_ref())
    }

    /// A message with the role `tool`: the output of a tool.
    #[must_use]
    pub fn tool(content: impl AsRef<str>) -> Self {
        Self::with_role("tool", content.as_ref())
    }

    /// A message with the role `user` and with images (`images`, base64 on the wire).
    #[must_use]
    pub fn user_with_images<I>(content: impl AsRef<str>, images: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        use base64::Engine as _;
        let images = images.into_iter().map(|image| base64::engine::general_purpose::STANDARD.encode(image)).collect();
        Self::serialize_fields(&Fields { role: "user", content: content.as_ref(), images })
    }

    /// Creates a message from JSON text. Leading and trailing white space is removed, and the rest is kept byte for byte.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for the field `messages` if the text is not a JSON object.
    pub fn from_json(json: impl Into<String>) -> Result<Self, InvalidValue> {
        let json = RawValue::from_string(json.into())
            .map_err(|error| InvalidValue::new("messages", "a message is not JSON").with_source(error))?;
        Self::from_raw(json)
    }

    /// Creates a message from a value that serializes as a JSON object. A [`RawValue`] is kept byte for byte.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for the field `messages` if the value does not serialize as a JSON object.
    pub fn from_value(value: &(impl Serialize + ?Sized)) -> Result<Self, InvalidValue> {
        Self::from_raw(raw("messages", value)?)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    fn from_raw(json: Box<RawValue>) -> Result<Self, InvalidValue> {
        if json.get().starts_with('{') {
            return Ok(Self(json));
        }
        Err(InvalidValue::new("messages", format!("a message must be a JSON object, not {}", kind_of(json.get()))))
    }

    fn with_role(role: &'static str, content: &str) -> Self {
        Self::serialize_fields(&Fields { role, content, images: Vec::new() })
    }

    #[expect(clippy::expect_used, reason = "a struct of strings is always JSON")]
    fn serialize_fields(fields: &Fields<'_>) -> Self {
        Self(raw("messages", fields).expect("strings are JSON"))
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_raw(Box::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize)]
struct Fields<'a> {
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
    fn message_that_is_not_an_object_is_rejected() {
        for (json, kind) in
            [("[]", "an array"), ("\"a\"", "a string"), ("null", "null"), ("true", "a boolean"), ("7", "a number")]
        {
            let error = Message::from_json(json).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid messages: a message must be a JSON object, not {kind}"));
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
        let json = r#"{"b":1.0e5,  "a":"\u00e4","a":2}"#;
        assert_eq!(Message::from_json(json).unwrap().as_json(), json);
        let array: Vec<Message> = serde_json::from_str(&format!("[{json}]")).unwrap();
        assert_eq!(serde_json::to_string(&array).unwrap(), format!("[{json}]"));
    }
}
