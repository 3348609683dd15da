use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Print the completions for a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // Straight to stdout it would panic when the reader leaves.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "foreman", &mut script);
        output::text(&String::from_utf8_lossy(&script))
    }
}
