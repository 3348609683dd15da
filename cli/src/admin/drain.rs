use clap::Args;
use foreman_client::BoxInfo;

use super::find::find;
use super::{AdminConnection, table};
use crate::exit::Failure;
use crate::output;

/// Drain a daemon: it takes no more jobs, finishes those that it runs, and goes on to respond and to send webhooks
///
/// It stays drained until `foreman admin undrain`. A daemon that is started again takes jobs. A daemon with tokens needs its admin token
/// for this.
#[derive(Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    args: DrainArgs,
}

/// Let a drained daemon take jobs again
///
/// A daemon with tokens needs its admin token for this.
#[derive(Args)]
pub(crate) struct Undrain {
    #[command(flatten)]
    args: DrainArgs,
}

#[derive(Args)]
struct DrainArgs {
    #[command(flatten)]
    connection: AdminConnection,
    /// Print the box as one line of JSON
    #[arg(long)]
    json: bool,
    /// The name of the box, or the beginning of its id
    #[arg(value_name = "BOX")]
    of_box: String,
}

impl Drain {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.args.run(true).await
    }
}

impl Undrain {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.args.run(false).await
    }
}

impl DrainArgs {
    async fn run(self, drain: bool) -> Result<(), Failure> {
        let (client, boxes) = self.connection.boxes().await?;
        let id = &find(&boxes, &self.of_box)?.id;
        let one: BoxInfo = if drain { client.drain_box(id).await? } else { client.undrain_box(id).await? };
        if self.json { output::json(&one) } else { table::print(&[one]) }
    }
}
