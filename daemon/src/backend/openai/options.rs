use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::request::no_counterpart;
use crate::InvalidValue;

/// Ollama's options for how a server runs a model. A server with OpenAI's API has them from its start, and they do not affect a
/// response that fits into the context.
const RUNNER_OPTIONS: [&str; 11] = [
    "num_ctx",
    "num_keep",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "use_mmap",
    "use_mlock",
    "low_vram",
    "f16_kv",
    "numa",
];

/// Options of a chat, as fields of its request.
#[derive(Default, Serialize)]
pub(super) struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<&'a RawValue>,
    // Not OpenAI's own: fields of llama.cpp, vLLM and LM Studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_penalty: Option<&'a RawValue>,
    /// The name that vLLM has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<&'a RawValue>,
}

impl<'a> Options<'a> {
    /// Maps Ollama's options. An option that affects the response and has no counterpart is an error.
    pub(super) fn new(json: Option<&'a RawValue>) -> Result<Self, InvalidValue> {
        let mut options = Self::default();
        let Some(json) = json else { return Ok(options) };
        let given: BTreeMap<Cow<'_, str>, Option<&RawValue>> = serde_json::from_str(json.get()).map_err(|error| {
            InvalidValue::new("options", "must be an object of Ollama's options").with_source(error)
        })?;
        for (name, value) in given {
            let Some(value) = value else { continue };
            let option = match &*name {
                "temperature" => &mut options.temperature,
                "top_p" => &mut options.top_p,
                "seed" => &mut options.seed,
                "stop" => &mut options.stop,
                "num_predict" => {
                    options.max_tokens = max_tokens(value)?;
                    continue;
                }
                "presence_penalty" => &mut options.presence_penalty,
                "frequency_penalty" => &mut options.frequency_penalty,
                "top_k" => &mut options.top_k,
                "min_p" => &mut options.min_p,
                "repeat_penalty" => {
                    options.repetition_penalty = Some(value);
                    &mut options.repeat_penalty
                }
                name if RUNNER_OPTIONS.contains(&name) => continue,
                name => return Err(no_counterpart("options", name)),
            };
            *option = Some(value);
        }
        Ok(options)
    }
}

/// In Ollama, a number below one means no limit.
fn max_tokens(num_predict: &RawValue) -> Result<Option<Number>, InvalidValue> {
    let limit: Number = serde_json::from_str(num_predict.get())
        .map_err(|error| InvalidValue::new("options", "num_predict must be a number").with_source(error))?;
    Ok(limit.as_f64().is_some_and(|number| number >= 1.0).then_some(limit))
}
