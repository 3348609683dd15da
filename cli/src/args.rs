use clap::{Parser, Subcommand};

use crate::admin::Admin;
use crate::cancel::Cancel;
use crate::completions::Completions;
use crate::embed::Embed;
use crate::jobs::Jobs;
use crate::man::Man;
use crate::models::Models;
use crate::serve::Serve;
use crate::status::Status;
use crate::submit::Submit;
use crate::wait::Wait;

/// Run a daemon that queues jobs for language models, submit jobs to it, and wait for the results
#[derive(Parser)]
#[command(name = "foreman", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    // Boxed are those that have many more options than the others.
    Serve(Box<Serve>),
    Submit(Box<Submit>),
    Wait(Wait),
    Status(Status),
    Cancel(Cancel),
    Jobs(Jobs),
    Models(Models),
    Embed(Embed),
    Admin(Admin),
    Completions(Completions),
    Man(Man),
}

const AFTER_HELP: &str = "Exit status:
  0    success
  1    the job failed
  2    invalid usage: an argument or option is missing or invalid, or the content of a file is
  3    the daemon is unreachable, rejects the request or sends an invalid response; of several daemons, one that was needed, or one whose jobs or models are missing in a list
  4    the deadline passed; a submitted job continues
  5    the daemon, or each of several, does not know the job: it has expired, or was submitted to another daemon or with another token
  74   local error: a file cannot be read or written, another input or output error, the port is in use, or the store cannot be opened or is damaged
  130  interrupted; the job continues unless you cancel it

The job of an embedded daemon (`foreman submit --embedded`) ends with the command.

Environment:
  FOREMAN_URL             the daemon's URL, in place of --url; or several, separated by commas or spaces
  FOREMAN_TOKEN           the bearer token; FOREMAN_TOKEN_FILE names a file with it
  FOREMAN_ADMIN_TOKEN     the bearer token of operators; FOREMAN_ADMIN_TOKEN_FILE names a file with it
  FOREMAN_WEBHOOK_SECRET  the secret of webhooks; FOREMAN_WEBHOOK_SECRET_FILE names a file with it
  RUST_LOG                the log level and filter for stderr, such as debug
  NO_COLOR                no colors on stderr if set

A variable for a token or secret must not be empty. `foreman serve` refuses unknown variables that begin with FOREMAN_.

`foreman serve --help` lists the variables of the daemon.";
