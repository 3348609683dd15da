use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Print a completion script for a shell
///
/// For bash: foreman completions bash > ~/.local/share/bash-completion/completions/foreman
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // Not written to stdout directly: `generate` panics if the reader has closed the pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "foreman", &mut script);
        output::text(&String::from_utf8_lossy(&script))
    }
}
