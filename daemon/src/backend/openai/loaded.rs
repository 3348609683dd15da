use serde::Deserialize;

/// The response of llama-swap to `GET /running`.
#[derive(Deserialize)]
pub(super) struct LlamaSwapRunning {
    running: Vec<LlamaSwapModel>,
}

#[derive(Deserialize)]
struct LlamaSwapModel {
    model: String,
    state: String,
}

/// The response of LM Studio to `GET /api/v0/models`.
#[derive(Deserialize)]
pub(super) struct LmStudioModels {
    data: Vec<LmStudioModel>,
}

#[derive(Deserialize)]
struct LmStudioModel {
    id: String,
    state: String,
}

/// The response of llama.cpp to `GET /models`, if it is a router for several models. Otherwise they have no status.
#[derive(Deserialize)]
pub(super) struct LlamaCppModels {
    data: Vec<LlamaCppModel>,
}

#[derive(Deserialize)]
struct LlamaCppModel {
    id: String,
    status: LlamaCppStatus,
}

#[derive(Deserialize)]
struct LlamaCppStatus {
    value: String,
}

impl From<LlamaSwapRunning> for Vec<String> {
    fn from(response: LlamaSwapRunning) -> Self {
        // One that is being loaded is as good: the others are `stopping` and `stopped`.
        let stays = |model: &LlamaSwapModel| ["ready", "starting"].contains(&&*model.state);
        response.running.into_iter().filter(stays).map(|model| model.model).collect()
    }
}

impl From<LmStudioModels> for Vec<String> {
    fn from(response: LmStudioModels) -> Self {
        response.data.into_iter().filter(|model| model.state == "loaded").map(|model| model.id).collect()
    }
}

impl From<LlamaCppModels> for Vec<String> {
    fn from(response: LlamaCppModels) -> Self {
        // One that sleeps is not in memory.
        let stays = |model: &LlamaCppModel| ["loaded", "loading"].contains(&&*model.status.value);
        response.data.into_iter().filter(stays).map(|model| model.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_in_memory_are_loaded() {
        let json = r#"{"running":[{"model":"a","state":"ready"},{"model":"b","state":"starting"},{"model":"c","state":"stopping"},
            {"model":"d","state":"stopped"}]}"#;
        assert_eq!(Vec::from(serde_json::from_str::<LlamaSwapRunning>(json).unwrap()), ["a", "b"]);
        let json =
            r#"{"object":"list","data":[{"id":"a","type":"llm","state":"not-loaded"},{"id":"b","state":"loaded"}]}"#;
        assert_eq!(Vec::from(serde_json::from_str::<LmStudioModels>(json).unwrap()), ["b"]);
        let json = r#"{"data":[{"id":"a","status":{"value":"loaded","args":[]}},{"id":"b","status":{"value":"sleeping"}},
            {"id":"c","status":{"value":"loading"}},{"id":"d","status":{"value":"unloaded","failed":true,"exit_code":1}}]}"#;
        assert_eq!(Vec::from(serde_json::from_str::<LlamaCppModels>(json).unwrap()), ["a", "c"]);
    }

    #[test]
    fn other_response_is_none_of_them() {
        // LM Studio responds so, with status 200, at an address that it does not know.
        let json = r#"{"error":"Unexpected endpoint or method. (GET /running)"}"#;
        assert!(serde_json::from_str::<LlamaSwapRunning>(json).is_err());
        assert!(serde_json::from_str::<LmStudioModels>(json).is_err());
        // llama.cpp with one model.
        let json = r#"{"object":"list","data":[{"id":"a","object":"model","created":60,"owned_by":"llamacpp"}]}"#;
        assert!(serde_json::from_str::<LlamaCppModels>(json).is_err());
    }
}
