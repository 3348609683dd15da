//! The words for the options of the two libraries that a user of the command knows.

use std::borrow::Cow;

use clap::CommandFactory as _;

use crate::args::Cli;

/// Options of the libraries whose flags have other names. Values that may also be in a file or in a variable have no dashes.
const OTHER_NAMES: [(&str, &str); 18] = [
    ("admin_token", "admin token"),
    ("api_key", "backend key"),
    ("attempt_timeout", "--backend-attempt-timeout"),
    ("backends", "--backend"),
    ("base_url", "--url"),
    ("clients", "--url"),
    ("connect_timeout", "--backend-connect-timeout"),
    ("first_stall", "--backend-first-stall"),
    ("idempotency_key", "idempotency key"),
    ("job_id", "job id"),
    ("other_addresses", "--url"),
    ("postgres", "--store"),
    ("postgres_roots", "--store-roots"),
    ("response_limit", "--backend-response-limit"),
    ("stall", "--backend-stall"),
    ("token", "token"),
    ("url", "--backend"),
    ("webhook_secret", "webhook secret"),
];

/// An error of a library, with the name of the flag in place of the name of the library's option.
pub(crate) fn replace(message: String) -> String {
    let parts = message.strip_prefix("invalid ").and_then(|rest| rest.split_once(": "));
    match parts.and_then(|(option, reason)| Some((known(option)?, reason))) {
        Some((name, reason)) => format!("invalid {name}: {reason}"),
        None => message,
    }
}

/// The name of the flag, or that of the library's option if there is no flag.
pub(crate) fn name(option: &str) -> Cow<'_, str> {
    known(option).unwrap_or(option.into())
}

fn known(option: &str) -> Option<Cow<'static, str>> {
    if let Some((_, name)) = OTHER_NAMES.into_iter().find(|(other, _)| *other == option) {
        return Some(name.into());
    }
    let flag = option.replace('_', "-");
    is_flag(&["serve"], &flag).then(|| format!("--{flag}").into())
}

/// Whether one of the commands has the flag.
fn is_flag(commands: &[&str], flag: &str) -> bool {
    let cli = Cli::command();
    let mut flags = cli.get_subcommands().filter(|command| commands.contains(&command.get_name()));
    flags.any(|command| command.get_arguments().any(|argument| argument.get_long() == Some(flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_of_a_library_is_named_as_its_flag() {
        for (message, expected) in [
            ("invalid model_batch: must be at least 1", "invalid --model-batch: must be at least 1"),
            ("invalid clients: must not be empty", "invalid --url: must not be empty"),
            ("invalid base_url: \"h\" is not a URL", "invalid --url: \"h\" is not a URL"),
            ("invalid postgres: has no host", "invalid --store: has no host"),
            ("invalid job_id: must not be empty", "invalid job id: must not be empty"),
            ("invalid messages: a message is not JSON", "invalid messages: a message is not JSON"),
            ("invalid", "invalid"),
            ("job failed: invalid url: x", "job failed: invalid url: x"),
        ] {
            assert_eq!(replace(message.to_owned()), expected);
        }
    }

    #[test]
    fn flags_exist() {
        for (option, name) in OTHER_NAMES {
            let Some(flag) = name.strip_prefix("--") else { continue };
            assert!(
                is_flag(&["serve", "submit"], flag) || cfg!(not(feature = "postgres")) && flag == "store-roots",
                "{option}: {name}"
            );
        }
    }
}
