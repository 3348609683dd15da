//! The command `foreman`: runs the daemon, submits jobs and waits for their results.
#![allow(clippy::doc_markdown, reason = "`--help` prints the docs of flags as plain text")]

mod admin;
mod args;
mod artifacts;
mod backend;
mod bounded;
mod cancel;
mod completions;
mod connection;
mod credentials;
mod daemons;
mod duration;
mod embed;
mod environment;
mod escape;
mod exit;
mod input;
mod interrupt;
mod job_argument;
mod jobs;
mod logging;
mod man;
mod models;
mod monitor;
mod option_names;
mod output;
mod progress;
mod result_output;
mod resume_command;
mod serve;
mod signal;
mod status;
mod submit;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    // Before the arguments, since a misspelled variable may be the one that they need.
    if std::env::args_os().nth(1).is_some_and(|command| command == "serve")
        && let Err(failure) = environment::check()
    {
        failure.report();
        return ExitCode::from(failure.code());
    }
    let cli = Cli::parse();
    let is_daemon = matches!(cli.command, Command::Serve(_));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::from(error);
            failure.report();
            return ExitCode::from(failure.code());
        }
    };
    let result = runtime.block_on(run(cli.command));
    // Dropping the runtime would block on a pending read of stdin.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = ExitCode::from(failure.code());
            if is_daemon {
                // Nobody may read its stderr any more, and whatever restarts it waits for its end.
                bounded::run(move || failure.report());
            } else {
                failure.report();
            }
            code
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    // `serve` has a flag for the format of its log.
    if !matches!(command, Command::Serve(_)) {
        logging::init_client();
    }
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Submit(submit) => submit.run().await,
        Command::Wait(wait) => wait.run().await,
        Command::Status(status) => status.run().await,
        Command::Cancel(cancel) => cancel.run().await,
        Command::Jobs(jobs) => jobs.run().await,
        Command::Models(models) => models.run().await,
        Command::Admin(admin) => admin.run().await,
        Command::Embed(embed) => embed.run().await,
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}
