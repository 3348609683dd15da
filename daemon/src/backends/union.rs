use crate::ModelInfo;

/// The models of several backends, each once, with those that have it.
#[derive(Debug)]
pub(super) struct Union {
    models: Vec<ModelInfo>,
    /// Whether this daemon has several backends. Those of the only daemon are named only then.
    are_several: bool,
}

impl Union {
    pub(super) fn new(are_several: bool) -> Self {
        Self { models: Vec::new(), are_several }
    }

    /// `of_box`: the name of the daemon, if several share the queue. Names of backends are unique for one daemon only.
    pub(super) fn add(&mut self, mut model: ModelInfo, backend: &str, of_box: Option<&str>, is_loaded: bool) {
        let backend = of_box.map_or_else(|| backend.to_owned(), |name| format!("{name}/{backend}"));
        let loaded = is_loaded.then(|| backend.clone());
        let backend = Some(backend).filter(|_| of_box.is_some() || self.are_several);
        let boxes = of_box.map(str::to_owned);
        if backend.is_some()
            && let Some(other) = self.models.iter_mut().find(|other| other.name == model.name)
        {
            other.backends.extend(backend);
            other.boxes.extend(boxes.filter(|name| !other.boxes.contains(name)));
            other.loaded.extend(loaded);
            return;
        }
        (model.backends, model.boxes) = (backend.into_iter().collect(), boxes.into_iter().collect());
        model.loaded = loaded.into_iter().collect();
        self.models.push(model);
    }

    pub(super) fn into_models(self) -> Vec<ModelInfo> {
        self.models
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(union: Union, all: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let mut union = union;
        all.iter().for_each(|(model, backend, of_box)| union.add(ModelInfo::new(*model), backend, *of_box, false));
        let line =
            |model: ModelInfo| format!("{} [{}] [{}]", model.name, model.backends.join(" "), model.boxes.join(" "));
        union.into_models().into_iter().map(line).collect()
    }

    #[test]
    fn backends_are_named_if_there_are_others() {
        let alone = [("a", "gpu", None), ("b", "gpu", None)];
        assert_eq!(added(Union::new(false), &alone), ["a [] []", "b [] []"]);
        let several = [("a", "one", None), ("a", "two", None)];
        assert_eq!(added(Union::new(true), &several), ["a [one two] []"]);
    }

    #[test]
    fn backend_that_has_the_model_loaded_is_named_also_if_it_is_the_only_one() {
        let mut union = Union::new(false);
        union.add(ModelInfo::new("a"), "gpu", None, true);
        assert_eq!(union.into_models()[0].loaded, ["gpu"]);
        let mut union = Union::new(true);
        for (backend, of_box, is_loaded) in [("one", None, false), ("two", None, true), ("one", Some("x"), true)] {
            union.add(ModelInfo::new("a"), backend, of_box, is_loaded);
        }
        assert_eq!(union.into_models()[0].loaded, ["two", "x/one"]);
    }

    #[test]
    fn model_has_each_daemon_once() {
        let fleet =
            [("a", "one", Some("x")), ("a", "two", Some("x")), ("b", "one", Some("x")), ("a", "one", Some("y"))];
        for are_several in [false, true] {
            assert_eq!(added(Union::new(are_several), &fleet), ["a [x/one x/two y/one] [x y]", "b [x/one] [x]"]);
        }
    }
}
