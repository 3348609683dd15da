use clap::{Parser, Subcommand};

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

/// Serves jobs, submits them and waits for them.
#[derive(Parser)]
#[command(name = "foreman", version, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Submit(Submit),
    Wait(Wait),
    Status(Status),
    Cancel(Cancel),
    Jobs(Jobs),
    Models(Models),
    Embed(Embed),
    Completions(Completions),
    Man(Man),
}

const EXIT_STATUS: &str = "Exit status:
  0    done
  1    the job failed
  2    the command was used wrongly, or an option has a value that cannot work
  3    the daemon cannot be reached, or refuses
  4    the deadline passed; the job goes on
  74   reading or writing failed here; the port is in use; the store cannot be opened or is locked
  130  interrupted; the job goes on, unless it was said to cancel it";
