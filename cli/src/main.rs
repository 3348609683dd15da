//! The command `foreman`: serves jobs, submits them, waits for them.
#![allow(clippy::doc_markdown, reason = "the docs of flags are what `--help` prints, as plain text")]

mod again;
mod args;
mod artifacts;
mod attend;
mod backend;
mod cancel;
mod completions;
mod connection;
mod credentials;
mod embed;
mod exit;
mod input;
mod interrupt;
mod jobs;
mod logs;
mod man;
mod models;
mod output;
mod plain;
mod progress;
mod secret;
mod serve;
mod signal;
mod status;
mod submit;
mod time;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(),
    };
    let ended = runtime.block_on(run(cli.command));
    // A read of stdin that nobody waits for any more would hold up an orderly end of the runtime.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    // A daemon says by its flags how it logs.
    if !matches!(command, Command::Serve(_)) {
        logs::of_a_client();
    }
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Submit(submit) => submit.run().await,
        Command::Wait(wait) => wait.run().await,
        Command::Status(status) => status.run().await,
        Command::Cancel(cancel) => cancel.run().await,
        Command::Jobs(jobs) => jobs.run().await,
        Command::Models(models) => models.run().await,
        Command::Embed(embed) => embed.run().await,
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}
