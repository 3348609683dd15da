use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How the daemon's log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A line for people
    Human,
    /// A line of JSON
    Json,
}

/// What a client has to say, on stderr: warnings, or what `RUST_LOG` says.
pub(crate) fn of_a_client() {
    tracing_subscriber::fmt()
        .with_env_filter(filter(LevelFilter::WARN))
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(is_coloured())
        .without_time()
        .with_target(false)
        .init();
}

/// The daemon's log, on stderr: from `info` on, or what `RUST_LOG` says.
pub(crate) fn of_a_daemon(form: Form) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(LevelFilter::INFO))
        // They would be told on the stderr that cannot be written to, which is a panic.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    match form {
        Form::Human => log.with_ansi(is_coloured()).init(),
        Form::Json => log.json().flatten_event(true).init(),
    }
}

fn filter(default: LevelFilter) -> EnvFilter {
    EnvFilter::builder().with_default_directive(default.into()).from_env_lossy()
}

/// On a terminal, unless <https://no-color.org> is asked for.
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}
