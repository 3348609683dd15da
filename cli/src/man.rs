use clap::{Args, CommandFactory as _};

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Print the manual page of foreman or of a subcommand
///
/// To read it: foreman man submit | man -l -
#[derive(Args)]
pub(crate) struct Man {
    /// A subcommand, such as submit [default: foreman itself]
    command: Option<String>,
}

impl Man {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // Adds what subcommands inherit, such as their full names.
        let mut foreman = Cli::command();
        foreman.build();
        let command = match &self.command {
            None => &foreman,
            Some(name) => {
                foreman.find_subcommand(name).ok_or_else(|| Failure::Usage(format!("no such subcommand: {name:?}")))?
            }
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone().disable_help_subcommand(true)).render(&mut page)?;
        output::text(&String::from_utf8_lossy(&page))
    }
}
