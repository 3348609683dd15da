use foreman_client::{BoxBackend, BoxInfo};
use jiff::{RoundMode, TimestampRound, Unit};

use crate::exit::Failure;
use crate::{escape, output};

/// Prints daemons as a table.
pub(super) fn print(boxes: &[BoxInfo]) -> Result<(), Failure> {
    let rows: Vec<_> = boxes.iter().map(row).collect();
    output::table(&["ID", "NAME", "STATE", "RUNNING", "LEASE", "STARTED", "ANSWERS", "MODELS"], &rows)
}

fn row(one: &BoxInfo) -> Vec<String> {
    let seconds = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
    let started = one.started_at.and_then(|at| at.round(seconds).ok());
    vec![
        escape::single_line(&one.id),
        escape::single_line(&one.name),
        if one.draining { "draining" } else { "active" }.to_owned(),
        one.running_jobs.to_string(),
        one.lease_seconds.map(|seconds| format!("{seconds:.0}s")).unwrap_or_default(),
        started.map(|at| at.to_string()).unwrap_or_default(),
        if one.answering { "yes" } else { "" }.to_owned(),
        escape::single_line(&models(&one.backends)),
    ]
}

/// The models of each backend, whose name is left out if there is no other. Unknown ones are a question mark, and loaded ones have a star.
fn models(backends: &[BoxBackend]) -> String {
    let names = |backend: &BoxBackend| {
        let is_loaded = |name: &String| backend.loaded.iter().flatten().any(|loaded| loaded == name);
        let marked = |name: &String| if is_loaded(name) { format!("{name}*") } else { name.clone() };
        let marked = |names: &Vec<String>| names.iter().map(marked).collect::<Vec<_>>().join(",");
        let names = backend.models.as_ref().map_or_else(|| "?".to_owned(), marked);
        if backend.unavailable { format!("{names} (unavailable)") } else { names }
    };
    match backends {
        [] => "?".to_owned(),
        [only] => names(only),
        several => {
            let each: Vec<_> = several.iter().map(|backend| format!("{}:{}", backend.name, names(backend))).collect();
            each.join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_those_of_each_backend() {
        let backend = |name: &str, models: Option<&[&str]>| {
            BoxBackend::new(name, models.map(|models| models.iter().map(|&name| name.to_owned()).collect()))
        };
        let unavailable = |mut backend: BoxBackend| {
            backend.unavailable = true;
            backend
        };
        for (backends, expected) in [
            (vec![], "?"),
            (vec![backend("a", None)], "?"),
            (vec![backend("a", Some(&["m", "n"]))], "m,n"),
            (vec![backend("a", Some(&["m"])), backend("b", None)], "a:m b:?"),
            (vec![unavailable(backend("a", Some(&["m"])))], "m (unavailable)"),
            (vec![unavailable(backend("a", None)), backend("b", Some(&["m"]))], "a:? (unavailable) b:m"),
        ] {
            assert_eq!(models(&backends), expected);
        }
        let mut one = backend("a", Some(&["m", "n"]));
        one.loaded = Some(vec!["n".to_owned()]);
        assert_eq!(models(&[one]), "m,n*");
    }

    #[test]
    fn unknown_values_are_empty() {
        let expected = ["7", r"gp\nu", "active", "0", "", "", "", "?"];
        assert_eq!(row(&BoxInfo::new("7", "gp\nu")), expected);
    }
}
