use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The format of the daemon's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for each event
    Human,
    /// One JSON object in a line for each event
    Json,
}

/// Logs to stderr, for the commands that use a client. The default level is `warn`; `RUST_LOG` overrides it.
pub(crate) fn init_client() {
    tracing_subscriber::fmt()
        .with_env_filter(filter(LevelFilter::WARN))
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(use_color())
        .without_time()
        .with_target(false)
        .init();
}

/// Logs to a writer for stderr, for `foreman serve`. The default level is `info`; `RUST_LOG` overrides it.
pub(crate) fn init_daemon(format: LogFormat, stderr: NonBlocking) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(LevelFilter::INFO))
        // The subscriber prints its own errors to stderr, and panics if that fails.
        .log_internal_errors(false)
        .with_writer(stderr);
    match format {
        LogFormat::Human => log.with_ansi(use_color()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn filter(default: LevelFilter) -> EnvFilter {
    EnvFilter::builder().with_default_directive(default.into()).from_env_lossy()
}

/// Colors are for terminals only, and not if `NO_COLOR` is set (<https://no-color.org>).
fn use_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
