use clap::{Args, CommandFactory as _};

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Print the manual page, for `man -l -`
#[derive(Args)]
pub(crate) struct Man {}

impl Man {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        output::text(&String::from_utf8_lossy(&page))
    }
}
