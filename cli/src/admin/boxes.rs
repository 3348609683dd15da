use clap::Args;

use super::{AdminConnection, table};
use crate::exit::Failure;
use crate::output;

/// List the daemons that share the queue of the daemon, or the daemon itself
///
/// Any token of the daemon will do.
#[derive(Args)]
pub(crate) struct Boxes {
    #[command(flatten)]
    connection: AdminConnection,
    /// Print each box as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Boxes {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (_, boxes) = self.connection.boxes().await?;
        if self.json { boxes.iter().try_for_each(output::json) } else { table::print(&boxes) }
    }
}
