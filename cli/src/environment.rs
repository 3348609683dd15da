//! The variables of `foreman`. `serve` refuses others that begin with `FOREMAN_`, because a misspelled one has no effect: without the
//! token in `FOREMAN_TOKENS`, for example, the daemon would need none.

use std::env;

use crate::exit::Failure;

const PREFIX: &str = "FOREMAN_";

/// Every variable that a command reads.
const KNOWN: [&str; 12] = [
    "FOREMAN_ADMIN_TOKEN",
    "FOREMAN_ADMIN_TOKEN_FILE",
    "FOREMAN_BACKEND",
    "FOREMAN_BACKEND_KEY",
    "FOREMAN_BACKEND_KEY_FILE",
    "FOREMAN_LISTEN",
    "FOREMAN_STORE",
    "FOREMAN_TOKEN",
    "FOREMAN_TOKEN_FILE",
    "FOREMAN_URL",
    "FOREMAN_WEBHOOK_SECRET",
    "FOREMAN_WEBHOOK_SECRET_FILE",
];

/// Checks the environment for unknown variables that begin with `FOREMAN_`.
pub(crate) fn check() -> Result<(), Failure> {
    let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    first_unknown(names).map_or(Ok(()), |name| {
        let closest = closest(&name).map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        Err(Failure::Usage(format!("unknown environment variable {name}{closest}")))
    })
}

/// The first unknown name in alphabetical order, since the environment has none.
fn first_unknown(names: impl Iterator<Item = String>) -> Option<String> {
    names.filter(|name| name.starts_with(PREFIX) && !KNOWN.contains(&name.as_str()) && !is_service_link(name)).min()
}

/// Whether Kubernetes or Docker sets the variable, for a service whose name begins with `foreman`: `FOREMAN_SERVICE_HOST`,
/// `FOREMAN_SERVICE_PORT_HTTP`, `FOREMAN_PORT`, `FOREMAN_PORT_11435_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.rsplit_once("_PORT").is_some_and(|(_, rest)| is_port(rest))
}

/// The known name that this one is a misspelling of. A name that differs in more than a third of its letters after the prefix is another
/// word.
fn closest(name: &str) -> Option<&'static str> {
    let letters = name.len() - PREFIX.len();
    let distance = |known: &&str| strsim::osa_distance(name, known);
    KNOWN.into_iter().min_by_key(distance).filter(|known| distance(known) * 3 <= letters)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn variables_of_flags_are_known() {
        let cli = Cli::command();
        let variables: Vec<_> = cli
            .get_subcommands()
            .flat_map(|command| command.get_arguments())
            .filter_map(|flag| flag.get_env())
            .collect();
        assert!(variables.len() > 3, "{variables:?}");
        for variable in variables {
            assert!(KNOWN.contains(&variable.to_str().unwrap()), "{variable:?}");
        }
    }

    #[test]
    fn unknown_variable_is_reported_with_closest_known() {
        for (name, expected) in [
            ("FOREMAN_TOKENS", "FOREMAN_TOKEN"),
            ("FOREMAN_TOKNE", "FOREMAN_TOKEN"),
            ("FOREMAN_TOKENFILE", "FOREMAN_TOKEN_FILE"),
            ("FOREMAN_WEBHOOKS_SECRET", "FOREMAN_WEBHOOK_SECRET"),
            ("FOREMAN_BACKENDS_KEY", "FOREMAN_BACKEND_KEY"),
        ] {
            assert_eq!(first_unknown(["HOME", name].map(str::to_owned).into_iter()).as_deref(), Some(name));
            assert_eq!(closest(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn variable_that_is_near_no_other_has_no_hint() {
        for name in ["FOREMAN_LEASE", "FOREMAN_NAME", "FOREMAN_DRAIN", "FOREMAN_MAX_QUEUE", "FOREMAN_X", "FOREMAN_"] {
            assert_eq!(first_unknown([name.to_owned()].into_iter()).as_deref(), Some(name));
            assert_eq!(closest(name), None, "{name}");
        }
    }

    #[test]
    fn other_variables_are_ignored() {
        let services = [
            "FOREMAN_PORT",
            "FOREMAN_PORT_11435_TCP",
            "FOREMAN_PORT_11435_TCP_ADDR",
            "FOREMAN_SERVICE_HOST",
            "FOREMAN_SERVICE_PORT_HTTP",
            "FOREMAN_GPU_PORT_80_TCP_PROTO",
        ];
        let names = KNOWN.into_iter().chain(services).chain(["HOME", "MY_FOREMAN_TOKENS", "FOREMANTOKEN"]);
        assert_eq!(first_unknown(names.map(str::to_owned)), None);
    }
}
