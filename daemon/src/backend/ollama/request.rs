use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{JobSpec, Message};

/// The body of `POST /api/chat`: the submission byte for byte, without the daemon's own fields. `stream` is always true.
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
    #[serde(flatten)]
    fields: &'a BTreeMap<String, Box<RawValue>>,
}

impl<'a> OllamaChatRequest<'a> {
    pub(super) fn new(spec: &'a JobSpec) -> Self {
        Self {
            model: spec.model(),
            messages: spec.messages(),
            stream: true,
            tools: spec.tools(),
            options: spec.options(),
            think: spec.think(),
            fields: &spec.fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chat, JobId};

    #[test]
    fn submission_is_sent_byte_for_byte() {
        let given = r#"{"model":"m","messages":[{"b":1.0,"a":"\u00e4"}],"stream":false,"tools":[ 1 ],"options":{"t":1e0},"think":"high","format":{ "b":1.0,"a":1e0 },"keep_alive":-1}"#;
        let chat = Chat::from_json(JobId::new("7").unwrap(), 1, given.as_bytes()).unwrap();
        let sent = serde_json::to_string(&OllamaChatRequest::new(chat.spec())).unwrap();
        assert_eq!(sent, given.replace("\"stream\":false", "\"stream\":true"));
    }
}
