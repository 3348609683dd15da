use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;

/// Ollama's `think`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Think {
    Switch(bool),
    Level(String),
}

/// Whether and how much a model thinks, as fields of a request.
#[derive(Default, Serialize)]
pub(super) struct Thinking {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<String>,
    /// Not OpenAI's own: variables of the chat template, in llama.cpp and vLLM.
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template_kwargs: Option<ChatTemplateVariables>,
}

#[derive(Serialize)]
struct ChatTemplateVariables {
    enable_thinking: bool,
}

impl Thinking {
    pub(super) fn new(think: Option<&RawValue>) -> Result<Self, InvalidValue> {
        let Some(think) = think else { return Ok(Self::default()) };
        let think = serde_json::from_str(think.get()).map_err(|error| {
            InvalidValue::new("think", "must be a boolean or a level such as \"high\"").with_source(error)
        })?;
        Ok(match think {
            Think::Switch(enable_thinking) => {
                let chat_template_kwargs = Some(ChatTemplateVariables { enable_thinking });
                Self { reasoning_effort: None, chat_template_kwargs }
            }
            Think::Level(level) => Self { reasoning_effort: Some(level), chat_template_kwargs: None },
        })
    }
}
