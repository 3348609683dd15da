use serde::Serialize;
use serde_json::value::RawValue;

use crate::Chat;
use crate::Message;

/// The body of `POST /api/chat`: the submission byte for byte, except that `stream` is always true.
#[derive(Serialize)]
pub(super) struct OllamaChatRequest<'a> {
    model: &'a str,
    messages: &'a [Message],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<&'a RawValue>,
}

impl<'a> OllamaChatRequest<'a> {
    pub(super) fn new(chat: &'a Chat) -> Self {
        Self {
            model: chat.model(),
            messages: chat.messages(),
            stream: true,
            tools: chat.tools(),
            options: chat.options(),
            think: chat.think(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobId;

    #[test]
    fn submission_is_sent_byte_for_byte() {
        let given = r#"{"model":"m","messages":[{"b":1.0,"a":"\u00e4"}],"stream":false,"tools":[ 1 ],"options":{"t":1e0},"think":"high"}"#;
        let chat = Chat::from_json(JobId::new("7").unwrap(), 1, given.as_bytes()).unwrap();
        let sent = serde_json::to_string(&OllamaChatRequest::new(&chat)).unwrap();
        assert_eq!(sent, given.replace("\"stream\":false", "\"stream\":true"));
    }
}
