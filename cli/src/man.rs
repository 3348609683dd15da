use clap::{Args, CommandFactory as _};

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Print the manual page, of the command or of one of its subcommands, for `man -l -`
#[derive(Args)]
pub(crate) struct Man {
    /// The subcommand
    command: Option<String>,
}

impl Man {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // With what subcommands inherit, such as how they are called.
        let mut foreman = Cli::command();
        foreman.build();
        let command = match &self.command {
            None => &foreman,
            Some(name) => foreman
                .find_subcommand(name)
                .ok_or_else(|| Failure::Usage(format!("there is no subcommand {name:?}")))?,
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone().disable_help_subcommand(true)).render(&mut page)?;
        output::text(&String::from_utf8_lossy(&page))
    }
}
