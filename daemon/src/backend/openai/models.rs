use jiff::Timestamp;
use serde::Deserialize;

use crate::ModelInfo;

/// The response to `GET /v1/models`.
#[derive(Deserialize)]
pub(super) struct OpenAiModels {
    data: Vec<OpenAiModel>,
}

#[derive(Deserialize)]
struct OpenAiModel {
    id: String,
    /// In seconds since 1970.
    #[serde(default)]
    created: Option<i64>,
}

impl From<OpenAiModels> for Vec<ModelInfo> {
    fn from(models: OpenAiModels) -> Self {
        models.data.into_iter().map(ModelInfo::from).collect()
    }
}

impl From<OpenAiModel> for ModelInfo {
    fn from(model: OpenAiModel) -> Self {
        let mut info = Self::new(model.id);
        info.modified_at = model.created.and_then(|seconds| Timestamp::from_second(seconds).ok());
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_map_to_ollama() {
        let json = r#"{"object":"list","data":[{"id":"a","created":60},{"id":"b","created":9223372036854775807}]}"#;
        let models: Vec<ModelInfo> = serde_json::from_str::<OpenAiModels>(json).unwrap().into();
        assert_eq!((models[0].name.as_str(), models[0].model.as_str()), ("a", "a"));
        assert_eq!(models[0].modified_at.unwrap().to_string(), "1970-01-01T00:01:00Z");
        assert_eq!((models[1].name.as_str(), models[1].modified_at), ("b", None));
    }
}
