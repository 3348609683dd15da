use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
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

/// The fields of a request, in their order, and the option of Ollama that each has its value from.
const COUNTERPARTS: [(&str, &str); 11] = [
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("seed", "seed"),
    ("stop", "stop"),
    ("max_tokens", NUM_PREDICT),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    // Not OpenAI's own: fields of llama.cpp, vLLM and LM Studio.
    ("top_k", "top_k"),
    ("min_p", "min_p"),
    ("repeat_penalty", "repeat_penalty"),
    // The name that vLLM has for it.
    ("repetition_penalty", "repeat_penalty"),
];

const NUM_PREDICT: &str = "num_predict";

/// Options of a chat, as fields of its request.
pub(super) struct Options<'a>(Vec<(&'static str, &'a RawValue)>);

impl<'a> Options<'a> {
    /// Maps Ollama's options. An option that affects the response and has no counterpart is an error.
    pub(super) fn new(json: Option<&'a RawValue>) -> Result<Self, InvalidValue> {
        let Some(json) = json else { return Ok(Self(Vec::new())) };
        let mut given: BTreeMap<Cow<'_, str>, Option<&RawValue>> =
            serde_json::from_str(json.get()).map_err(|error| {
                InvalidValue::new("options", "must be an object of Ollama's options").with_source(error)
            })?;
        given.retain(|_, value| value.is_some());
        let is_known =
            |name: &str| COUNTERPARTS.iter().any(|(_, option)| *option == name) || RUNNER_OPTIONS.contains(&name);
        if let Some(unknown) = given.keys().find(|name| !is_known(name)) {
            return Err(no_counterpart("options", unknown));
        }
        if let Some(Some(num_predict)) = given.get(NUM_PREDICT)
            && !is_limit(num_predict)?
        {
            given.remove(NUM_PREDICT);
        }
        let value = |option: &str| given.get(option).copied().flatten();
        Ok(Self(COUNTERPARTS.into_iter().filter_map(|(field, option)| Some((field, value(option)?))).collect()))
    }
}

impl Serialize for Options<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// In Ollama, a number below one means no limit.
fn is_limit(num_predict: &RawValue) -> Result<bool, InvalidValue> {
    let limit: Number = serde_json::from_str(num_predict.get())
        .map_err(|error| InvalidValue::new("options", "num_predict must be a number").with_source(error))?;
    Ok(limit.as_f64().is_some_and(|number| number >= 1.0))
}
