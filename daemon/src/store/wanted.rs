use std::collections::BTreeSet;
use std::sync::Arc;

/// Which jobs a worker takes: those of the models that its backend has.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The backend. Each works on batches of its own, as long as there are enough.
    pub(crate) backend: usize,
    /// `None` means every model.
    pub(crate) models: Option<Arc<ModelNames>>,
}

/// Names of models. `llama3.2` and `llama3.2:latest` are the same, as in Ollama.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelNames(BTreeSet<Box<str>>);

impl Wanted {
    /// Whether a job of this model is one of them.
    pub(crate) fn accepts(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.contain(model))
    }

    #[cfg(test)]
    pub(crate) fn any() -> Self {
        Self { backend: 0, models: None }
    }
}

impl ModelNames {
    pub(crate) fn contain(&self, model: &str) -> bool {
        self.0.contains(without_latest(model))
    }

    /// All names that a job of one of the models may give. PostgreSQL has no text with NUL, and so no job.
    #[cfg(feature = "postgres")]
    pub(crate) fn spellings(&self) -> Vec<String> {
        let names = self.0.iter().filter(|name| !name.contains('\0'));
        names.flat_map(|name| [name.to_string(), format!("{name}:latest")]).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<S: AsRef<str>> FromIterator<S> for ModelNames {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(|name| without_latest(name.as_ref()).into()).collect())
    }
}

pub(super) fn without_latest(model: &str) -> &str {
    model.strip_suffix(":latest").unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_latest_is_the_default() {
        let names: ModelNames = ["a:latest", "b", "c:7b"].into_iter().collect();
        for (model, is_there) in [("a", true), ("a:latest", true), ("b:latest", true), ("c:7b", true), ("c", false)] {
            assert_eq!(names.contain(model), is_there, "{model}");
        }
        assert!(Wanted::any().accepts("d") && names.len() == 3);
    }
}
