use std::collections::HashSet;

use crate::ModelInfo;

/// The models that a daemon lists. Unknown until it has listed them once.
#[derive(Debug, Default)]
pub(super) struct Models(Option<HashSet<Box<str>>>);

impl Models {
    pub(super) fn listed(models: &[ModelInfo]) -> Self {
        Self(Some(models.iter().map(|model| name(&model.name).into()).collect()))
    }

    /// Whether it may have the model. One whose list is not known may.
    pub(super) fn may_have(&self, model: &str) -> bool {
        self.0.as_ref().is_none_or(|models| models.contains(name(model)))
    }

    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }
}

/// A name without a tag means the tag `latest`, as in Ollama.
fn name(model: &str) -> &str {
    model.strip_suffix(":latest").unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_list_may_have_any_model() {
        assert!(Models::default().may_have("m"));
        assert!(!Models::listed(&[]).may_have("m"));
    }

    #[test]
    fn tag_latest_is_the_same_as_none() {
        let models =
            Models::listed(&[ModelInfo::new("llama3.2:latest"), ModelInfo::new("qwen3:8b"), ModelInfo::new("m")]);
        for model in ["llama3.2", "llama3.2:latest", "qwen3:8b", "m", "m:latest"] {
            assert!(models.may_have(model), "{model}");
        }
        for model in ["llama3", "qwen3", "qwen3:latest", ""] {
            assert!(!models.may_have(model), "{model}");
        }
    }
}
